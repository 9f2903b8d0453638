//! One entry of the journal: what one call changed in a line, without names.

use crate::domain::{booking::BookingStatus, ids::Seq, phase::Phase, place::LapseReason, plan::SeatIndex};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// All that one call changed. Fields that a newer program adds are passed over; what is hashed is the text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// When, in Redis' milliseconds.
    pub at: i64,
    /// The line began a life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installed: Option<Installed>,
    /// Places drawn: their seqs, rising by one, from the first to the last of each pair.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drawn: Vec<(Seq, Seq)>,
    /// Of those, places of a visitor who had one before: the new seq, the old one, and how many seats he had booked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub again: Vec<(Seq, Seq, u32)>,
    /// Places that came back by their tokens, the line having lost them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<Seq>,
    /// Places that came back and are served ahead of the line.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub returned: Vec<Seq>,
    /// Places passed over because nobody was there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<Seq>,
    /// Grants given, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub admitted: Vec<Admitted>,
    /// When those grants end …
    #[serde(skip_serializing_if = "is_zero")]
    pub deadline: i64,
    /// … and when they count as missed.
    #[serde(skip_serializing_if = "is_zero")]
    pub claim: i64,
    /// Turns used for the first time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claimed: Vec<Seq>,
    /// Grants that ended unspent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lapsed: Vec<(Seq, LapseReason)>,
    /// Places given up.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<Seq>,
    /// Of those, places that the operator ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<Seq>,
    /// Bookings made, held or confirmed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub booked: Vec<Change>,
    /// Bookings released.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub freed: Vec<Change>,
    /// The sale's new phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The operator's settings that came into force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<InForce>,
    /// Milliseconds that all deadlines were shifted by.
    #[serde(skip_serializing_if = "is_zero")]
    pub shifted: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl Entry {
    /// The seqs of the places that have a commitment beside the entry, in the commitments' order.
    pub fn places(&self) -> impl Iterator<Item = Seq> {
        self.drawn.iter().flat_map(|(first, last)| *first..=*last).chain(self.found.iter().copied())
    }
}

/// What a line began its life with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Installed {
    /// Seats of the plan.
    pub seats: u64,
    /// Those that are booked or held.
    pub booked: Vec<SeatIndex>,
    /// Bookings that are held.
    pub held: u64,
}

/// A grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// The place's.
    pub seq: Seq,
    /// Which turn of that place it is, from 0.
    pub turn: u8,
    /// Whether it was served ahead of the line.
    pub returned: bool,
}

/// A booking that changed, or seats that were put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The place whose grant was spent by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// Which; nothing when only seats were put right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booking: Option<Uuid>,
    /// How it stands now.
    pub status: BookingStatus,
    /// Its seats.
    #[serde(default)]
    pub seats: Vec<SeatIndex>,
}

/// Settings in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InForce {
    /// Admissions a second.
    pub rate: f64,
    /// Live grants at once.
    pub max_active: u64,
    /// How long a grant lives, in ms.
    pub grant_ttl_ms: i64,
    /// How long it may stay unused, in ms.
    pub claim_ms: i64,
    /// How long a visitor may have been away when his turn comes, in ms.
    pub away_ms: i64,
    /// Seats that the operator keeps.
    pub blocked: Vec<SeatIndex>,
}
