//! What must happen now and then: settings followed, holds ended, the seat map compared with PostgreSQL. Every
//! instance does it; PostgreSQL and the scripts make sure that each thing is done once.

use super::{Room, hub::News, settle};
use crate::{
    domain::{phase::Phase, plan::SeatIndex, seats::SeatSet},
    limits::{COMPARE, SALES_POLL},
    shutdown::Stage,
    store::{bookings::Owned, errors::StoreError, line::Committed},
};
use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Booking counts as possible if it was proven so within this.
const BOOKABLE_AGE_MAX: Duration = Duration::from_secs(3);

/// Keeps until the server has stopped.
pub(super) async fn run(room: Arc<Room>) {
    let mut compared = Instant::now();
    let mut doubts = <(Doubts, Doubts)>::default();
    while room.stage() < Stage::Stopped {
        // Woken by a change of settings, or by the clock.
        let woken = timeout(SALES_POLL, room.changed.notified()).await.is_ok();
        let result = async {
            if woken {
                room.sync().await?;
            }
            if room.seats().any_held() {
                end_holds(&room).await?;
            }
            if compared.elapsed() >= COMPARE && room.phase() != Phase::Closed {
                compared = Instant::now();
                // A crash or a cut may have come between PostgreSQL's settings and Redis'.
                settle::apply_settings(&room, &room.state()).await?;
                doubts = compare(&room, &doubts).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = result.await {
            tracing::debug!(sale = %room.id, "housekeeping waits: {error}");
        }
    }
}

/// Settings as PostgreSQL has them are put in force, here and in Redis, and told to the sockets.
pub(super) async fn sync(room: &Room) -> Result<(), StoreError> {
    let Some(new) = room.sales.state(&room.id, room.plan.seats.len()).await? else { return Ok(()) };
    // Redis first: if it cannot be told now, this instance keeps what it knew, and the next look tries again.
    settle::apply_settings(room, &new).await?;
    let old = room.change_live(|live| {
        let newer = new.version > live.state.version;
        newer.then(|| std::mem::replace(&mut live.state, new.clone()))
    });
    let Some(old) = old else { return Ok(()) };
    room.seats().block(new.blocked);
    room.revision.rise();
    let position = room.live().position;
    if old.notice != new.notice {
        room.hub.tell_all(position, &News::Notice(new.notice.into()));
    }
    if old.settings.opens_at != new.settings.opens_at && room.phase() == Phase::Scheduled {
        room.hub.tell_all(position, &News::Phase(Phase::Scheduled));
    }
    Ok(())
}

/// Holds whose time is up are released: not while booking is impossible, nor before such a time was added to them.
/// The tick that ends an outage notes both in one step.
async fn end_holds(room: &Arc<Room>) -> Result<(), StoreError> {
    // Asked first: a question that PostgreSQL answers after an outage is then judged by what the line knows of it.
    let due = room.bookings.hold_due().await?;
    let (shift_ms, bookable_at) = room.line.shift().await?;
    if room.since(bookable_at) > BOOKABLE_AGE_MAX {
        return Ok(());
    }
    if shift_ms > room.shifted_ms.load(Ordering::Relaxed) {
        if room.bookings.shift_holds(shift_ms).await? {
            tracing::info!(sale = %room.id, "an outage was added to all holds");
        }
        room.shifted_ms.store(shift_ms, Ordering::Relaxed);
    }
    if let Some(due) = due {
        for owned in room.bookings.expire_holds(due).await? {
            room.told_within_patience(owned.booking.id).await;
        }
    }
    Ok(())
}

/// Where seats and holds differ from PostgreSQL's.
#[derive(Default)]
struct Doubts {
    seats: SeatSet,
    held: Vec<String>,
}

impl Doubts {
    fn between(seats: &SeatSet, held: &HashSet<String>, truth: &Truth) -> Self {
        Self {
            seats: SeatSet::from_seats(truth.seats, seats.differences(&truth.taken)),
            held: held.symmetric_difference(&truth.held).cloned().collect(),
        }
    }

    /// What differed before too: seats that should be taken, seats that should be free, and holds.
    fn lasting(&self, before: &Self, truth: &Truth) -> (Vec<SeatIndex>, Vec<SeatIndex>, Vec<&String>) {
        let lasting = self.seats.iter().filter(|seat| before.seats.contains(*seat));
        let (missing, surplus) = lasting.partition(|seat| truth.taken.contains(*seat));
        (missing, surplus, self.held.iter().filter(|id| before.held.contains(id)).collect())
    }
}

/// What PostgreSQL has.
struct Truth {
    seats: usize,
    taken: SeatSet,
    held: HashSet<String>,
}

/// Compares Redis' seats with PostgreSQL's, and then this instance's own. A difference may be a booking on its way; one
/// that is there twice is put right. Answers what differs.
async fn compare(room: &Arc<Room>, before: &(Doubts, Doubts)) -> Result<(Doubts, Doubts), StoreError> {
    let taken = room.line.taken(room.plan.seats.len()).await?;
    let held = room.line.held().await?.into_iter().collect();
    let truth = {
        let (taken, held) = room.bookings.taken().await?;
        Truth { seats: room.plan.seats.len(), taken, held: held.into_iter().collect() }
    };
    let line = Doubts::between(&taken, &held, &truth);
    correct_line(room, &line, &before.0, &truth).await?;
    let own = {
        let seats = room.seats();
        Doubts::between(seats.booked(), seats.held(), &truth)
    };
    correct_own(room, &own, &before.1, &truth);
    Ok((line, own))
}

/// What the line never heard: an instance crashed between commit and stream.
async fn correct_line(
    room: &Room,
    doubts: &Doubts,
    before: &Doubts,
    truth: &Truth,
) -> Result<(), StoreError> {
    let (missing, surplus, holds) = doubts.lasting(before, truth);
    let fix = |status: &'static str, booking: &str, seats: Vec<SeatIndex>| Committed {
        visitor: String::new(),
        grant: None,
        booking: booking.to_owned(),
        status,
        seats,
    };
    let mut fixes = Vec::new();
    if !missing.is_empty() {
        fixes.push(fix("confirmed", "", missing));
    }
    if !surplus.is_empty() {
        fixes.push(fix("released", "", surplus));
    }
    // A hold that ended unheard would keep its slot for ever; one unheard of would not count.
    for id in holds {
        if truth.held.contains(id) {
            fixes.push(fix("held", id, Vec::new()));
        } else if !tell_end_of_hold(room, id).await? {
            fixes.push(fix("confirmed", id, Vec::new()));
        }
    }
    if !fixes.is_empty() {
        tracing::warn!(sale = %room.id, "the line's seats are put right after PostgreSQL's ({} changes)", fixes.len());
        room.line.bookings(&fixes, &[]).await?;
    }
    Ok(())
}

/// Tells the line, and so its visitor, what became of a hold, unless another instance has done so by now. Its seats may
/// be someone else's meanwhile, so they are left alone. False if there is no such booking.
async fn tell_end_of_hold(room: &Room, id: &str) -> Result<bool, StoreError> {
    let Ok(id) = id.parse() else { return Ok(false) };
    let mut known = false;
    let tell = |owned: Owned| {
        known = true;
        async move {
            let news = Committed { seats: Vec::new(), ..Committed::of(&owned.visitor, None, &owned.booking) };
            if room.line.held().await?.contains(&news.booking) {
                room.line.bookings(&[news], &[]).await?;
            }
            Ok(())
        }
    };
    room.bookings.present(id, tell).await?;
    Ok(known)
}

/// What this instance learned in the wrong order: its own answer from PostgreSQL may come after the stream's later
/// news, and the stream does not tell those again.
fn correct_own(room: &Room, doubts: &Doubts, before: &Doubts, truth: &Truth) {
    let (missing, surplus, holds) = doubts.lasting(before, truth);
    let count = missing.len() + surplus.len() + holds.len();
    if count == 0 {
        return;
    }
    tracing::warn!(sale = %room.id, "this instance's seats are put right after PostgreSQL's ({count} changes)");
    room.unspent.forget();
    let mut seats = room.seats();
    seats.book("", false, &missing);
    seats.free_at("", &surplus, Instant::now());
    for id in holds {
        if truth.held.contains(id) {
            seats.book(id, true, &[]);
        } else {
            seats.free_at(id, &[], Instant::now());
        }
    }
}
