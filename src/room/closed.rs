//! A sale that is over: it is answered from PostgreSQL, without a room.

use super::errors::RoomError;
use crate::store::bookings::Bookings;
use futures_util::{Stream, TryStreamExt};
use std::sync::Arc;
use uuid::Uuid;
use wire::domain::{
    audit::Actor,
    booking::{Booking, BookingFilter, BookingRecord, Confirmation},
    ids::VisitorId,
    sale::{Sale, SaleState},
};

/// A closed sale of which nothing is live any more.
#[derive(Clone)]
pub struct ClosedSale {
    /// What of it never changes.
    pub sale: Arc<Sale>,
    /// What an operator said last.
    pub state: SaleState,
    pub(super) bookings: Bookings,
}

impl ClosedSale {
    /// How many seats are free.
    pub async fn seats_left(&self) -> Result<usize, RoomError> {
        let (mut taken, _) = self.bookings.booked().await?;
        self.state.blocked.iter().for_each(|seat| {
            taken.insert(seat);
        });
        Ok(self.sale.plan.seats.len() - taken.len())
    }

    /// One booking.
    pub async fn booking(&self, id: Uuid) -> Result<Option<BookingRecord>, RoomError> {
        Ok(self.bookings.one(id).await?)
    }

    /// How many bookings are confirmed.
    pub async fn confirmed(&self) -> Result<u64, RoomError> {
        Ok(self.bookings.confirmed().await?)
    }

    /// The visitor's bookings, oldest first.
    pub async fn bookings_of(&self, visitor: &VisitorId) -> Result<Vec<Booking>, RoomError> {
        Ok(self.bookings.by_visitor(visitor).await?)
    }

    /// The bookings that are wanted, oldest first.
    pub async fn export(
        &self,
        filter: &BookingFilter,
    ) -> Result<impl Stream<Item = Result<BookingRecord, RoomError>> + Send + use<>, RoomError> {
        Ok(self.bookings.export(filter).await?.map_err(RoomError::from))
    }

    /// The shop was paid: nothing if there is no such booking.
    pub async fn confirm(&self, id: Uuid, by: &Actor) -> Result<Option<Confirmation>, RoomError> {
        Ok(self.bookings.confirm(id, by).await?)
    }

    /// The operator gives a booking back: nothing if there is no such booking.
    pub async fn release(&self, id: Uuid, by: &Actor) -> Result<Option<BookingRecord>, RoomError> {
        Ok(self.bookings.release(id, by).await?.map(|(record, _)| record))
    }
}
