//! What a socket is told.

use std::{sync::Arc, time::Instant};
use uuid::Uuid;
use wire::domain::{
    ids::{GrantKey, Seq},
    line::Position,
    phase::Phase,
    place::LapseReason,
};

/// Something that a socket must hear of.
#[derive(Clone, Debug)]
pub enum News {
    /// The turn has come.
    Granted {
        /// The grant.
        grant: GrantKey,
        /// Seats booked before.
        owned: u32,
        /// When it ends, in Redis' ms.
        deadline_ms: i64,
        /// When it counts as missed, in Redis' ms.
        claim_ms: i64,
        /// When it was given, in Redis' ms.
        at_ms: i64,
    },
    /// The place or grant has ended.
    Lapsed(Seq, LapseReason),
    /// The visitor has booked, from this place.
    Booked(Seq),
    /// A booking of the visitor was confirmed or released.
    BookingChanged(Uuid),
    /// All deadlines have moved.
    Shifted,
    /// The sale's phase, or when it opens.
    Phase(Phase),
    /// The operator's message.
    Notice(Arc<str>),
    /// Whether a store does not answer, so that the sale stands still.
    Outage(bool),
    /// A version of the seat map, its frame for everyone who watches, and when the oldest of its changes came about.
    SeatsChanged(u64, Arc<str>, Instant),
    /// A newer socket of the visitor took over.
    Replaced,
    /// The operator sends the visitor away.
    Removed,
    /// What was shown may be wrong: ask for the standing anew.
    Recheck,
    /// The server drains: come back after so many milliseconds.
    Reconnect(u64),
    /// Goodbye after `Reconnect`.
    Restart,
    /// Is anyone there?
    Ping,
}

/// A rank to be shown; a newer one overwrites it.
#[derive(Clone, Copy, Debug)]
pub struct RankUpdate {
    /// Places ahead.
    pub rank: u64,
    /// Places in the line.
    pub total: u64,
    /// `[low, high]` seconds.
    pub eta_s: Option<[u64; 2]>,
    /// When it was true.
    pub at: Instant,
}

/// A place in line whose rank a socket shows.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// The place.
    pub seq: Seq,
    /// Nothing older than this entry may be shown.
    pub since: Position,
    /// The rank shown last.
    pub shown: u64,
}
