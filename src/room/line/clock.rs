//! Redis' clock as this instance sees it: the only clock of a line. Deadlines come in its milliseconds.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

/// All of it is told in whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(3);

/// Redis' clock, estimated from the answers to ticks.
pub struct RedisClock {
    base: Instant,
    /// Redis' milliseconds at `base`.
    offset_ms: AtomicI64,
    /// The answer that the offset was taken from.
    best: Mutex<Option<Heard>>,
}

/// How far off the estimate of an answer may be, and when it came.
#[derive(Clone, Copy)]
struct Heard {
    error: Duration,
    at: Instant,
}

impl Heard {
    /// Clocks drift apart by no more than a thousandth.
    fn error_at(self, now: Instant) -> Duration {
        self.error + now.duration_since(self.at) / 1000
    }
}

impl RedisClock {
    /// Right from the first answer on.
    pub fn new(now_ms: i64) -> Self {
        Self { base: Instant::now(), offset_ms: AtomicI64::new(now_ms), best: Mutex::new(None) }
    }

    /// Redis said `now_ms` somewhere between `asked` and now. The quicker the answer, the truer the clock.
    pub fn heard(&self, now_ms: i64, asked: Instant) {
        self.heard_at(now_ms, asked, Instant::now());
    }

    /// An answer that took seconds, as of a Redis that stood still, tells no more than that; unless it cannot be reconciled with what
    /// is known: then the clock was set.
    fn heard_at(&self, now_ms: i64, asked: Instant, now: Instant) {
        let error = now.duration_since(asked) / 2;
        let middle_ms = (asked + error).duration_since(self.base).as_millis() as i64;
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        let known = best.filter(|best| {
            let off_ms = now_ms - (self.offset_ms.load(Ordering::Relaxed) + middle_ms);
            let may_be_off = error + best.error_at(now) + ROUNDING;
            best.error_at(now) < error && u128::from(off_ms.unsigned_abs()) <= may_be_off.as_millis()
        });
        if known.is_none() {
            *best = Some(Heard { error, at: now });
            self.offset_ms.store(now_ms - middle_ms, Ordering::Relaxed);
        }
    }

    /// Another Redis answers from now on.
    pub fn forget(&self) {
        *self.best.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Redis' milliseconds now.
    pub fn now_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed) + self.base.elapsed().as_millis() as i64
    }

    /// Milliseconds until `at_ms`, 0 if it has passed.
    pub fn until_ms(&self, at_ms: i64) -> u64 {
        u64::try_from(at_ms - self.now_ms()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the clock says so long after its first answer, a quick one, and another after so many seconds that took so long.
    fn after(second_s: u64, took: Duration, ahead_ms: i64) -> i64 {
        let clock = RedisClock::new(0);
        let ms = |duration: Duration| duration.as_millis() as i64;
        let (first, second) = (clock.base, clock.base + Duration::from_secs(second_s));
        clock.heard_at(1_000_000, first, first + Duration::from_millis(1));
        // Said as soon as it was asked, and heard late.
        let said = 1_000_000 + ms(second - first) + ahead_ms;
        clock.heard_at(said, second, second + took);
        clock.offset_ms.load(Ordering::Relaxed) - 1_000_000
    }

    #[test]
    fn an_answer_that_took_long_spoils_nothing_however_old_the_quick_one_is() {
        for second_s in [0, 1, 11, 60] {
            let off_ms = after(second_s, Duration::from_secs(3), 0);
            assert!(off_ms.abs() <= 1, "after {second_s} s: {off_ms} ms");
        }
    }

    #[test]
    fn clocks_drift_and_are_set() {
        // A quick answer is believed as soon as the last may be further off.
        assert_eq!(after(60, Duration::from_millis(2), 40), 39);
        let hour_ms = 3_600_000;
        for ahead_ms in [hour_ms, -hour_ms] {
            let off_ms = after(2, Duration::from_millis(500), ahead_ms) - ahead_ms;
            assert!(off_ms.abs() <= 250, "{off_ms} ms");
        }
    }

    #[test]
    fn what_is_left_is_counted_by_it() {
        let clock = RedisClock::new(0);
        clock.heard(1_000_000, Instant::now());
        assert_eq!(clock.until_ms(0), 0);
        assert!(clock.until_ms(2_000_000) > 999_000);
    }
}
