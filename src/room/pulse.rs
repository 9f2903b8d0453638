//! Whether a task that runs for ever still comes round. One that hangs is neither ended nor broken down, and nobody would start
//! it again: the instance has to be.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// A task that has not come round for so long hangs: several times what one round takes while both stores are away.
const STUCK: Duration = Duration::from_secs(30);

/// When a task last came round.
pub(super) struct Pulse {
    since: Instant,
    beat_ms: AtomicU64,
}

impl Default for Pulse {
    /// It has just begun.
    fn default() -> Self {
        Self { since: Instant::now(), beat_ms: AtomicU64::new(0) }
    }
}

impl Pulse {
    /// It has come round.
    pub fn beat(&self) {
        self.beat_ms.store(self.since.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether it has lately.
    pub fn is_alive(&self) -> bool {
        let quiet =
            self.since.elapsed().saturating_sub(Duration::from_millis(self.beat_ms.load(Ordering::Relaxed)));
        quiet < STUCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_has_no_pulse() {
        let pulse = Pulse::default();
        for _ in 0..5 {
            advance(STUCK / 2).await;
            assert!(pulse.is_alive());
            pulse.beat();
        }
        advance(STUCK).await;
        assert!(!pulse.is_alive());
        pulse.beat();
        assert!(pulse.is_alive(), "late, but it goes on");
    }
}
