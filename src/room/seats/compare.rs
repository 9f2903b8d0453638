//! The seats that Redis and this instance believe to be booked, compared with PostgreSQL's every few seconds. Every
//! instance does it; what is put right twice is right.

use super::Seats;
use crate::{
    drain::Drain,
    limits::COMPARE,
    room::{line::LiveLine, redeems::Redeems},
    store::{
        errors::StoreError,
        line::{Committed, Told},
    },
};
use std::{collections::HashSet, sync::Arc, time::Instant};
use tokio::time::sleep;
use uuid::Uuid;
use wire::domain::{booking::BookingRecord, phase::Phase, plan::SeatIndex, seats::SeatSet};

/// Compares until the server has stopped.
pub(in crate::room) async fn run(seats: Arc<Seats>, line: Arc<LiveLine>, redeems: Arc<Redeems>) {
    let mut doubts = <(Doubts, Doubts)>::default();
    while line.drain() < Drain::Done {
        sleep(COMPARE).await;
        if line.phase() == Phase::Closed {
            continue;
        }
        match compare(&seats, &redeems, &doubts).await {
            Ok(found) => doubts = found,
            Err(error) => tracing::debug!(sale = %seats.sale.id, "seats are compared later: {error}"),
        }
    }
}

/// Where seats and holds differ from PostgreSQL's.
#[derive(Default)]
struct Doubts {
    seats: SeatSet,
    held: Vec<Uuid>,
}

impl Doubts {
    fn between(seats: &SeatSet, held: &HashSet<Uuid>, truth: &Truth) -> Self {
        Self {
            seats: SeatSet::from_seats(truth.seats, seats.differences(&truth.booked)),
            held: held.symmetric_difference(&truth.held).copied().collect(),
        }
    }

    /// What differed before too: seats that should be taken, seats that should be free, and holds.
    fn lasting(&self, before: &Self, truth: &Truth) -> (Vec<SeatIndex>, Vec<SeatIndex>, Vec<Uuid>) {
        let lasting = self.seats.iter().filter(|seat| before.seats.contains(*seat));
        let (missing, surplus) = lasting.partition(|seat| truth.booked.contains(*seat));
        (missing, surplus, self.held.iter().copied().filter(|id| before.held.contains(id)).collect())
    }
}

/// What PostgreSQL has.
struct Truth {
    seats: usize,
    booked: SeatSet,
    held: HashSet<Uuid>,
}

/// Compares Redis' seats with PostgreSQL's, and then this instance's own. A difference may be a booking on its way; one
/// that is there twice is put right. Answers what differs.
async fn compare(
    seats: &Seats,
    redeems: &Redeems,
    before: &(Doubts, Doubts),
) -> Result<(Doubts, Doubts), StoreError> {
    let count = seats.sale.plan.seats.len();
    let in_redis = seats.line.booked_seats(count).await?;
    let held = seats.line.held().await?;
    let truth = {
        let (booked, held) = seats.bookings.booked().await?;
        Truth { seats: count, booked, held }
    };
    let line = Doubts::between(&in_redis, &held, &truth);
    correct_line(seats, &line, &before.0, &truth).await?;
    let own = {
        let map = seats.map();
        Doubts::between(map.booked(), map.held(), &truth)
    };
    correct_own(seats, redeems, &own, &before.1, &truth);
    Ok((line, own))
}

/// What the line never heard: an instance crashed between commit and stream.
async fn correct_line(
    seats: &Seats,
    doubts: &Doubts,
    before: &Doubts,
    truth: &Truth,
) -> Result<(), StoreError> {
    let (missing, surplus, holds) = doubts.lasting(before, truth);
    let mut fixes = Vec::new();
    for (booked, seats) in [(true, missing), (false, surplus)] {
        if !seats.is_empty() {
            fixes.push(Told::Seats { booked, seats });
        }
    }
    // A hold that ended unheard would keep its slot for ever; one unheard of would not count.
    for booking in holds {
        let held = truth.held.contains(&booking);
        if held || !tell_end_of_hold(seats, booking).await? {
            fixes.push(Told::Hold { booking, held });
        }
    }
    if !fixes.is_empty() {
        let (sale, count) = (&seats.sale.id, fixes.len());
        tracing::warn!(%sale, "the line's seats are put right after PostgreSQL's ({count} changes)");
        seats.line.bookings(&fixes, &[]).await?;
    }
    Ok(())
}

/// Tells the line, and so its visitor, what became of a hold, unless another instance has done so by now. Its seats may
/// be someone else's meanwhile, so they are left alone. False if there is no such booking.
async fn tell_end_of_hold(seats: &Seats, id: Uuid) -> Result<bool, StoreError> {
    let mut known = false;
    let tell = |record: BookingRecord| {
        known = true;
        async move {
            let news = Committed::of(&record.visitor, None, &record.booking);
            if seats.line.held().await?.contains(&id) {
                let news = Committed { seats: Vec::new(), ..news };
                seats.line.bookings(&[Told::Booking(news)], &[]).await?;
            }
            Ok(())
        }
    };
    seats.bookings.present(id, tell).await?;
    Ok(known)
}

/// What this instance learned in the wrong order: its own answer from PostgreSQL may come after the stream's later
/// news, and the stream does not tell those again.
fn correct_own(seats: &Seats, redeems: &Redeems, doubts: &Doubts, before: &Doubts, truth: &Truth) {
    let (missing, surplus, holds) = doubts.lasting(before, truth);
    let count = missing.len() + surplus.len() + holds.len();
    if count == 0 {
        return;
    }
    tracing::warn!(sale = %seats.sale.id, "this instance's seats are put right after PostgreSQL's ({count} changes)");
    redeems.unspent.forget();
    let mut map = seats.map();
    map.book(None, false, &missing);
    map.free_at(None, &surplus, Instant::now());
    for id in holds {
        map.hold(id, truth.held.contains(&id));
    }
}
