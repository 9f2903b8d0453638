//! Thresholds: `join_p99<250ms`. (`join_p99=250ms` says the same.)

use super::{
    behaviour::parse_duration,
    meters::{Measure, Meters},
};
use std::{str::FromStr, time::Duration};

/// A percentile that must not be exceeded.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// As it was written, without the limit.
    pub name: String,
    measure: Measure,
    percent: f64,
    /// What it may be at most.
    pub limit: Duration,
}

/// How a threshold came out.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The threshold.
    pub threshold: Threshold,
    /// What was measured; none if nothing was, which is no pass.
    pub value: Option<Duration>,
}

impl Verdict {
    /// Whether the threshold held.
    pub fn held(&self) -> bool {
        self.value.is_some_and(|value| value <= self.threshold.limit)
    }
}

impl Threshold {
    /// Compares it with what was measured.
    pub(super) fn judge(&self, meters: &Meters) -> Verdict {
        Verdict { threshold: self.clone(), value: meters.percentile(self.measure, self.percent) }
    }
}

/// Reads a threshold; nothing for `violations==0`, which every run is held to whether it says so or not.
///
/// # Errors
/// It is none: what one looks like.
pub fn parse_threshold(text: &str) -> Result<Option<Threshold>, String> {
    if text.replace(' ', "") == "violations==0" { Ok(None) } else { text.parse().map(Some) }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, limit) = text.split_once(['<', '=']).ok_or("a threshold looks like join_p99<250ms")?;
        let limit = parse_duration(limit.trim_start_matches('=').trim())?;
        let name = name.trim();
        let (measure, percent) = name.rsplit_once('_').ok_or("a threshold's name looks like join_p99")?;
        let measure = Measure::parse(measure).ok_or_else(|| {
            let names = Measure::ALL.map(Measure::as_str).join(", ");
            format!("nothing called {measure:?} is measured; there are {names}")
        })?;
        let percent = parse_percent(percent)
            .ok_or_else(|| format!("{percent:?} is no percentile: write p50, p99, p999 or max"))?;
        Ok(Self { name: name.into(), measure, percent, limit })
    }
}

/// `p50`, `p99`, `p999` (99.9), `max`.
fn parse_percent(text: &str) -> Option<f64> {
    if text == "max" {
        return Some(100.0);
    }
    let digits = text.strip_prefix('p')?;
    // p100 and p1000 would be the tenth: whoever wants the worst says max.
    if !(1..=6).contains(&digits.len())
        || !digits.bytes().all(|b| b.is_ascii_digit())
        || digits.starts_with("100")
    {
        return None;
    }
    let (whole, rest) = digits.split_at(digits.len().min(2));
    format!("{whole}.{rest}0").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read() {
        let percent = |text: &str| text.parse::<Threshold>().unwrap().percent;
        assert_eq!(percent("join_p99=250ms"), 99.0);
        assert_eq!(percent("join_p999=250ms"), 99.9);
        assert_eq!(percent("join_answer_p5=1s"), 5.0);
        assert_eq!(percent("redeem_max=1s"), 100.0);
        assert_eq!(percent("join_p99<250ms"), 99.0);
        assert_eq!(percent("join_p99 <= 250ms"), 99.0);
        for bad in [
            "",
            "join_p99",
            "join=1s",
            "join_p99=1",
            "nap_p99=1s",
            "join_px=1s",
            "join_p=1s",
            "join_p100=1s",
            "join_p1000=1s",
        ] {
            assert!(bad.parse::<Threshold>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_run_may_violate_anything_so_saying_it_adds_nothing() {
        assert_eq!(parse_threshold("violations == 0"), Ok(None));
        assert!(parse_threshold("join_p99<1s").unwrap().is_some());
        assert!(parse_threshold("violations==1").is_err());
    }

    #[test]
    fn a_threshold_breaks_when_exceeded_or_when_nothing_was_measured() {
        let meters = Meters::default();
        let threshold: Threshold = "redeem_p50=10ms".parse().unwrap();
        assert!(!threshold.judge(&meters).held());
        meters.record(Measure::Redeem, Duration::from_millis(9));
        assert!(threshold.judge(&meters).held());
        (0..5).for_each(|_| meters.record(Measure::Redeem, Duration::from_millis(50)));
        assert!(!threshold.judge(&meters).held());
    }
}
