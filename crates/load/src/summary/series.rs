//! Counts over time, in a fixed number of buckets: when a run outlasts them, two become one.

use crate::facts::Micros;
use serde::Serialize;

/// Buckets of a run: half of them at least are used by a run that is longer than [`WIDTH_US`] times this.
const BUCKETS: usize = 240;
/// What a bucket spans at first.
const WIDTH_US: Micros = 250_000;

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Visitors who were meant to arrive.
    Arrivals,
    /// Visitors who got their first place.
    Joined,
    /// Grants.
    Admitted,
    /// Comings into the line less goings.
    InLine,
    /// Sockets opened less closed.
    Sockets,
    /// Seats sold less released.
    Seats,
}

const KINDS: usize = 6;

/// The counts while they are taken.
pub(super) struct Counts {
    origin: Micros,
    width: Micros,
    buckets: Vec<[i64; KINDS]>,
}

impl Counts {
    /// None yet, from `origin` on.
    pub fn new(origin: Micros) -> Self {
        Self { origin, width: WIDTH_US, buckets: vec![[0; KINDS]; BUCKETS] }
    }

    /// So many more of that kind. What comes before the origin belongs to the first bucket.
    pub fn add(&mut self, kind: Kind, at: Micros, by: i64) {
        let index = self.index(at);
        self.buckets[index][kind as usize] += by;
    }

    fn index(&mut self, at: Micros) -> usize {
        let after = at.saturating_sub(self.origin);
        while after / self.width >= BUCKETS as Micros {
            self.fold();
        }
        (after / self.width) as usize
    }

    fn fold(&mut self) {
        for i in 0..BUCKETS / 2 {
            let (left, right) = (self.buckets[2 * i], self.buckets[2 * i + 1]);
            self.buckets[i] = std::array::from_fn(|kind| left[kind] + right[kind]);
        }
        self.buckets[BUCKETS / 2..].fill([0; KINDS]);
        self.width *= 2;
    }

    /// All of it up to `end`.
    pub fn series(mut self, end: Micros) -> Series {
        let used = self.index(end) + 1;
        let counts = |kind: Kind| self.buckets[..used].iter().map(|b| b[kind as usize]).collect::<Vec<_>>();
        let levels = |kind| {
            let sum = |level: &mut i64, by: i64| {
                *level += by;
                Some(*level)
            };
            counts(kind).into_iter().scan(0, sum).collect()
        };
        Series {
            bucket_s: self.width as f64 / 1e6,
            arrivals: counts(Kind::Arrivals),
            joined: counts(Kind::Joined),
            admitted: counts(Kind::Admitted),
            in_line: levels(Kind::InLine),
            sockets: levels(Kind::Sockets),
            seats_sold: levels(Kind::Seats),
        }
    }
}

/// What happened in each bucket of time, and what stood at its end; all of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Series {
    /// What a bucket spans, in seconds.
    pub bucket_s: f64,
    /// Visitors who were meant to arrive in it.
    pub arrivals: Vec<i64>,
    /// Visitors to whom a place was acknowledged for the first time.
    pub joined: Vec<i64>,
    /// Grants, each when its visitor first heard of it.
    pub admitted: Vec<i64>,
    /// Places in the line at its end, as their visitors knew it.
    pub in_line: Vec<i64>,
    /// Live sockets at its end.
    pub sockets: Vec<i64>,
    /// Seats sold or held by its end, as visitors were told.
    pub seats_sold: Vec<i64>,
}

impl Series {
    /// Admissions a second over the last second at the end of each bucket: the server admits by ticks of a tenth
    /// of a second, which shorter buckets would show as a comb.
    pub fn admissions_a_second(&self) -> Vec<f64> {
        let window = ((1.0 / self.bucket_s).round() as usize).max(1);
        let mean = |end: usize| {
            let last = &self.admitted[(end + 1).saturating_sub(window)..=end];
            last.iter().sum::<i64>() as f64 / (last.len() as f64 * self.bucket_s)
        };
        (0..self.admitted.len()).map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_wider_buckets_and_the_same_sums() {
        let mut counts = Counts::new(1_000_000);
        counts.add(Kind::Arrivals, 0, 1);
        counts.add(Kind::InLine, 1_100_000, 3);
        counts.add(Kind::InLine, 1_300_000, -1);
        let minute = 60 * 1_000_000;
        counts.add(Kind::InLine, 1_000_000 + 3 * minute, -2);
        let series = counts.series(1_000_000 + 3 * minute);
        assert_eq!((series.bucket_s, series.arrivals.len()), (1.0, 181));
        assert_eq!(
            (series.arrivals[0], series.in_line[0], series.in_line[179], series.in_line[180]),
            (1, 2, 2, 0)
        );
    }

    #[test]
    fn no_time_is_too_late() {
        let mut counts = Counts::new(0);
        counts.add(Kind::Arrivals, u64::MAX, 1);
        let series = counts.series(u64::MAX);
        assert!(series.arrivals.len() <= BUCKETS);
        assert_eq!(series.arrivals.iter().sum::<i64>(), 1);
    }

    #[test]
    fn admissions_are_a_mean_over_a_second() {
        let series = Series { bucket_s: 0.25, admitted: vec![2, 3, 4, 3, 10], ..Series::default() };
        assert_eq!(series.admissions_a_second(), [8.0, 10.0, 12.0, 12.0, 20.0]);
        let series = Series { bucket_s: 2.0, admitted: vec![2, 4], ..Series::default() };
        assert_eq!(series.admissions_a_second(), [1.0, 2.0]);
    }
}
