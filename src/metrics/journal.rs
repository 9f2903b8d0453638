//! A sale's journal.

use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// How old the oldest entry was that has just been journaled.
pub fn journal_lag(age: Duration) {
    histogram!("waitroom_journal_lag_seconds").record(age.as_secs_f64());
}

/// What of a sale waits for its journal.
pub fn journal_waiting(sale: &str, bytes: u64) {
    gauge!("waitroom_journal_waiting_bytes", "sale" => sale.to_owned()).set(bytes as f64);
}

/// Redis was found to tell otherwise than what is journaled.
pub fn journal_fork() {
    counter!("waitroom_journal_forks_total").increment(1);
}

/// A line was restored.
pub fn restored() {
    counter!("waitroom_restores_total").increment(1);
}
