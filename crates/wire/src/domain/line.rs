//! What a line is asked, and what it answers: what sessions, rooms and stores say to each other about a visitor's place.

use super::{
    ids::{GrantKey, Seq, VisitorId},
    phase::Phase,
    place::Standing,
};

/// Where in a line's stream: an epoch of the line and the number of an entry in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// The line's life.
    pub epoch: u64,
    /// The entry.
    pub n: u64,
}

impl Position {
    /// From an entry's id in the stream, `epoch-n`.
    pub fn parse(id: &str) -> Option<Self> {
        let (epoch, n) = id.split_once('-')?;
        Some(Self { epoch: epoch.parse().ok()?, n: n.parse().ok()? })
    }
}

/// Ticks that decide are at least so far apart, in ms.
pub const TICK_MS_MIN: i64 = 90;
/// A tick gives out the admissions of the time since the last one, at most of so many ms: it is late when the instances are
/// throttled or busy, and makes up for that.
pub const TICK_MS_MAX: i64 = 300;
/// One that is later still, or the first after a pause, of so many ms at most: an outage is not made up for.
pub const TICK_MS: i64 = 100;

/// A visitor who comes into the line, or back to his place.
#[derive(Clone, Debug)]
pub struct Join {
    /// Who.
    pub visitor: VisitorId,
    /// Over which socket; nothing for a plain HTTP call.
    pub connection: Option<u64>,
    /// For how long a call without a socket counts as presence, in milliseconds.
    pub poll_ms: u64,
    /// What is wanted.
    pub mode: JoinMode,
    /// The seq that a valid place token proves.
    pub token_seq: Option<Seq>,
    /// Of whom nothing vouches but the address that he comes from.
    pub stranger: Option<Stranger>,
}

/// Where somebody comes from of whom nothing else is known, and how many may come from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// A number for the network that he comes from, which nobody can read an address from.
    pub network: u64,
    /// New places that the network may draw in so long.
    pub places_max: u32,
}

/// What a join wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinMode {
    /// A place, unless the visitor has booked.
    Join,
    /// A place also after a booking; so many seats are booked already.
    Again {
        /// Seats booked.
        owned: u32,
    },
    /// To find one's place again where it was lost; draws no new one.
    Recheck,
}

/// A visitor who asks how he stands. Draws and restores no place, but counts as presence.
#[derive(Clone, Debug)]
pub struct Poll {
    /// Who.
    pub visitor: VisitorId,
    /// For how long it counts as presence, in milliseconds.
    pub poll_ms: u64,
}

/// What the line answered to a visitor.
#[derive(Clone, Copy, Debug)]
pub struct LineAnswer {
    /// The stream's last entry: nothing older may be shown to this visitor.
    pub position: Position,
    /// Places in the line.
    pub total: u64,
    /// The sale's phase.
    pub phase: Phase,
    /// The visitor's place, if there is one.
    pub standing: Option<Standing>,
    /// No place was drawn, since too many were from his network; in so many milliseconds there may be one.
    pub full_ms: Option<u64>,
    /// Whether the operator has sent him away.
    pub removed: bool,
}

/// What became of a place that was to be given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// It ended.
    Ended,
    /// There was none that lived.
    Nothing,
    /// It is being redeemed: it stays.
    Busy,
    /// This turn was being redeemed, and nobody knows what came of that: it stays.
    Unsettled(GrantKey),
}
