//! Durations, as percentiles and as the curve through all of them.

use crate::{
    facts::Micros,
    meters::{self, Measure},
};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;

/// Points of a curve between one nine and the next: 90 %, 99 %, 99.9 % …
const POINTS_A_NINE: u32 = 24;

/// All durations, by their measure's name.
#[derive(Default)]
pub(super) struct Times(BTreeMap<&'static str, Histogram<u64>>);

impl Times {
    /// Takes a duration down.
    pub fn record(&mut self, measure: Measure, from: Micros, to: Micros) {
        let histogram = self.0.entry(measure.as_str()).or_insert_with(meters::histogram);
        histogram.saturating_record(to.saturating_sub(from));
    }

    /// All of them.
    pub fn latencies(&self) -> BTreeMap<&'static str, Latency> {
        self.0.iter().map(|(name, histogram)| (*name, Latency::of(histogram))).collect()
    }
}

/// One duration's distribution, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// How many were measured.
    pub count: u64,
    /// Half were shorter.
    pub p50_ms: f64,
    /// 9 of 10 were.
    pub p90_ms: f64,
    /// 99 of 100 were.
    pub p99_ms: f64,
    /// 999 of 1,000 were.
    pub p999_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Percentile and duration, as far up as so many can tell.
    pub curve: Vec<(f64, f64)>,
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        let points = ((histogram.len().max(1) as f64).log10() * f64::from(POINTS_A_NINE)).floor() as u32;
        let quantile = |point| 1.0 - 10f64.powf(-f64::from(point) / f64::from(POINTS_A_NINE));
        Self {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
            curve: (0..=points).map(quantile).map(|q| (q * 100.0, at(q))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_as_far_as_its_count_can_tell() {
        let mut times = Times::default();
        (1..=1000).for_each(|ms| times.record(Measure::Join, 5, 5 + ms * 1000));
        let join = &times.latencies()["join"];
        let near = |a: f64, b: f64| (a - b).abs() < b / 500.0;
        assert!(
            near(join.p50_ms, 500.0) && near(join.p99_ms, 990.0) && near(join.max_ms, 1000.0),
            "{join:?}"
        );
        assert_eq!(join.curve.len(), 3 * POINTS_A_NINE as usize + 1);
        assert!(near(join.curve[0].1, 1.0) && join.curve.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!(near(join.curve[POINTS_A_NINE as usize].0, 90.0));
    }

    #[test]
    fn clocks_that_go_back_and_one_value_alone_are_no_trouble() {
        let mut times = Times::default();
        times.record(Measure::Wait, 9, 5);
        let wait = &times.latencies()["wait"];
        assert_eq!((wait.count, wait.max_ms, wait.curve.len()), (1, 0.0, 1));
    }
}
