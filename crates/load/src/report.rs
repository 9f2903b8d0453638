//! What came out of a run: for people as a table, for programs as JSON.

use super::{
    attack::{self, Answers},
    clicks::Clicks,
    facts::VisitorFacts,
    meters::{Measure, Meters, lock},
    outcome::Outcome,
    threshold::Verdict,
    verify::Findings,
};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

/// A generator that is later than this, in milliseconds at the 99th percentile, measures itself.
const LAG_WARN_MS: f64 = 20.0;

/// The result of a run. Durations end in their unit.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The sale.
    pub sale: String,
    /// The seed that makes the same crowd again.
    pub seed: u64,
    /// From the first arrival to the last visitor's end, in seconds.
    pub duration_s: f64,
    /// CPU that the generator used, in seconds: on a machine that it shares with the server, not the server's.
    pub generator_cpu_s: f64,
    /// Why the history is not whole.
    pub history_fault: Option<String>,
    /// Ended by Ctrl-C.
    pub interrupted: bool,
    /// Visitors who were to arrive.
    pub visitors: u64,
    /// Visitors to whom a place was acknowledged.
    pub joined: u64,
    /// How their stories ended.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Whose did not.
    pub unfinished: Unfinished,
    /// Whether unfinished stories are a failure.
    pub require_drain: bool,
    /// Durations by name.
    pub durations: BTreeMap<&'static str, Percentiles>,
    /// Connections that were opened again.
    pub reconnects: u64,
    /// Messages received.
    pub messages: u64,
    /// Messages of unknown types, which were ignored.
    pub unknown_messages: u64,
    /// Refusals by reason.
    pub refusals: BTreeMap<String, u64>,
    /// Clicks on seats.
    pub clicks: Clicks,
    /// Closes by code, those excepted that a visitor began.
    pub closes: BTreeMap<String, u64>,
    /// `error` messages by code.
    pub errors: BTreeMap<String, u64>,
    /// Failed attempts to connect, by reason.
    pub dial_failures: BTreeMap<String, u64>,
    /// What attackers were answered, by kind.
    pub attacks: Answers,
    /// Places whose order was checked.
    pub places_checked: u64,
    /// Visitors whose place token could not be read, so that their order could not be checked.
    pub places_unreadable: u64,
    /// Bookings answered.
    pub bookings: u64,
    /// Bookings in the shop's list; null if it was not asked.
    pub bookings_compared: Option<usize>,
    /// Why the shop's list could not be had.
    pub export_fault: Option<String>,
    /// The generator was too slow: latencies are partly its own.
    pub generator_was_bottleneck: bool,
    /// Thresholds.
    pub thresholds: Vec<ThresholdResult>,
    /// Broken promises.
    pub violations: Vec<Violation>,
}

/// Visitors without an end.
#[derive(Debug, Default, Serialize)]
pub struct Unfinished {
    /// Never acknowledged.
    pub never_joined: u64,
    /// Acknowledged, and still waiting.
    pub waiting: u64,
    /// Granted, and not through with it.
    pub granted: u64,
}

/// Percentiles of one duration, in milliseconds.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

/// How a threshold came out.
#[derive(Debug, Serialize)]
pub struct ThresholdResult {
    pub(super) name: String,
    pub(super) limit_ms: f64,
    pub(super) value_ms: Option<f64>,
    pub(super) held: bool,
}

/// One kind of broken promise.
#[derive(Debug, Serialize)]
pub struct Violation {
    pub(super) kind: &'static str,
    pub(super) count: u64,
    pub(super) examples: Vec<String>,
}

impl Report {
    /// What the meters and the visitors say.
    pub(super) fn new(
        meters: &Meters,
        facts: &[VisitorFacts],
        findings: Findings,
        verdicts: Vec<Verdict>,
    ) -> Self {
        let durations =
            Measure::ALL.into_iter().filter_map(|m| Some((m.as_str(), Percentiles::of(meters, m)?)));
        let outcomes =
            Outcome::ALL.into_iter().map(|o| (o.as_str(), meters.outcome(o))).filter(|(_, n)| *n > 0);
        let lags = [Measure::StartLag, Measure::LoopLag].map(|m| meters.percentile(m, 99.0));
        let violation = |(kind, finding): (_, &super::verify::Finding)| Violation {
            kind,
            count: finding.count,
            examples: finding.examples.clone(),
        };
        Self {
            visitors: facts.len() as u64,
            joined: meters.joined.load(Relaxed),
            outcomes: outcomes.collect(),
            unfinished: Unfinished::of(facts),
            durations: durations.collect(),
            reconnects: meters.reconnects.load(Relaxed),
            messages: meters.messages.load(Relaxed),
            unknown_messages: meters.unknown_messages.load(Relaxed),
            refusals: meters.refusals.counts(),
            clicks: *lock(&meters.clicks),
            closes: meters.closes.counts(),
            errors: meters.errors.counts(),
            dial_failures: meters.dial_failures.counts(),
            places_checked: facts.iter().map(|f| f.places.len() as u64).sum(),
            places_unreadable: facts.iter().filter(|f| f.unreadable).count() as u64,
            bookings: facts.iter().map(|f| f.bookings.len() as u64).sum(),
            generator_was_bottleneck: lags.into_iter().flatten().any(|lag| ms(lag) > LAG_WARN_MS),
            thresholds: verdicts.iter().map(ThresholdResult::from).collect(),
            violations: findings.iter().map(violation).collect(),
            ..Self::default()
        }
    }

    /// Takes in what attackers were answered; a forgery that was taken is a broken promise.
    pub(super) fn were_attacked(&mut self, answers: Answers) {
        let count = attack::taken(&answers);
        if count > 0 {
            let examples = vec!["a place token that was changed by a letter drew a `joined`".into()];
            self.violations.push(Violation { kind: "forgery", count, examples });
        }
        self.attacks = answers;
    }

    /// How late the generator's own event loop was at worst, in microseconds.
    pub fn lag_us(&self) -> u64 {
        self.durations.get(Measure::LoopLag.as_str()).map_or(0, |lag| (lag.max_ms * 1e3) as u64)
    }

    /// Whether a promise or a threshold was broken.
    pub fn broken(&self) -> bool {
        let undrained = self.require_drain && self.unfinished.total() > 0;
        undrained || !self.violations.is_empty() || self.thresholds.iter().any(|t| !t.held)
    }

    /// The process's exit status: 99 if a promise or a threshold was broken, 74 if the history could not be written, 69 if nobody was let in or the
    /// shop's list could not be had, so that nothing can be said, else 0.
    pub fn exit_status(&self) -> u8 {
        match self {
            // First, since a history that is not whole must never pass for one; what else broke is in the report.
            _ if self.history_fault.is_some() => 74,
            _ if self.broken() => 99,
            _ if self.export_fault.is_some() => 69,
            _ if self.joined == 0 && self.visitors > 0 && !self.outcomes.contains_key("closed") => 69,
            _ => 0,
        }
    }
}

impl Unfinished {
    fn of(facts: &[VisitorFacts]) -> Self {
        let mut all = Self::default();
        for visitor in facts.iter().filter(|visitor| visitor.outcome.is_none()) {
            let granted = visitor.places.last().is_some_and(|p| p.granted.is_some() || p.granted_unseen);
            match (visitor.acknowledged, granted) {
                (false, _) => all.never_joined += 1,
                (true, false) => all.waiting += 1,
                (true, true) => all.granted += 1,
            }
        }
        all
    }

    /// How many in all.
    pub fn total(&self) -> u64 {
        self.never_joined + self.waiting + self.granted
    }
}

impl Percentiles {
    fn of(meters: &Meters, measure: Measure) -> Option<Self> {
        let at = |percent| meters.percentile(measure, percent).map(ms);
        Some(Self {
            count: meters.count(measure),
            p50_ms: at(50.0)?,
            p90_ms: at(90.0)?,
            p99_ms: at(99.0)?,
            p999_ms: at(99.9)?,
            max_ms: at(100.0)?,
        })
    }
}

impl From<&Verdict> for ThresholdResult {
    fn from(verdict: &Verdict) -> Self {
        Self {
            name: verdict.threshold.name.clone(),
            limit_ms: ms(verdict.threshold.limit),
            value_ms: verdict.value.map(ms),
            held: verdict.held(),
        }
    }
}

/// Milliseconds, to the microsecond.
fn ms(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} visitors at sale {} in {:.1} s (seed {})",
            self.visitors, self.sale, self.duration_s, self.seed
        )?;
        let counts = |counts: &BTreeMap<&str, u64>| {
            counts.iter().map(|(k, n)| format!("{k} {n}")).collect::<Vec<_>>().join(", ")
        };
        let own = |map: &BTreeMap<String, u64>| counts(&map.iter().map(|(k, n)| (k.as_str(), *n)).collect());
        let share = 100.0 * self.generator_cpu_s / self.duration_s.max(0.001);
        writeln!(f, "  generator    {:.1} s of CPU, {share:.0} % of a core", self.generator_cpu_s)?;
        writeln!(f, "  ended        {}", counts(&self.outcomes))?;
        let Unfinished { never_joined, waiting, granted } = self.unfinished;
        if self.unfinished.total() > 0 {
            writeln!(f, "  unfinished   never joined {never_joined}, waiting {waiting}, granted {granted}")?;
        }
        writeln!(f, "  messages     {} received, {} reconnects", self.messages, self.reconnects)?;
        for (name, map) in [
            ("refused", &self.refusals),
            ("closed with", &self.closes),
            ("errors", &self.errors),
            ("no socket", &self.dial_failures),
        ] {
            if !map.is_empty() {
                writeln!(f, "  {name:<12} {}", own(map))?;
            }
        }
        for (kind, answers) in &self.attacks {
            writeln!(f, "  {kind:<12} {}", own(answers))?;
        }
        if self.clicks.answered > 0 {
            writeln!(f, "  clicks       {}", self.clicks)?;
        }
        self.write_durations(f)?;
        self.write_checks(f)
    }
}

impl Report {
    fn write_durations(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = ["count", "p50", "p90", "p99", "p99.9", "max"];
        write!(f, "\n{:<14}", "milliseconds")?;
        head.iter().try_for_each(|h| write!(f, "{h:>11}"))?;
        writeln!(f)?;
        for measure in Measure::ALL {
            if let Some(p) = self.durations.get(measure.as_str()) {
                write!(f, "{:<14}{:>11}", measure.as_str(), p.count)?;
                let values = [p.p50_ms, p.p90_ms, p.p99_ms, p.p999_ms, p.max_ms];
                values.iter().try_for_each(|v| write!(f, "{v:>11.1}"))?;
                writeln!(f)?;
            }
        }
        if self.generator_was_bottleneck {
            writeln!(
                f,
                "the generator itself was late (start_lag, loop_lag): these times are partly its own"
            )?;
        }
        writeln!(f)
    }

    fn write_checks(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let compared = match (&self.bookings_compared, &self.export_fault) {
            (Some(rows), _) => format!("compared with the shop's list of {rows}"),
            (None, Some(fault)) => format!("NOT compared: {fault}"),
            (None, None) => "not compared with the shop's list (--admin)".into(),
        };
        writeln!(f, "checked {} places, {} bookings, {compared}", self.places_checked, self.bookings)?;
        if self.places_unreadable > 0 {
            writeln!(
                f,
                "{} place tokens could not be read: their order is unchecked",
                self.places_unreadable
            )?;
        }
        for t in &self.thresholds {
            let value = t.value_ms.map_or("nothing measured".into(), |v| format!("{v:.1} ms"));
            let held = if t.held { "held" } else { "BROKEN" };
            writeln!(f, "threshold {} <= {:.1} ms: {value}, {held}", t.name, t.limit_ms)?;
        }
        if let Some(fault) = &self.history_fault {
            writeln!(f, "the history is NOT whole: {fault}")?;
        }
        for v in &self.violations {
            writeln!(f, "VIOLATED {} ({} times)", v.kind, v.count)?;
            v.examples.iter().try_for_each(|example| writeln!(f, "  {example}"))?;
        }
        if self.require_drain && self.unfinished.total() > 0 {
            writeln!(f, "VIOLATED drain: {} visitors have no outcome", self.unfinished.total())?;
        }
        writeln!(f, "{}", if self.broken() { "broken" } else { "ok" })
    }
}
