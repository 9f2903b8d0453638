//! Who has which seat, as this instance knows it: the live map, the bookings' life after their commit, and the comparison
//! with PostgreSQL, which alone judges. The other half is `store/bookings`.

pub(super) mod compare;
pub(super) mod holds;
mod map;
pub(super) mod news;

use super::{
    errors::RoomError,
    outbox::Outbox,
    sockets::{Hub, Socket},
};
use crate::store::{bookings::Bookings, line::Line};
use futures_util::{Stream, TryStreamExt};
use map::SeatMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicI64};
use uuid::Uuid;
use wire::{
    domain::{
        booking::{Booking, BookingFilter, BookingRecord},
        ids::VisitorId,
        sale::{Sale, SaleState},
    },
    protocol::server::SeatMap as SeatMapMessage,
};

/// The seats of one sale on this instance.
pub struct Seats {
    sale: Arc<Sale>,
    map: Mutex<SeatMap>,
    bookings: Bookings,
    line: Line,
    pub(super) outbox: Outbox,
    /// The shift of deadlines that holds are known to have.
    shifted_ms: AtomicI64,
}

impl Seats {
    pub(super) fn new(
        sale: &Arc<Sale>,
        state: &SaleState,
        bookings: Bookings,
        line: Line,
        outbox: Outbox,
    ) -> Self {
        let mut map = SeatMap::new(sale.plan.clone());
        map.block(state.blocked.clone());
        let (sale, map, shifted_ms) = (sale.clone(), Mutex::new(map), AtomicI64::new(0));
        Self { sale, map, bookings, line, outbox, shifted_ms }
    }

    /// The map, for a moment: whoever chooses or publishes waits meanwhile.
    pub(super) fn map(&self) -> MutexGuard<'_, SeatMap> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole seat map, with every booking that this instance has answered.
    pub fn whole_map(&self) -> SeatMapMessage {
        let (version, taken) = self.map().peek(false);
        SeatMapMessage { version, taken: taken.to_base64() }
    }

    /// The same for a socket, which gets what changes from then on.
    pub fn watch(&self, hub: &Hub, socket: &Arc<Socket>) -> SeatMapMessage {
        let (version, taken) = {
            let mut map = self.map();
            // Under the map's lock, so that the watcher misses no version.
            hub.watch_seats(socket);
            map.peek(true)
        };
        SeatMapMessage { version, taken: taken.to_base64() }
    }

    /// The visitor's bookings, oldest first.
    pub async fn bookings_of(&self, visitor: &VisitorId) -> Result<Vec<Booking>, RoomError> {
        Ok(self.bookings.by_visitor(visitor).await?)
    }

    /// One booking.
    pub async fn booking(&self, id: Uuid) -> Result<Option<BookingRecord>, RoomError> {
        Ok(self.bookings.one(id).await?)
    }

    /// How many bookings are confirmed.
    pub async fn confirmed(&self) -> Result<u64, RoomError> {
        Ok(self.bookings.confirmed().await?)
    }

    /// The bookings that are wanted, oldest first.
    pub async fn export(
        &self,
        filter: &BookingFilter,
    ) -> Result<impl Stream<Item = Result<BookingRecord, RoomError>> + Send + use<>, RoomError> {
        Ok(self.bookings.export(filter).await?.map_err(RoomError::from))
    }
}
