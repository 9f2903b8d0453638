//! What came out of a run, from the histories of its parts: for people as a table and as a page with pictures, for
//! programs as JSON. One pass over the entries; what is kept is less than a kilobyte a visitor, histograms, a fixed
//! number of buckets of time, and the ranks of a small sample. What it says and how: docs/report.md.

pub(crate) mod html;
mod latency;
mod ranks;
mod series;
mod story;
pub(crate) mod text;

pub use html::html;
pub use latency::Latency;
pub use ranks::Track;
pub use series::Series;

use super::{
    clicks::Clicks,
    facts::Micros,
    history::{self, Entry, HistoryError, Part},
    report::Report,
};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};
use story::{Story, Sums};
use wire::domain::sale::SaleSettings;

/// A generator that was later than this at worst, in milliseconds, measures itself in its longest latencies.
const LATE_MS: f64 = 100.0;

/// The result of a run, over all its parts. Durations end in their unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The run's name, the same in all its parts.
    pub run: String,
    /// The scenario's name.
    pub scenario: String,
    /// The sale.
    pub sale: String,
    /// Seats in the plan.
    pub seats: u64,
    /// When the crowd was let loose.
    pub started_at: Timestamp,
    /// To the end of the last part; for one that died, to its last entry.
    pub duration_s: f64,
    /// Visitors who were to arrive.
    pub visitors: u64,
    /// Visitors who did.
    pub arrived: u64,
    /// Visitors to whom a place was acknowledged.
    pub joined: u64,
    /// Grants that their visitors heard of.
    pub admitted: u64,
    /// Bookings, those released later included.
    pub bookings: u64,
    /// Seats sold or held at the end, as visitors were told.
    pub seats_sold: i64,
    /// How the visitors' stories ended; each is counted once.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Refusals by reason.
    pub refused: BTreeMap<String, u64>,
    /// Clicks on seats.
    pub clicks: Clicks,
    /// Lapses of places and grants by reason.
    pub lapsed: BTreeMap<String, u64>,
    /// Ends of connections by close code; `none` where it broke, or the visitor ended it.
    pub cuts: BTreeMap<String, u64>,
    /// Connections that were opened again.
    pub reconnects: u64,
    /// Redeems whose answer never came: they may have booked or not.
    pub redeems_unknown: u64,
    /// Messages that break the contract on their face.
    pub breaches: u64,
    /// The first of them.
    pub breach_examples: Vec<String>,
    /// `join` from the intended arrival to the first `joined`; `wait` from a place to its grant; `redeem` and `refused`
    /// from the intended click to the answer; `reconnect` from a cut to `joined` again.
    pub latencies: BTreeMap<&'static str, Latency>,
    /// Counts over time.
    pub series: Series,
    /// The ranks of a few visitors.
    pub ranks: Vec<Track>,
    /// The sale's settings when the run began, where they are known.
    pub settings: Option<SaleSettings>,
    /// How late the generator was at worst; null if no part came to its end.
    pub lag_ms: Option<f64>,
    /// The parts that this was made of.
    pub parts: Vec<PartSummary>,
    /// What a reader must know before he believes the figures.
    pub notes: Vec<String>,
    /// What the run was held to; null if only its histories were read.
    pub verdicts: Option<Verdicts>,
}

/// One part of the run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartSummary {
    /// Which, of how many.
    pub part: (u32, u32),
    /// Its file's name.
    pub file: String,
    /// Its visitors.
    pub visitors: u64,
    /// Entries that were read.
    pub entries: u64,
    /// It has no end: it was killed, or its disk was full.
    pub died: bool,
    /// How late it was at worst.
    pub lag_ms: Option<f64>,
}

/// What the run was held to, and whether it held.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdicts {
    /// The thresholds.
    pub thresholds: Vec<Limit>,
    /// The promises that were broken.
    pub violations: Vec<Broken>,
}

/// A threshold, in words.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Limit {
    /// What was limited.
    pub name: String,
    /// To what.
    pub limit: String,
    /// What it was.
    pub value: String,
    /// Whether it held.
    pub held: bool,
}

/// A promise that was broken.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Broken {
    /// Which.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// The first few, in words.
    pub examples: Vec<String>,
}

impl Verdicts {
    /// Whether everything held.
    pub fn held(&self) -> bool {
        self.violations.is_empty() && self.thresholds.iter().all(|limit| limit.held)
    }
}

impl From<&Report> for Verdicts {
    fn from(report: &Report) -> Self {
        let limits = report.thresholds.iter().map(|threshold| Limit {
            name: threshold.name.clone(),
            limit: text::millis(threshold.limit_ms),
            value: threshold.value_ms.map_or_else(|| "not measured".into(), text::millis),
            held: threshold.held,
        });
        let broken = report.violations.iter().map(|violation| Broken {
            kind: violation.kind.into(),
            count: violation.count,
            examples: violation.examples.clone(),
        });
        Self { thresholds: limits.collect(), violations: broken.collect() }
    }
}

/// Sums up the histories of a run's parts; `verdicts` are left open.
///
/// # Errors
/// A history cannot be read, is garbled, or does not belong to the others.
pub fn summarise(paths: &[PathBuf]) -> Result<Summary, HistoryError> {
    let part = |path: &PathBuf| Ok(Part { path: path.clone(), header: history::header(path)?, footer: None });
    let mut parts = paths.iter().map(part).collect::<Result<Vec<_>, _>>()?;
    history::belong_together(&parts)?;
    parts.sort_by_key(|part| part.header.part);
    let headers = || parts.iter().map(|part| &part.header);
    let Some(origin) = headers().map(|header| header.started_us).min() else {
        return Err(HistoryError::Mixed("no history was given".into()));
    };
    let every = headers().map(|header| header.ranks_of_every).max().unwrap_or(1);
    let mut crowd = Crowd { stories: HashMap::new(), sums: Sums::new(origin, every), last: origin };
    let mut entries = Vec::new();
    for part in &mut parts {
        let mut read = 0;
        *part = history::read(&part.path, |_, entry| {
            read += 1;
            crowd.see(entry);
        })?;
        entries.push(read);
    }
    Ok(crowd.summary(origin, &parts, &entries))
}

/// All visitors of the run.
struct Crowd {
    stories: HashMap<u32, Story>,
    sums: Sums,
    last: Micros,
}

impl Crowd {
    fn see(&mut self, entry: Entry) {
        self.last = self.last.max(entry.0);
        self.stories.entry(entry.1).or_default().see(entry, &mut self.sums);
    }

    fn outcomes(&self, visitors: u64) -> BTreeMap<&'static str, u64> {
        let mut outcomes = BTreeMap::new();
        self.stories.values().for_each(|story| *outcomes.entry(story.outcome()).or_default() += 1);
        let never = visitors.saturating_sub(self.stories.len() as u64);
        if never > 0 {
            outcomes.insert("never_arrived", never);
        }
        outcomes
    }

    fn summary(self, origin: Micros, parts: &[Part], entries: &[u64]) -> Summary {
        let end =
            parts.iter().filter_map(|part| Some(part.footer.as_ref()?.ended_us)).fold(self.last, Micros::max);
        let visitors = parts.iter().map(|part| part.header.visitors).sum();
        let outcomes = self.outcomes(visitors);
        let parts_read: Vec<_> =
            parts.iter().zip(entries).map(|(part, n)| PartSummary::of(part, *n)).collect();
        let first = &parts[0].header;
        let sums = self.sums;
        let unanswered: u64 = self.stories.values().map(Story::unanswered).sum();
        let mut summary = Summary {
            run: first.run.clone(),
            scenario: first.scenario.clone(),
            sale: first.sale.clone(),
            seats: first.seats,
            started_at: first.started_at,
            duration_s: (end - origin) as f64 / 1e6,
            visitors,
            arrived: sums.arrived,
            joined: sums.joined,
            admitted: sums.admitted,
            bookings: sums.bookings,
            seats_sold: self.stories.values().map(Story::seats).sum(),
            outcomes,
            refused: sums.refused.counts(),
            clicks: sums.clicks,
            lapsed: sums.lapsed.counts(),
            cuts: sums.cuts.counts(),
            reconnects: sums.reconnects,
            redeems_unknown: sums.redeems_unknown + unanswered,
            breaches: sums.breaches,
            breach_examples: sums.breach_examples,
            latencies: sums.times.latencies(),
            series: sums.counts.series(end),
            ranks: sums.ranks.tracks(),
            settings: parts.iter().find_map(|part| part.header.settings.clone()),
            lag_ms: parts_read.iter().filter_map(|part| part.lag_ms).max_by(f64::total_cmp),
            parts: parts_read,
            notes: Vec::new(),
            verdicts: None,
        };
        summary.notes = summary.notes(parts);
        summary
    }
}

impl PartSummary {
    fn of(part: &Part, entries: u64) -> Self {
        let file = part.path.file_name().unwrap_or(part.path.as_os_str());
        Self {
            part: part.header.part,
            file: file.to_string_lossy().into_owned(),
            visitors: part.header.visitors,
            entries,
            died: part.footer.is_none(),
            lag_ms: part.footer.as_ref().map(|footer| footer.lag_us as f64 / 1000.0),
        }
    }
}

impl Summary {
    fn notes(&self, parts: &[Part]) -> Vec<String> {
        let mut notes = Vec::new();
        let of = self.parts.iter().map(|part| part.part.1).max().unwrap_or(1);
        if (self.parts.len() as u64) < u64::from(of) {
            notes.push(format!(
                "Only {} of {of} parts were read: the rest of the crowd is missing.",
                self.parts.len()
            ));
        }
        for (part, read) in parts.iter().zip(&self.parts) {
            let (n, file) = (read.part.0, &read.file);
            match &part.footer {
                None => notes
                    .push(format!("Part {n} ({file}) died: its history breaks off, and figures end there.")),
                Some(footer) if footer.entries != read.entries => notes.push(format!(
                    "Part {n} ({file}) has {} entries where its end speaks of {}: lines were added or lost.",
                    read.entries, footer.entries
                )),
                Some(_) => {}
            }
        }
        if let Some(lag) = self.lag_ms.filter(|lag| *lag > LATE_MS) {
            notes.push(format!(
                "The generator was up to {lag:.0} ms late: the longest latencies are partly its own. Use more parts or \
                 machines.",
            ));
        }
        let never = self.arrived.saturating_sub(self.joined);
        if never > 0 {
            notes.push(format!("{never} who arrived never got a place: they are in no percentile of join."));
        }
        if self.redeems_unknown > 0 {
            notes.push(format!("{} redeems got no answer: they are in no percentile.", self.redeems_unknown));
        }
        notes
    }
}

#[cfg(test)]
mod tests;
