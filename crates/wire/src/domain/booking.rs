//! A booking and the wish that leads to it.

use super::{ids::VisitorId, plan::SeatIndex};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How a booking stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BookingStatus {
    /// The seats are kept until the hold ends or is confirmed.
    Held,
    /// Sold.
    Confirmed,
    /// The seats are free again.
    Released,
}

impl BookingStatus {
    /// As in PostgreSQL and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Released => "released",
        }
    }

    /// The status of that name; a void row has none.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Held, Self::Confirmed, Self::Released].into_iter().find(|s| s.as_str() == text)
    }
}

/// Committed seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    /// Its id.
    pub id: Uuid,
    /// Its seats in plan order.
    pub seats: Vec<SeatIndex>,
    /// How it stands.
    pub status: BookingStatus,
    /// When a hold ends, by PostgreSQL's clock.
    pub hold_expires_at: Option<Timestamp>,
    /// Whether all its seats are next to each other.
    pub together: bool,
}

impl Booking {
    /// How long a hold still runs at `now`, in milliseconds; nothing for any other status.
    pub fn hold_expires_in_ms(&self, now: Timestamp) -> Option<u64> {
        let end = self.hold_expires_at.filter(|_| self.status == BookingStatus::Held)?;
        Some(u64::try_from(end.as_millisecond() - now.as_millisecond()).unwrap_or(0))
    }
}

/// A booking as it is on record.
#[derive(Clone, Debug)]
pub struct BookingRecord {
    /// Whose.
    pub visitor: VisitorId,
    /// What.
    pub booking: Booking,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Which bookings are wanted; all, where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct BookingFilter {
    /// Made at this time or later.
    pub since: Option<Timestamp>,
    /// Of this visitor.
    pub visitor: Option<VisitorId>,
    /// That stand so now.
    pub status: Option<BookingStatus>,
}

/// What an operator's confirmation came to.
#[derive(Debug)]
pub enum Confirmation {
    /// Confirmed, now or before. `changed` if it was by this call.
    Confirmed {
        /// The booking.
        record: Box<BookingRecord>,
        /// Whether anything changed.
        changed: bool,
    },
    /// The hold ended and someone else has a seat of it.
    SeatsGone,
    /// The shop or the operator gave it back before.
    GivenBack,
}

/// Which seats a visitor wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// These and no others, all or none, in plan order without repetitions.
    Seats(Vec<SeatIndex>),
    /// The first ones free, chosen by the server.
    Best {
        /// How many.
        count: usize,
        /// Only of this category (an index into the plan's categories).
        category: Option<u16>,
        /// Only next to each other.
        together: bool,
    },
}

impl Wish {
    /// How many seats.
    pub fn count(&self) -> usize {
        match self {
            Self::Seats(seats) => seats.len(),
            Self::Best { count, .. } => *count,
        }
    }
}
