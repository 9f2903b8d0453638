//! How a place in line stands.

use super::ids::{GrantKey, Seq};
use serde::{Deserialize, Serialize};

/// Where a place stands; the line's own record of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// In the line.
    Waiting,
    /// Back after an absence or a missed turn: served ahead of the line.
    Returned,
    /// Out of the line with the place kept, until the visitor joins again.
    Away,
    /// It is this place's turn.
    Granted,
    /// Ended in a booking.
    Booked,
    /// Ended without one.
    Ended,
}

impl Stage {
    /// The letter of a record.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Waiting => "w",
            Self::Returned => "r",
            Self::Away => "a",
            Self::Granted => "g",
            Self::Booked => "b",
            Self::Ended => "x",
        }
    }

    /// Whether the place is over.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Booked | Self::Ended)
    }

    /// The stage of a record's letter.
    pub fn parse(letter: &str) -> Option<Self> {
        Some(match letter {
            "w" => Self::Waiting,
            "r" => Self::Returned,
            "a" => Self::Away,
            "g" => Self::Granted,
            "b" => Self::Booked,
            "x" => Self::Ended,
            _ => return None,
        })
    }

    /// Its name, for operators.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Returned => "returned",
            Self::Away => "away",
            Self::Granted => "granted",
            Self::Booked => "booked",
            Self::Ended => "ended",
        }
    }
}

/// A place as Redis knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub stage: Stage,
    /// Its number in the line.
    pub seq: Seq,
    /// 0 for the first turn, 1 after a missed one.
    pub turn: u8,
    /// Seats that the visitor had booked when the place was drawn.
    pub owned: u32,
    /// Places ahead, by ZRANK.
    pub rank: u64,
    /// When the grant ends, in Redis' milliseconds; 0 without a grant.
    pub deadline_ms: i64,
    /// When the turn counts as missed; 0 once it was used.
    pub claim_ms: i64,
    /// Whether the place was drawn by this call.
    pub fresh: bool,
}

impl Standing {
    /// The grant that the place has or will have.
    pub fn grant(&self) -> GrantKey {
        GrantKey { seq: self.seq, turn: self.turn }
    }
}

/// Why a place or a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LapseReason {
    /// The turn went by unused; the place is kept, once.
    Missed,
    /// The grant's time was up.
    Expired,
    /// The visitor left.
    Left,
    /// The sale closed.
    Closed,
}

impl LapseReason {
    /// As on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Expired => "expired",
            Self::Left => "left",
            Self::Closed => "closed",
        }
    }
}
