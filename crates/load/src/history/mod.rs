//! The history of a run: every operation of every visitor, as it was sent and as it was answered, in the order of
//! time. `waitroom check` proves from it that the line was fair; the report draws its pictures from it.
//! The format, for others: docs/history.md.

mod reader;
mod recorder;

pub use reader::{HistoryError, Part, belong_together, header, read};
pub use recorder::{Clock, Recorder};

use super::facts::Micros;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wire::{
    domain::{booking::BookingStatus, ids::Seq, phase::Phase, place::LapseReason, sale::SaleSettings},
    protocol::server::PlaceState,
};

/// The format that this version writes and reads.
pub const VERSION: u32 = 1;

/// What one process wrote: the first line of its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`VERSION`].
    pub history: u32,
    /// The run: the same in all its parts.
    pub run: String,
    /// Which part this is, of how many: from 1.
    pub part: (u32, u32),
    /// The scenario's name.
    pub scenario: String,
    /// The sale.
    pub sale: String,
    /// Seats in the plan.
    pub seats: u64,
    /// Visitors of this part.
    pub visitors: u64,
    /// When the crowd was let loose, by the machine's wall clock.
    pub started_at: Timestamp,
    /// The same moment by the clock of the entries: microseconds of `CLOCK_MONOTONIC`, which all processes of one
    /// machine share.
    pub started_us: Micros,
    /// Names the machine's start, and so the clock: times of different machines cannot be compared.
    pub machine: String,
    /// Ranks were written down of every so many-th visitor.
    pub ranks_of_every: u32,
    /// The sale's settings when the run began, if an operator's token was given.
    pub settings: Option<SaleSettings>,
}

/// The last line of a file; a run that died has none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Footer {
    /// When the run ended, by the clock of the entries.
    pub ended_us: Micros,
    /// Entries in this file.
    pub entries: u64,
    /// How late the generator was at worst with what it wrote down, in microseconds.
    pub lag_us: Micros,
}

/// One line between: when, which visitor of the run, on which of his connections (from 1; 0 before the first), what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry(pub Micros, pub u32, pub u32, pub Event);

/// What happened. `join`, `seats`, `redeem` and `leave` invoke an operation; what follows on the same connection
/// answers it, or `cut` leaves it unknown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// He arrives; he was meant to at `intended`.
    Arrive {
        /// By the clock of the entries.
        intended: Micros,
    },
    /// Sent: a join, the first message of a connection or a later one.
    Join {
        /// For a new place beside a booking.
        again: bool,
    },
    /// The place was acknowledged.
    Joined {
        /// The visitor's id as his place token says it, where it was not known before.
        visitor: Option<String>,
        /// The place's number; none once booked, or if the token could not be read.
        seq: Option<Seq>,
        /// The life of the line.
        epoch: u64,
        /// How the place stands: `waiting`, `granted` or `booked`.
        state: PlaceState,
        /// Places ahead.
        rank: u64,
        /// Places in the line.
        total: u64,
        /// The sale's phase.
        phase: Phase,
    },
    /// A rank was shown (of a sample of visitors only).
    Rank(u64),
    /// The turn came, or was told again.
    Granted {
        /// How long the grant lives.
        expires_in_ms: u64,
        /// How soon it must be used first; none when it was.
        claim_in_ms: Option<u64>,
        /// Seats that may be booked with it.
        max_seats: u32,
    },
    /// The place or grant ended.
    Lapsed(LapseReason),
    /// Sent: asks for the seat map.
    Seats,
    /// Sent: tries to book.
    Redeem {
        /// The client's id for it.
        request: String,
        /// When he was meant to click.
        intended: Micros,
        /// Which token.
        token: Token,
        /// These seats …
        seats: Option<Vec<String>>,
        /// … or so many of the best.
        best: Option<u32>,
    },
    /// Committed, the server says.
    Booking {
        /// The redeem that this answers, if any.
        request: Option<String>,
        /// Its id.
        booking: Uuid,
        /// Its seats.
        seats: Vec<String>,
        /// How it stands.
        status: BookingStatus,
        /// When the hold ends.
        hold_expires_in_ms: Option<u64>,
    },
    /// An expected no.
    Refused {
        /// The redeem, or `seats`.
        request: String,
        /// Why.
        reason: String,
        /// Of a seat that was taken: whether the visitor's own map had shown all that he clicked on as free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shown_free: Option<bool>,
    },
    /// Sent: gives the place up.
    Leave,
    /// The sale's phase, as told.
    Phase(Phase),
    /// A message that breaks the contract on its face, in words.
    Breach(String),
    /// The connection ended: the server's close code, none if it broke or the visitor ended it. What was not answered
    /// is unknown.
    Cut(Option<u16>),
}

/// Whose token, and of what kind, a visitor tries to redeem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Token {
    /// That of his live grant.
    Own,
    /// One that has booked, or has lapsed.
    Old,
    /// Another visitor's.
    Foreign,
    /// Made up.
    Forged,
}

#[cfg(test)]
pub(crate) mod tests;
