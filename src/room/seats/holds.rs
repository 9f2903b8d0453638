//! Bookings after their commit: holds that end, and what the shop or the operator does with them. Every instance ends
//! holds; PostgreSQL makes sure that each is ended once.

use super::Seats;
use crate::{
    drain::Drain,
    limits::HOLDS,
    room::{
        errors::RoomError,
        line::LiveLine,
        sockets::{Hub, News},
    },
    store::{
        errors::StoreError,
        line::{Committed, Told},
    },
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use wire::domain::{
    audit::Actor,
    booking::{BookingFilter, BookingRecord, BookingStatus, Confirmation},
    line::Position,
};

/// Booking counts as possible if it was proven so within this.
const BOOKABLE_AGE_MAX: Duration = Duration::from_secs(3);
/// Ends of holds told at once; each has a connection of the pool meanwhile.
const TOLD_AT_ONCE: usize = 4;
/// How long who changes a booking waits for the line to hear of it.
const TELL_PATIENCE: Duration = Duration::from_secs(3);

/// Ends holds until the server has stopped.
pub(in crate::room) async fn run(seats: Arc<Seats>, line: Arc<LiveLine>, sockets: Arc<Hub>) {
    while line.drain() < Drain::Done {
        sleep(HOLDS).await;
        if seats.map().any_held()
            && let Err(error) = end_holds(&seats, &line, &sockets).await
        {
            tracing::debug!(sale = %seats.sale.id, "holds are ended later: {error}");
        }
    }
}

/// Holds whose time is up are released: not while booking is impossible, nor before such a time was added to them, which many
/// deadlines take more than one tick for.
async fn end_holds(seats: &Arc<Seats>, line: &LiveLine, sockets: &Hub) -> Result<(), StoreError> {
    // Asked first: a question that PostgreSQL answers after an outage is then judged by what the line knows of it.
    let due = seats.bookings.hold_due().await?;
    let Some((shift_ms, bookable_at)) = seats.line.shift().await? else { return Ok(()) };
    if line.since(bookable_at) > BOOKABLE_AGE_MAX {
        return Ok(());
    }
    if shift_ms > seats.shifted_ms.load(Ordering::Relaxed) {
        if seats.bookings.shift_holds(shift_ms).await? {
            tracing::info!(sale = %seats.sale.id, "an outage was added to all holds");
        }
        tell_holders(seats, sockets).await?;
        seats.shifted_ms.store(shift_ms, Ordering::Relaxed);
    }
    if let Some(due) = due {
        // A sale's holds run out in swarms: none waits for the one before it to be told.
        let ended = seats.bookings.expire_holds(due).await?;
        let tell = |record: BookingRecord| async move { seats.tell(record.booking.id).await };
        stream::iter(ended).for_each_concurrent(TOLD_AT_ONCE, tell).await;
    }
    Ok(())
}

/// Who holds seats is told how long he has them now, as who has a turn is when its deadline is put off.
async fn tell_holders(seats: &Seats, sockets: &Hub) -> Result<(), StoreError> {
    let held = BookingFilter { status: Some(BookingStatus::Held), ..BookingFilter::default() };
    let mut held = pin!(seats.bookings.export(&held).await?);
    while let Some(BookingRecord { visitor, booking, .. }) = held.try_next().await? {
        sockets.tell(&visitor, Position::default(), News::BookingChanged(booking.id));
    }
    Ok(())
}

impl Seats {
    /// The shop was paid: nothing if there is no such booking.
    pub async fn confirm(self: &Arc<Self>, id: Uuid, by: &Actor) -> Result<Option<Confirmation>, RoomError> {
        let confirmation = self.bookings.confirm(id, by).await?;
        if let Some(Confirmation::Confirmed { changed: true, .. }) = &confirmation {
            self.tell(id).await;
        }
        Ok(confirmation)
    }

    /// The operator releases a booking: nothing if there is no such booking.
    pub async fn release(self: &Arc<Self>, id: Uuid, by: &Actor) -> Result<Option<BookingRecord>, RoomError> {
        let Some((record, changed)) = self.bookings.release(id, by).await? else { return Ok(None) };
        if changed {
            self.tell(id).await;
        }
        Ok(Some(record))
    }

    /// A booking that changed is told to the line, and so to its visitor, until it is heard: PostgreSQL has it, so it
    /// holds. The caller waits for that, unless it takes long.
    async fn tell(self: &Arc<Self>, id: Uuid) {
        let this = self.clone();
        let telling = self.outbox.post("a booking's change", move || {
            let this = this.clone();
            async move {
                let line = &this.line;
                let tell = |record: BookingRecord| async move {
                    let committed = Committed::of(&record.visitor, None, &record.booking);
                    line.bookings(&[Told::Booking(committed)], &[]).await
                };
                this.bookings.present(id, tell).await
            }
        });
        let _ = timeout(TELL_PATIENCE, telling).await;
    }
}
