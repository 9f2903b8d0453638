//! How many messages a peer may send.

use crate::limits::{MESSAGES_BURST, MESSAGES_PER_S};
use std::time::Instant;

/// How many messages the peer may still send: a bucket that fills by the second.
pub(super) struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    pub(super) fn new() -> Self {
        Self { left: MESSAGES_BURST, at: Instant::now() }
    }

    pub(super) fn take(&mut self) -> bool {
        let now = Instant::now();
        let refill = now.duration_since(self.at).as_secs_f64() * MESSAGES_PER_S;
        (self.left, self.at) = ((self.left + refill).min(MESSAGES_BURST) - 1.0, now);
        self.left >= 0.0
    }
}
