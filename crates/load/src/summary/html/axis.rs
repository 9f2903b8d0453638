//! Axes: a scale, and ticks at round numbers.

use crate::summary::text::{grouped, millis};

/// Steps in seconds at which people read a clock.
const CLOCK_STEPS: [f64; 18] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0,
    14_400.0,
];
const DAY_S: f64 = 86_400.0;

/// One axis of a chart.
pub(crate) struct Axis {
    from: f64,
    to: f64,
    is_log: bool,
    /// Value and label.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// Seconds from 0 to exactly `to`.
    pub fn time(to: f64, ticks_max: f64) -> Self {
        let to = to.max(0.1);
        let step = CLOCK_STEPS.into_iter().find(|step| to / step <= ticks_max);
        let step = step.unwrap_or_else(|| DAY_S * (to / DAY_S / ticks_max).ceil());
        Self { from: 0.0, to, is_log: false, ticks: ticks(to, step, clock) }
    }

    /// A number from 0 to a round one that is at least `to`; no tick is closer to the next than `least`.
    pub fn number(to: f64, least: f64, ticks_max: f64) -> Self {
        let to = to.max(least);
        let raw = to / ticks_max;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|step| *step >= raw * 0.999);
        let step = step.unwrap_or(power * 10.0).max(least);
        let to = (to / step - 1e-9).ceil() * step;
        Self { from: 0.0, to, is_log: false, ticks: ticks(to, step, number) }
    }

    /// Milliseconds by powers of ten around what is from `low` to `high`.
    pub fn millis(low: f64, high: f64) -> Self {
        let from = low.max(0.01).log10().floor() as i32;
        let to = (high.max(0.01).log10().ceil() as i32).max(from + 1);
        // One or two powers alone say little: 2 and 5 between them.
        let between: &[f64] = if to - from <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let all = (from..=to).flat_map(|power| between.iter().map(move |m| m * 10f64.powi(power)));
        let top = 10f64.powi(to);
        let ticks = all.filter(|ms| *ms <= top * 1.001).map(|ms| (ms, power(ms))).collect();
        Self { from: 10f64.powi(from), to: top, is_log: true, ticks }
    }

    /// Percentiles, each nine as wide as the last: from 0 to the nines that `count` can tell.
    pub fn percentiles(count: u64, ticks_max: f64) -> Self {
        let nines = (count.max(10) as f64).log10();
        let named = [
            (0.0, "0"),
            (50.0, "50"),
            (90.0, "90"),
            (99.0, "99"),
            (99.9, "99.9"),
            (99.99, "99.99"),
            (99.999, "99.999"),
        ];
        // Where the nines are many, 50 % comes too close to 0.
        let is_close = nines_of(50.0) / nines < 0.55 / ticks_max;
        let ticks = named.into_iter().skip(usize::from(is_close));
        let ticks = ticks.map(|(p, label)| (nines_of(p), format!("{label} %")));
        let ticks = ticks.filter(|(at, _)| *at <= nines + 1e-9).collect();
        Self { from: 0.0, to: nines, is_log: false, ticks }
    }

    /// Where a value lies, from 0 to 1; what is outside lies on the edge.
    pub fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.from) / self.from).log10() / (self.to / self.from).log10()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        place.clamp(0.0, 1.0)
    }
}

/// How far right a percentile lies: 90 is 1, 99 is 2.
pub(crate) fn nines_of(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-12).log10()
}

fn ticks(to: f64, step: f64, label: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    let last = (to / step + 1e-9).floor() as u32;
    (0..=last).map(|n| f64::from(n) * step).map(|value| (value, label(value))).collect()
}

/// `30 s`, `1:30 min`, `2 h`.
pub(crate) fn clock(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0 if seconds < 0.05 => "0".into(),
        _ if seconds < 10.0 && (seconds - seconds.round()).abs() > 0.01 => format!("{seconds:.1} s"),
        0..60 => format!("{whole} s"),
        60..3600 if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        60..3600 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ if whole.is_multiple_of(3600) => format!("{} h", whole / 3600),
        _ => format!("{}:{:02} h", whole / 3600, whole % 3600 / 60),
    }
}

fn number(value: f64) -> String {
    match value {
        _ if value >= 1e9 => format!("{:.1e}", value),
        _ if value >= 1e6 => format!("{} M", (value / 1e4).round() / 100.0),
        _ if (value - value.round()).abs() < 1e-6 => grouped(value.round() as i64),
        _ => format!("{}", (value * 1000.0).round() / 1000.0),
    }
}

fn power(ms: f64) -> String {
    match ms {
        _ if ms < 0.95 => format!("{} ms", (ms * 100.0).round() / 100.0),
        _ if ms < 950.0 => format!("{ms:.0} ms"),
        _ if ms < 9.5e6 => format!("{} s", grouped((ms / 1000.0).round() as i64)),
        _ => millis(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> String {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(&Axis::time(47.0, 6.0)), "0|10 s|20 s|30 s|40 s");
        assert_eq!(labels(&Axis::time(200.0, 8.0)), "0|30 s|1 min|1:30 min|2 min|2:30 min|3 min");
        assert_eq!(labels(&Axis::time(1.0, 6.0)), "0|0.2 s|0.4 s|0.6 s|0.8 s|1 s");
        assert_eq!(labels(&Axis::number(1222.0, 1.0, 5.0)), "0|500|1,000|1,500");
        assert_eq!(labels(&Axis::number(0.0, 1.0, 5.0)), "0|1");
        assert_eq!(labels(&Axis::number(3e6, 1.0, 3.0)), "0|1 M|2 M|3 M");
        assert_eq!(labels(&Axis::millis(0.8, 40.0)), "0.1 ms|1 ms|10 ms|100 ms");
        assert_eq!(labels(&Axis::millis(2.0, 40.0)), "1 ms|2 ms|5 ms|10 ms|20 ms|50 ms|100 ms");
        assert_eq!(labels(&Axis::millis(1500.0, 40_000.0)), "1 s|2 s|5 s|10 s|20 s|50 s|100 s");
        assert_eq!(labels(&Axis::percentiles(2000, 7.0)), "0 %|50 %|90 %|99 %|99.9 %");
        assert_eq!(labels(&Axis::percentiles(2000, 4.0)), "50 %|90 %|99 %|99.9 %");
    }

    #[test]
    fn values_lie_between_the_ends() {
        let axis = Axis::number(90.0, 1.0, 5.0);
        assert_eq!((axis.place(0.0), axis.place(50.0), axis.place(1e9)), (0.0, 0.5, 1.0));
        let axis = Axis::millis(1.0, 100.0);
        assert!((axis.place(10.0) - 0.5).abs() < 1e-9 && axis.place(0.0) == 0.0);
        assert!((Axis::percentiles(100, 7.0).place(nines_of(90.0)) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn no_length_of_a_run_gives_many_ticks() {
        for to in [0.0, 0.3, 9e4, 1e7, 1.8e13] {
            let ticks = Axis::time(to, 6.0).ticks.len();
            assert!((1..=7).contains(&ticks), "{to}: {ticks}");
            assert!(Axis::number(to, 1.0, 5.0).ticks.len() <= 7);
        }
    }
}
