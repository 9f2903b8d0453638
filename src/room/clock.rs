//! Redis' clock as this instance sees it: the only clock of a line. Deadlines come in its milliseconds.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Instant,
};

/// Redis' clock, estimated from the answers to ticks.
pub struct RedisClock {
    base: Instant,
    /// Redis' milliseconds at `base`.
    offset_ms: AtomicI64,
}

impl RedisClock {
    /// Right from the first answer on.
    pub fn new(now_ms: i64) -> Self {
        Self { base: Instant::now(), offset_ms: AtomicI64::new(now_ms) }
    }

    /// Redis said `now_ms` somewhere between `asked` and now.
    pub fn heard(&self, now_ms: i64, asked: Instant) {
        let middle = asked + asked.elapsed() / 2;
        let since_base = middle.duration_since(self.base).as_millis() as i64;
        self.offset_ms.store(now_ms - since_base, Ordering::Relaxed);
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
