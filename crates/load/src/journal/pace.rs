//! The pace of admissions: what the sale's rate allows in any window of time.

/// Time between two ticks that decide, in ms, at least.
const TICK_MS_MIN: i64 = 90;
/// Time for which one tick may admit, in seconds.
const TICK_S: f64 = 0.1;

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
}

impl Pace {
    /// A rate is in force from here on; windows do not reach over that.
    pub fn restart(&mut self, rate: f64) {
        *self = Self { rate, last: self.last, ..Self::default() };
    }

    /// A tick admitted so many: what is wrong with that.
    pub fn tick(&mut self, at: i64, count: usize) -> Option<String> {
        if at < self.last {
            // The clock went back: what is between two of its times is not known.
            self.restart(self.rate);
        }
        let is_early = self.origin.is_some() && at - self.last < TICK_MS_MIN;
        let since = at - self.last;
        self.last = at;
        let origin = *self.origin.get_or_insert(at);
        let allowed = self.rate * (at - origin) as f64 / 1000.0;
        let before = self.admitted - allowed;
        if self.admitted == 0.0 || before < self.lowest.0 {
            self.lowest = (before, at);
        }
        self.admitted += count as f64;
        // A bucket keeps less than one admission.
        if self.admitted - allowed - self.lowest.0 > self.rate * TICK_S + 1.0 + 1e-6 {
            let (window_ms, rate) = (at - self.lowest.1, self.rate);
            let burst = (self.admitted - allowed - self.lowest.0 + rate * window_ms as f64 / 1000.0).round();
            // The next finding is another window's.
            self.restart(rate);
            return Some(format!("{burst} admissions within {window_ms} ms, at {rate} a second"));
        }
        is_early.then(|| format!("two ticks admitted within {since} ms; one in {TICK_MS_MIN} ms may"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(rate: f64, ticks: impl IntoIterator<Item = (i64, usize)>) -> Vec<String> {
        let mut pace = Pace::default();
        pace.restart(rate);
        ticks.into_iter().filter_map(|(at, count)| pace.tick(at, count)).collect()
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

    #[test]
    fn a_burst_after_a_pause_and_a_tick_too_soon_are_seen() {
        let found = ticks(10.0, [(0, 1), (60_000, 1), (120_000, 30)]);
        assert_eq!(found, ["30 admissions within 0 ms, at 10 a second"]);
        assert_eq!(ticks(10.0, [(0, 1), (50, 1)]).len(), 1);
        assert!(ticks(10.0, [(0, 1), (100, 1), (50, 1)]).is_empty(), "the clock went back");
    }
}
