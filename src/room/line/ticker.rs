//! The ticker: every instance ticks, Redis lets one tick in 90 ms decide. No leader, no burst.

use super::LiveLine;
use crate::{drain::Drain, limits::TICK, room::redeems::Redeems, store::errors::StoreError};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};
use wire::domain::phase::Phase;

/// Time between ticks of a sale that admits nobody and has no grant to lapse: enough for the instance's lease.
const IDLE_TICK: Duration = Duration::from_secs(1);

/// Ticks until the server has left: who is still here counts as present by the lease that a tick renews.
pub(in crate::room) async fn run(line: Arc<LiveLine>, redeems: Arc<Redeems>) {
    let mut every = interval(TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut live = 0;
    let mut last: Option<Instant> = None;
    while line.drain() < Drain::Done {
        every.tick().await;
        let idle = line.phase() != Phase::Open && live == 0 && !line.is_due();
        if idle && last.is_some_and(|at| at.elapsed() < IDLE_TICK) {
            continue;
        }
        let asked = *last.insert(Instant::now());
        match tick(&line, &redeems, asked).await {
            Ok(now_live) => {
                (failing, live) = (false, now_live);
                line.grants.store(live, Ordering::Relaxed);
            }
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(sale = %line.sale.id, "a tick failed; admissions wait: {error}");
            }
            Err(_) => {}
        }
    }
}

/// Answers how many grants live.
async fn tick(line: &LiveLine, redeems: &Arc<Redeems>, asked: Instant) -> Result<u64, StoreError> {
    let (decided, tick) = match line.store.tick(line.health.postgres_age_ms()).await {
        Err(error) => return line.revive(error).await.map(|()| 0),
        Ok(answer) => answer,
    };
    line.clock.heard(tick.now_ms, asked);
    line.ticked_ms.store(tick.now_ms, Ordering::Relaxed);
    // PostgreSQL holds the operator's phase, so it opens the sale, by its own clock.
    let is_due = tick.phase == Phase::Scheduled && line.is_due();
    if is_due && line.sales.open_if_due(&line.sale.id).await? {
        line.changed.notify_one();
    }
    if decided {
        redeems.settle_expired(tick.expired_fences);
    }
    Ok(tick.live)
}

impl LiveLine {
    /// Whether the time to open has come.
    fn is_due(&self) -> bool {
        let opens_at = self.settings().opens_at.filter(|_| self.phase() == Phase::Scheduled);
        opens_at.is_some_and(|at| self.until_ms(at.as_millisecond()) == 0)
    }
}
