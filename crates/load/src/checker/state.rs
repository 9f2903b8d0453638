//! The final state of the stores, as plain values. Visitors are fingerprints: their ids are nobody's business here.

pub use crate::facts::fingerprint;

use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus,
    ids::{SaleId, Seq},
    place::Stage,
    sale::SaleSettings,
};

/// What the stores hold when the run is over; nothing of a store that was not asked.
#[derive(Debug, Default)]
pub struct FinalState {
    /// The line in Redis.
    pub line: Option<LineState>,
    /// The bookings in PostgreSQL.
    pub shop: Option<ShopState>,
}

/// A line.
#[derive(Debug, Default)]
pub struct LineState {
    /// Its life.
    pub epoch: u64,
    /// The record of every place.
    pub places: Vec<PlaceState>,
    /// Who is in the line.
    pub line: Vec<(u64, Seq)>,
    /// Who is served ahead of it.
    pub returned: Vec<(u64, Seq)>,
    /// Whose place is kept.
    pub away: Vec<(u64, Seq)>,
    /// Who holds a grant.
    pub grants: Vec<u64>,
}

/// A place's record.
#[derive(Clone, Copy, Debug)]
pub struct PlaceState {
    /// Whose.
    pub visitor: u64,
    /// Its number; 0 if only the booking is remembered.
    pub seq: Seq,
    /// How it stands.
    pub stage: Stage,
}

/// The bookings of a sale.
#[derive(Debug)]
pub struct ShopState {
    /// The sale.
    pub sale: SaleId,
    /// Its settings.
    pub settings: SaleSettings,
    /// All bookings, the released ones included, void rows left out.
    pub bookings: Vec<ShopBooking>,
    /// The taken seats, and by which booking.
    pub seats: Vec<(String, Uuid)>,
}

/// A booking as PostgreSQL has it.
#[derive(Clone, Debug)]
pub struct ShopBooking {
    /// Its id.
    pub booking: Uuid,
    /// The grant that it spent.
    pub grant: Uuid,
    /// Whose.
    pub visitor: u64,
    /// Its seats.
    pub seats: Vec<String>,
    /// How it stands.
    pub status: BookingStatus,
}
