//! The pace of admissions: what the sale's rate allows in any window of time.

use wire::domain::line::{TICK_MS, TICK_MS_MAX, TICK_MS_MIN};

/// The ticks that admitted, since the rate was set. The worst window ends at some tick; the best beginning for each is kept
/// from those before, so this is O(1) a tick.
#[derive(Default)]
pub(super) struct Pace {
    rate: f64,
    /// The first tick, in ms.
    origin: Option<i64>,
    last: i64,
    admitted: f64,
    /// The least by which admissions were ever above what the rate had allowed, and when that was.
    lowest: (f64, i64),
    /// When the sale opened, and how many were admitted since.
    opened: Option<(i64, f64)>,
}

impl Pace {
    /// A rate is in force from here on; windows do not reach over that.
    pub fn restart(&mut self, rate: f64) {
        *self = Self { rate, last: self.last, ..Self::default() };
    }

    /// The sale opens: the first tick after that gives out no more than the time since then, if it is no more than a tick is
    /// wont to.
    pub fn opens(&mut self, at: i64) {
        self.opened = Some((at, 0.0));
    }

    /// A tick admitted so many: what is wrong with that. One that `goes_on` is the one before, by another call.
    pub fn tick(&mut self, at: i64, count: usize, goes_on: bool) -> Option<String> {
        if at < self.last {
            // The clock went back: what is between two of its times is not known.
            self.restart(self.rate);
        }
        let is_early = self.origin.is_some() && at - self.last < TICK_MS_MIN && !goes_on;
        let since = at - self.last;
        self.last = at;
        if let Some(burst) = self.after_opening(at, count) {
            return Some(burst);
        }
        let origin = *self.origin.get_or_insert(at);
        let allowed = self.rate * (at - origin) as f64 / 1000.0;
        let before = self.admitted - allowed;
        if self.admitted == 0.0 || before < self.lowest.0 {
            self.lowest = (before, at);
        }
        self.admitted += count as f64;
        // A bucket keeps less than one admission.
        if self.admitted - allowed - self.lowest.0 > self.rate * TICK_MS_MAX as f64 / 1000.0 + 1.0 + 1e-6 {
            let (window_ms, rate) = (at - self.lowest.1, self.rate);
            let burst = (self.admitted - allowed - self.lowest.0 + rate * window_ms as f64 / 1000.0).round();
            // The next finding is another window's.
            self.restart(rate);
            return Some(format!("{burst} admissions within {window_ms} ms, at {rate} a second"));
        }
        is_early.then(|| format!("two ticks admitted within {since} ms; one in {TICK_MS_MIN} ms may"))
    }

    /// No pause is made up for by a late tick.
    fn after_opening(&mut self, at: i64, count: usize) -> Option<String> {
        let rate = self.rate;
        let (opened, admitted) = self.opened.as_mut()?;
        *admitted += count as f64;
        let since = at - *opened;
        // An older program gave out a whole tick's at once.
        if *admitted <= rate * (since + TICK_MS) as f64 / 1000.0 + 1.0 + 1e-6 {
            return None;
        }
        let burst = format!("{admitted} admissions within {since} ms of the opening, at {rate} a second");
        self.opened = None;
        Some(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(rate: f64, ticks: impl IntoIterator<Item = (i64, usize)>) -> Vec<String> {
        let mut pace = Pace::default();
        pace.restart(rate);
        ticks.into_iter().filter_map(|(at, count)| pace.tick(at, count, false)).collect()
    }

    #[test]
    fn what_the_bucket_gives_is_no_burst_whatever_the_rate() {
        for rate in [0.3, 1.0, 7.0, 100.0, 333.3, 9000.0] {
            let (mut bucket, mut last) = (0.0, 0);
            let healthy = (0..2000).map(|i| {
                let at = i * 93 + if i > 1000 { 60_000 } else { 0 };
                bucket += rate * f64::from((at - last).clamp(0, 100) as i32) / 1000.0;
                last = at;
                let count = f64::floor(bucket);
                bucket -= count;
                (at, count as usize)
            });
            let healthy: Vec<_> = healthy.filter(|(_, count)| *count > 0).collect();
            assert_eq!(ticks(rate, healthy.iter().copied()), Vec::<String>::new(), "{rate}");
            let more = healthy.iter().map(|(at, count)| (*at, count + 2));
            assert!(!ticks(rate, more).is_empty(), "{rate}");
        }
    }

    /// Ticks that are late by a stall of the instances admit what the time since the last one allows, and no more.
    #[test]
    fn a_late_tick_makes_up_for_its_stall_alone() {
        let late = [(0, 1), (100, 10), (400, 30), (500, 10)];
        assert_eq!(ticks(100.0, late), Vec::<String>::new());
        assert_eq!(ticks(100.0, [(0, 1), (100, 10), (400, 33)]).len(), 1);
        assert_eq!(ticks(100.0, [(0, 1), (100, 10), (60_100, 32)]).len(), 1, "an outage");
        let opened = |count| {
            let mut pace = Pace::default();
            pace.restart(100.0);
            pace.tick(0, 5, false);
            pace.opens(60_000);
            pace.tick(60_050, count, false)
        };
        assert_eq!(opened(16), None);
        assert!(opened(17).unwrap().contains("of the opening"), "a pause, with less than a late tick's");
    }

    #[test]
    fn a_tick_of_several_calls_keeps_to_the_rate_as_one_of_one_does() {
        let calls = |last: usize| {
            let mut pace = Pace::default();
            pace.restart(10_000.0);
            pace.tick(0, 1, false);
            let all = [(100, 300, false), (102, 300, true), (104, 300, true), (106, last, true)];
            all.into_iter().filter_map(|(at, count, goes_on)| pace.tick(at, count, goes_on)).count()
        };
        assert_eq!(calls(100), 0);
        assert_eq!(calls(3_000), 1, "more than the time allows");
        assert_eq!(ticks(10_000.0, [(0, 1), (100, 299), (102, 300)]).len(), 1, "another tick");
    }

    #[test]
    fn a_burst_after_a_pause_and_a_tick_too_soon_are_seen() {
        let found = ticks(10.0, [(0, 1), (60_000, 1), (120_000, 30)]);
        assert_eq!(found, ["30 admissions within 0 ms, at 10 a second"]);
        assert_eq!(ticks(10.0, [(0, 1), (50, 1)]).len(), 1);
        assert!(ticks(10.0, [(0, 1), (100, 1), (50, 1)]).is_empty(), "the clock went back");
    }
}
