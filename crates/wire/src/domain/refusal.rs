//! Expected refusals: values that a visitor is told, not errors.

use super::plan::SeatIndex;

/// Why a redeem (or a look at the seats) was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Someone else has these seats.
    SeatTaken(Vec<SeatIndex>),
    /// The plan has no such seats.
    UnknownSeat(Vec<String>),
    /// More seats than the visitor may still book.
    TooManySeats,
    /// So many seats of that kind are not free, or not next to each other.
    NoSeatsTogether,
    /// The server cannot decide now; nothing was booked by this try.
    Busy,
    /// No seat is free or held.
    SoldOut,
    /// Not this visitor's token, or not ours.
    TokenInvalid,
    /// The grant has ended.
    TokenExpired,
    /// Only who holds a grant may do this.
    NotGranted,
}

impl Refusal {
    /// The reason's name on the wire.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SeatTaken(_) => "seat_taken",
            Self::UnknownSeat(_) => "unknown_seat",
            Self::TooManySeats => "too_many_seats",
            Self::NoSeatsTogether => "no_seats_together",
            Self::Busy => "busy",
            Self::SoldOut => "sold_out",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::NotGranted => "not_granted",
        }
    }

    /// Whether another try can succeed while the grant lives.
    pub fn retry(&self) -> bool {
        !matches!(self, Self::SoldOut | Self::TokenInvalid | Self::TokenExpired | Self::NotGranted)
    }
}
