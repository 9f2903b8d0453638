//! How fast the line has moved lately: what estimates rest on.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use wire::domain::eta::Pace;

/// How far back the pace is looked at.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts admissions from the line since the sale last opened.
#[derive(Default)]
pub struct PaceMeter {
    /// When admissions began, or nothing while they do not run.
    running_since: Option<Instant>,
    admissions: VecDeque<(Instant, u64)>,
}

impl PaceMeter {
    /// Admissions run, or do not.
    pub fn run(&mut self, running: bool, now: Instant) {
        if running != self.running_since.is_some() {
            self.running_since = running.then_some(now);
            self.admissions.clear();
        }
    }

    /// So many were admitted from the line.
    pub fn count(&mut self, admitted: u64, now: Instant) {
        self.admissions.push_back((now, admitted));
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.admissions.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.admissions.pop_front();
        }
    }

    /// The pace at `now`, given the allowed rate; nothing while admissions do not run.
    pub fn pace(&mut self, rate: f64, now: Instant) -> Option<Pace> {
        self.forget(now);
        let observed_s = now.duration_since(self.running_since?).min(WINDOW).as_secs_f64();
        let admitted: u64 = self.admissions.iter().map(|(_, n)| n).sum();
        let observed = if observed_s > 0.0 { admitted as f64 / observed_s } else { 0.0 };
        Some(Pace { rate, observed, observed_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_since_opening_counts() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut meter = PaceMeter::default();
        assert_eq!(meter.pace(5.0, at(0)), None);
        meter.run(true, at(0));
        (1..=10).for_each(|s| meter.count(4, at(s)));
        assert_eq!(meter.pace(5.0, at(10)), Some(Pace { rate: 5.0, observed: 4.0, observed_s: 10.0 }));
        assert_eq!(meter.pace(5.0, at(200)).unwrap().observed, 0.0, "nobody lately");
        meter.run(false, at(201));
        assert_eq!(meter.pace(5.0, at(202)), None);
    }
}
