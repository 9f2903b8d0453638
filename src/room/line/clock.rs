//! Redis' clock as this instance sees it: the only clock of a line. Deadlines come in its milliseconds.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

/// Redis' clock, estimated from the answers to ticks.
pub struct RedisClock {
    base: Instant,
    /// Redis' milliseconds at `base`.
    offset_ms: AtomicI64,
    /// The answer that the offset was taken from: how long it took, and when it came.
    best: Mutex<Option<(Duration, Instant)>>,
}

/// After this a slower answer is believed again: clocks drift.
const BEST_AGE: Duration = Duration::from_secs(10);

impl RedisClock {
    /// Right from the first answer on.
    pub fn new(now_ms: i64) -> Self {
        Self { base: Instant::now(), offset_ms: AtomicI64::new(now_ms), best: Mutex::new(None) }
    }

    /// Redis said `now_ms` somewhere between `asked` and now. The quicker the answer, the truer the clock.
    pub fn heard(&self, now_ms: i64, asked: Instant) {
        let took = asked.elapsed();
        let mut best = self.best.lock().unwrap_or_else(PoisonError::into_inner);
        if best.is_some_and(|(quickest, at)| took > quickest && at.elapsed() < BEST_AGE) {
            return;
        }
        *best = Some((took, Instant::now()));
        let middle = asked + took / 2;
        let since_base = middle.duration_since(self.base).as_millis() as i64;
        self.offset_ms.store(now_ms - since_base, Ordering::Relaxed);
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

    #[test]
    fn a_slow_answer_does_not_spoil_a_quick_one() {
        let clock = RedisClock::new(0);
        clock.heard(1_000_000, Instant::now());
        let slow = Instant::now();
        std::thread::sleep(Duration::from_millis(20));
        clock.heard(999_000, slow);
        assert!((1_000_020..1_000_500).contains(&clock.now_ms()), "{}", clock.now_ms());
        assert_eq!(clock.until_ms(0), 0);
        assert!(clock.until_ms(2_000_000) > 999_000);
    }
}
