//! The ticker: every instance ticks, Redis lets one tick in 90 ms decide. No leader, no burst.

use super::{Room, settle};
use crate::{
    domain::phase::Phase, limits::TICK, metrics, shutdown::Stage, store::errors::StoreError,
    store::line::Tick,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};

/// Time between ticks of a sale that admits nobody and has no grant to lapse: enough for the instance's lease.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Ticks until the server leaves.
pub(super) async fn run(room: Arc<Room>) {
    let mut every = interval(TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut live = 0;
    let mut last: Option<Instant> = None;
    while room.stage() < Stage::Leaving {
        every.tick().await;
        let idle = room.phase() != Phase::Open && live == 0 && !is_due(&room);
        if idle && last.is_some_and(|at| at.elapsed() < IDLE_TICK) {
            continue;
        }
        let asked = *last.insert(Instant::now());
        match tick(&room, asked).await {
            Ok(now_live) => (failing, live) = (false, now_live),
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(sale = %room.id, "a tick failed; admissions wait: {error}");
            }
            Err(_) => {}
        }
    }
}

/// Answers how many grants live.
async fn tick(room: &Arc<Room>, asked: Instant) -> Result<u64, StoreError> {
    let (decided, tick) = match room.line.tick(room.health.postgres_age_ms()).await {
        Err(error) if error.is_missing_line() => return settle::install(room).await.map(|()| 0),
        result => result?,
    };
    room.clock.heard(tick.now_ms, asked);
    // PostgreSQL holds the operator's phase, so it opens the sale, by its own clock.
    if tick.phase == Phase::Scheduled && is_due(room) && room.sales.open_if_due(&room.id).await? {
        room.sync().await?;
    }
    if decided {
        count(room, &tick);
        if !tick.expired_locks.is_empty() {
            tokio::spawn(settle::expired_locks(room.clone(), tick.expired_locks));
        }
    }
    Ok(tick.live)
}

fn count(room: &Room, tick: &Tick) {
    let sale = room.id.as_str();
    metrics::admissions(sale, tick.admitted);
    for (reason, count) in ["missed", "expired", "closed"].into_iter().zip(tick.lapsed) {
        metrics::lapses(sale, reason, count);
    }
}

/// Whether the time to open has come.
fn is_due(room: &Room) -> bool {
    let opens_at = room.settings().opens_at.filter(|_| room.phase() == Phase::Scheduled);
    opens_at.is_some_and(|at| room.until_ms(at.as_millisecond()) == 0)
}
