//! What must happen now and then: settings followed, holds ended, the seat map compared with PostgreSQL. Every
//! instance does it; PostgreSQL and the scripts make sure that each thing is done once.

use super::{Room, hub::News, settle};
use crate::{
    domain::{phase::Phase, plan::SeatIndex, seats::SeatSet},
    limits::{COMPARE, SALES_POLL},
    shutdown::Stage,
    store::{errors::StoreError, line::Committed},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Booking counts as possible if it was proven so within this.
const BOOKABLE_AGE_MAX: Duration = Duration::from_secs(3);

/// Keeps until the server has stopped.
pub(super) async fn run(room: Arc<Room>) {
    let mut compared = Instant::now();
    let mut doubts = Doubts::default();
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

/// Where Redis and PostgreSQL differed.
#[derive(Default)]
struct Doubts {
    seats: SeatSet,
    held: Vec<String>,
}

/// Compares Redis' seats with PostgreSQL's. A difference may be a booking on its way; one that is there twice is a
/// crash between commit and stream, and is put right. Answers what differs.
async fn compare(room: &Room, before: &Doubts) -> Result<Doubts, StoreError> {
    let redis = room.line.taken(room.plan.seats.len()).await?;
    let redis_held = room.line.held().await?;
    let (postgres, postgres_held) = room.bookings.taken().await?;
    let seats = SeatSet::from_seats(room.plan.seats.len(), redis.differences(&postgres));
    let (missing, surplus): (Vec<_>, Vec<_>) =
        seats.iter().filter(|s| before.seats.contains(*s)).partition(|s| postgres.contains(*s));
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
    let ended = redis_held.iter().filter(|id| !postgres_held.contains(id));
    let unheard = postgres_held.iter().filter(|id| !redis_held.contains(id));
    let again = |id: &&String| before.held.contains(*id);
    fixes.extend(ended.clone().filter(again).map(|id| fix("confirmed", id, Vec::new())));
    fixes.extend(unheard.clone().filter(again).map(|id| fix("held", id, Vec::new())));
    let held = ended.chain(unheard).cloned().collect();
    if !fixes.is_empty() {
        tracing::warn!(sale = %room.id, "the line's seats are put right after PostgreSQL's ({} changes)", fixes.len());
        room.line.bookings(&fixes, &[]).await?;
    }
    Ok(Doubts { seats, held })
}
