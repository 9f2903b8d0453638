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
use tokio::time::{MissedTickBehavior, interval, sleep};

/// Time between ticks of a closed sale.
const CLOSED_TICK: Duration = Duration::from_secs(1);

/// Ticks until the server leaves.
pub(super) async fn run(room: Arc<Room>) {
    let mut every = interval(TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    while room.stage() < Stage::Leaving {
        every.tick().await;
        // A closed sale admits nobody: it only has its last grants to lapse.
        if room.phase() == Phase::Closed {
            sleep(CLOSED_TICK).await;
        }
        let asked = Instant::now();
        match tick(&room, asked).await {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(sale = %room.id, "a tick failed; admissions wait: {error}");
            }
            Err(_) => {}
        }
    }
}

async fn tick(room: &Arc<Room>, asked: Instant) -> Result<(), StoreError> {
    let (decided, tick) = match room.line.tick(room.health.postgres_age_ms()).await {
        Err(error) if error.is_missing_line() => return settle::install(room).await,
        result => result?,
    };
    room.clock.heard(tick.now_ms, asked);
    if tick.phase == Phase::Scheduled {
        open_if_due(room, &tick).await?;
    }
    if decided {
        count(room, &tick);
        if !tick.expired_locks.is_empty() {
            tokio::spawn(settle::expired_locks(room.clone(), tick.expired_locks));
        }
    }
    Ok(())
}

fn count(room: &Room, tick: &Tick) {
    let sale = room.id.as_str();
    metrics::admissions(sale, tick.admitted);
    for (reason, count) in ["missed", "expired", "closed"].into_iter().zip(tick.lapsed) {
        metrics::lapses(sale, reason, count);
    }
}

/// PostgreSQL holds the operator's phase, so it opens the sale, by its own clock.
async fn open_if_due(room: &Room, tick: &Tick) -> Result<(), StoreError> {
    let due = room.settings().opens_at.is_some_and(|at| at.as_millisecond() <= tick.now_ms);
    if due && room.sales.open_if_due(&room.id).await? {
        room.sync().await?;
    }
    Ok(())
}
