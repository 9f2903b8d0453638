//! How fast the line has moved lately: what estimates rest on.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use wire::domain::eta::Pace;

/// How far back the pace is looked at.
const WINDOW: Duration = Duration::from_secs(60);
/// What comes within this counts as of the same moment.
const GRAIN: Duration = Duration::from_millis(90);

/// Counts admissions from the line since the sale last opened.
#[derive(Default)]
pub struct PaceMeter {
    /// When admissions began, or nothing while they do not run.
    running_since: Option<Instant>,
    /// When, how many were admitted, how many left the line otherwise.
    moves: VecDeque<(Instant, u64, u64)>,
}

impl PaceMeter {
    /// Admissions run, or do not.
    pub fn run(&mut self, running: bool, now: Instant) {
        if running != self.running_since.is_some() {
            self.running_since = running.then_some(now);
            self.moves.clear();
        }
    }

    /// So many were admitted from the line, and so many left it otherwise.
    pub fn count(&mut self, admitted: u64, gone: u64, now: Instant) {
        match self.moves.back_mut() {
            // Thousands may leave in a second, a few at a time.
            Some((at, admissions, others)) if now.duration_since(*at) < GRAIN => {
                *admissions += admitted;
                *others += gone;
            }
            _ => self.moves.push_back((now, admitted, gone)),
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.moves.front().is_some_and(|(at, ..)| now.duration_since(*at) > WINDOW) {
            self.moves.pop_front();
        }
    }

    /// The pace at `now`, given the allowed rate; nothing while admissions do not run.
    pub fn pace(&mut self, rate: f64, now: Instant) -> Option<Pace> {
        self.forget(now);
        let observed_s = now.duration_since(self.running_since?).min(WINDOW).as_secs_f64();
        let (admitted, gone) =
            self.moves.iter().fold((0, 0), |sum, (_, admitted, gone)| (sum.0 + admitted, sum.1 + gone));
        let a_second = |count: u64| if observed_s > 0.0 { count as f64 / observed_s } else { 0.0 };
        Some(Pace { rate, observed: a_second(admitted), gone: a_second(gone), observed_s })
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
        (1..=10).for_each(|s| meter.count(4, 1, at(s)));
        assert_eq!(
            meter.pace(5.0, at(10)),
            Some(Pace { rate: 5.0, observed: 4.0, gone: 1.0, observed_s: 10.0 })
        );
        assert_eq!(meter.pace(5.0, at(200)).unwrap().observed, 0.0, "nobody lately");
        meter.run(false, at(201));
        assert_eq!(meter.pace(5.0, at(202)), None);
    }
}
