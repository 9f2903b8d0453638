//! The ticker: every instance ticks, Redis lets one tick in 90 ms decide. No leader, no burst. Who keeps coming too late asks less
//! often, and stands by.

use super::LiveLine;
use crate::{
    drain::Drain,
    limits::TICK,
    room::redeems::Redeems,
    store::{errors::StoreError, line::Tick},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval};
use wire::domain::phase::Phase;

/// Time between ticks of a sale that admits nobody and has no grant to lapse: enough for the instance's lease.
const IDLE_TICK: Duration = Duration::from_secs(1);
/// Whoever heard of no tick for longer than an idle one takes stands still, if a store is away too.
pub(super) const STILL: Duration = Duration::from_millis(1_500);

/// Ticks until the server has left: who is still here counts as present by the lease that a tick renews.
pub(in crate::room) async fn run(line: Arc<LiveLine>, redeems: Arc<Redeems>) {
    let mut every = interval(TICK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    let mut live = 0;
    let mut standby = Standby::default();
    let mut last: Option<Instant> = None;
    while line.drain() < Drain::Done {
        every.tick().await;
        let is_due = line.is_due();
        let idle = line.phase() != Phase::Open && live == 0 && !is_due;
        if idle && last.is_some_and(|at| at.elapsed() < IDLE_TICK) || !is_due && standby.rests() {
            continue;
        }
        let asked = *last.insert(Instant::now());
        match tick(&line, &redeems, asked).await {
            Ok(Some(tick)) => {
                failing = false;
                live = tick.live;
                line.grants.store(live, Ordering::Relaxed);
                line.instances.store(tick.instances.max(1), Ordering::Relaxed);
                standby.heard(&tick, getrandom::u32().unwrap_or_default());
                if tick.goes_on {
                    every.reset_immediately();
                }
            }
            // Another Redis answers, and nobody knows yet what its line has.
            Ok(None) => (failing, live, standby) = (false, 0, Standby::default()),
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(sale = %line.sale.id, "a tick failed; admissions wait: {error}");
            }
            Err(_) => {}
        }
    }
}

async fn tick(line: &LiveLine, redeems: &Arc<Redeems>, asked: Instant) -> Result<Option<Tick>, StoreError> {
    let (decided, mut tick) = match line.store.tick(line.health.postgres_age_ms()).await {
        Err(error) => return line.revive(error).await.map(|()| None),
        Ok(answer) => answer,
    };
    line.clock.heard(tick.now_ms, asked);
    line.ticked_ms.store(tick.now_ms, Ordering::Relaxed);
    line.declined.store(!decided && !tick.is_early && !tick.goes_on, Ordering::Relaxed);
    if decided || tick.is_early {
        line.goes_on();
    }
    // PostgreSQL holds the operator's phase, so it opens the sale, by its own clock.
    let is_due = tick.phase == Phase::Scheduled && line.is_due();
    if is_due && line.sales.open_if_due(&line.sale.id).await? {
        line.changed.notify_one();
    }
    if decided {
        redeems.settle_expired(std::mem::take(&mut tick.expired_fences));
    }
    Ok(Some(tick))
}

/// Ticks that come too early one after another: somebody else decides, and is asked after less often. Whoever it is may die at any
/// moment, and then a tick that comes 90 ms after its last one decides: of those who stand by somebody asks every 186 ms, so
/// that the next comes before 300 ms are over, for which a late tick makes up (docs/decisions/0024-standing-by.md).
#[derive(Default)]
struct Standby {
    early: u32,
    /// Turns of the ticker that are let pass.
    rest: u32,
}

impl Standby {
    /// Early ones in a row, before an instance stands by.
    const EARLY: u32 = 3;
    /// As few instances as no one of them may ask less often than every second turn …
    const FEW: u64 = 8;
    /// … and the turns between two questions, of however many: a second, as the lease needs it.
    const TURNS_MAX: u32 = 10;

    fn heard(&mut self, tick: &Tick, random: u32) {
        self.early = if tick.is_early { self.early.saturating_add(1) } else { 0 };
        self.rest = if self.early < Self::EARLY { 0 } else { Self::turns(tick.instances, random) - 1 };
    }

    /// Turns until the next question, at random: those who stand by are not to ask all at once.
    fn turns(instances: u64, random: u32) -> u32 {
        let mean = u32::try_from(instances * 2 / Self::FEW).unwrap_or(u32::MAX).clamp(2, Self::TURNS_MAX);
        if instances <= Self::FEW { mean } else { mean / 2 + random % (mean + 1) }
    }

    /// Whether this turn is let pass.
    fn rests(&mut self) -> bool {
        let rests = self.rest > 0;
        self.rest = self.rest.saturating_sub(1);
        rests
    }
}

impl LiveLine {
    /// Whether the time to open has come.
    fn is_due(&self) -> bool {
        let opens_at = self.settings().opens_at.filter(|_| self.phase() == Phase::Scheduled);
        opens_at.is_some_and(|at| self.until_ms(at.as_millisecond()) == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(is_early: bool, instances: u64) -> Tick {
        Tick {
            now_ms: 0,
            phase: Phase::Open,
            shift_ms: 0,
            admitted: 0,
            expired_fences: Vec::new(),
            lapsed: [0; 3],
            live: 0,
            instances,
            is_early,
            goes_on: false,
        }
    }

    /// Turns that are let pass before the next question.
    fn rest(standby: &mut Standby) -> u32 {
        (0..).take_while(|_| standby.rests()).count() as u32
    }

    #[test]
    fn who_is_early_again_and_again_stands_by_and_who_decides_does_not() {
        let mut standby = Standby::default();
        let mut early = |is_early, instances, random| {
            standby.heard(&tick(is_early, instances), random);
            rest(&mut standby)
        };
        assert_eq!([0; 3].map(|random| early(true, 2, random)), [0, 0, 1]);
        assert_eq!(
            [0, 1, 7].map(|random| early(true, 8, random)),
            [1; 3],
            "of few, each asks every second turn"
        );
        assert_eq!([0, 10].map(|random| early(true, 53, random)), [4, 14]);
        assert_eq!((early(false, 53, 0), early(true, 53, 0)), (0, 0));
    }

    /// Of however many stand by, somebody asks within the 210 ms that are left of 300, 90 after the last tick of who decided: the more
    /// there are the surer, although each asks less often. Each begins at a moment of its own.
    #[test]
    fn who_decided_and_died_is_replaced_before_300_ms_are_over() {
        let mut random = 1u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random >> 8
        };
        for instances in 2..=100 {
            let mut asked: Vec<u32> = Vec::new();
            for _ in 1..instances {
                let mut at = next() % 2_000;
                while at < 60_000 {
                    asked.push(at);
                    at += 93 * Standby::turns(instances, next());
                }
            }
            asked.sort_unstable();
            let asked = asked.into_iter().filter(|at| (2_000..60_000).contains(at)).collect::<Vec<_>>();
            let late: u32 = asked.windows(2).map(|two| (two[1] - two[0]).saturating_sub(210)).sum();
            assert!(late <= 100, "{instances}: for {late} ms of a minute nobody would come in time");
        }
    }
}
