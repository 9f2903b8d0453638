//! The summary for people, as a table.

use super::{Summary, Verdicts};
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
};

/// `12,345,678`.
pub(crate) fn grouped(n: impl Into<i128>) -> String {
    let n = n.into();
    let digits = n.unsigned_abs().to_string();
    let mut text = String::from(if n < 0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `4.1 ms`, `12.3 s`, `4:05 min`, as precise as one reads it.
pub(crate) fn millis(ms: f64) -> String {
    match ms {
        _ if ms < 10.0 => format!("{ms:.1} ms"),
        _ if ms < 1000.0 => format!("{ms:.0} ms"),
        _ if ms < 10_000.0 => format!("{:.2} s", ms / 1000.0),
        _ if ms < 60_000.0 => format!("{:.1} s", ms / 1000.0),
        _ => {
            let seconds = (ms / 1000.0).round() as u64;
            format!("{}:{:02} min", seconds / 60, seconds % 60)
        }
    }
}

/// An outcome, reason or measure as words.
pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// `3 sold out, 1 seat taken`; `none` if there are none.
fn list<N: AsRef<str>>(counts: &BTreeMap<N, u64>) -> String {
    if counts.is_empty() {
        return "none".into();
    }
    let one = |(name, n): (&N, &u64)| format!("{} {}", grouped(*n), words(name.as_ref()));
    counts.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let count = |n: u64| grouped(n);
        writeln!(
            f,
            "run {}, scenario {}, sale {}, {} seats",
            self.run,
            self.scenario,
            self.sale,
            count(self.seats)
        )?;
        let parts = self.parts.len();
        let plural = if parts == 1 { "part" } else { "parts" };
        writeln!(f, "from {:.0}, {} in {parts} {plural}", self.started_at, millis(self.duration_s * 1000.0))?;
        writeln!(f)?;
        let rows = [
            ("visitors", count(self.visitors)),
            ("arrived", count(self.arrived)),
            ("joined", count(self.joined)),
            ("admitted", count(self.admitted)),
            ("bookings", count(self.bookings)),
            ("seats sold", grouped(self.seats_sold)),
            ("reconnects", count(self.reconnects)),
            ("redeems unknown", count(self.redeems_unknown)),
            ("breaches", count(self.breaches)),
            ("outcomes", list(&self.outcomes)),
            ("refused", list(&self.refused)),
            ("clicks", self.clicks.to_string()),
            ("lapsed", list(&self.lapsed)),
            ("closes", list(&self.cuts)),
            (
                "generator late",
                self.lag_ms.map_or_else(|| "unknown".into(), |ms| format!("{} at worst", millis(ms))),
            ),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<16} {value}")?;
        }
        writeln!(f)?;
        self.table_of_latencies(f)?;
        self.breach_examples.iter().try_for_each(|breach| writeln!(f, "BREACH {breach}"))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        self.verdicts.iter().try_for_each(|verdicts| write!(f, "{verdicts}"))
    }
}

impl Summary {
    fn table_of_latencies(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<10} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "count", "p50", "p90", "p99", "p99.9", "max"
        )?;
        for (name, l) in &self.latencies {
            write!(f, "{:<10} {:>9}", words(name), grouped(l.count))?;
            for ms in [l.p50_ms, l.p90_ms, l.p99_ms, l.p999_ms, l.max_ms] {
                write!(f, " {:>10}", millis(ms))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Display for Verdicts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for limit in &self.thresholds {
            let mark = if limit.held { "held  " } else { "BROKEN" };
            writeln!(f, "{mark} {} at most {}: {}", limit.name, limit.limit, limit.value)?;
        }
        for broken in &self.violations {
            writeln!(f, "VIOLATED {} {} times", broken.kind, broken.count)?;
            broken.examples.iter().try_for_each(|example| writeln!(f, "  {example}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_people_write_them() {
        assert_eq!([0_i64, 999, 1000, -1_234_567].map(grouped), ["0", "999", "1,000", "-1,234,567"]);
        let read = [0.04, 4.14, 12.3, 999.0, 1234.0, 12_345.0, 65_000.0].map(millis);
        assert_eq!(read, ["0.0 ms", "4.1 ms", "12 ms", "999 ms", "1.23 s", "12.3 s", "1:05 min"]);
        assert_eq!(list(&BTreeMap::from([("seat_taken", 1200)])), "1,200 seat taken");
    }
}
