//! What the checker has to say: for each invariant how much was looked at, what was lacking, and what was broken.

use super::log::{Log, Spot};
use serde::Serialize;
use std::fmt;

/// How many violations of an invariant are told in full.
const EXAMPLES_MAX: usize = 5;

/// What is proved; the numbers are those of the invariants' list in docs/check.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// What single messages may say.
    Contract,
    /// Who came first is served first.
    Order,
    /// One place a visitor, one visitor a place, ended once and for all.
    Places,
    /// Admissions keep to the rate, to `max_active` and to the phase.
    Admission,
    /// A seat is sold once, a token books once.
    Seats,
    /// What was answered is what the shop has.
    Bookings,
    /// Ranks never rise, and were true.
    Ranks,
    /// No place is lost, none invented.
    Kept,
    /// Only a live grant's own token books.
    Tokens,
    /// Every story comes to its end.
    Drained,
}

impl Invariant {
    /// All, in order.
    pub const ALL: [Self; 10] = [
        Self::Contract,
        Self::Order,
        Self::Places,
        Self::Admission,
        Self::Seats,
        Self::Bookings,
        Self::Ranks,
        Self::Kept,
        Self::Tokens,
        Self::Drained,
    ];
}

/// Something that is proved, one of a list.
pub trait Promise: Copy {
    /// Its number in the list of docs/check.md.
    fn number(self) -> usize;
    /// What is promised, in a few words.
    fn title(self) -> &'static str;
}

impl Promise for Invariant {
    fn number(self) -> usize {
        Self::ALL.iter().position(|other| *other == self).unwrap_or(0)
    }

    fn title(self) -> &'static str {
        match self {
            Self::Contract => "messages are as the contract says",
            Self::Order => "first come, first served",
            Self::Places => "one place a visitor, ended once and for all",
            Self::Admission => "admissions keep to rate, max_active and phase",
            Self::Seats => "a seat is sold once, a token books once",
            Self::Bookings => "what was answered is what the shop has",
            Self::Ranks => "ranks never rise and were true",
            Self::Kept => "no place is lost, none invented",
            Self::Tokens => "only a live grant's own token books",
            Self::Drained => "every story comes to its end",
        }
    }
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// In words; visitors are named by their number in the run.
    pub text: String,
    /// The operations involved: `file:line`.
    pub lines: Vec<String>,
}

/// How an invariant fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It held in all that there was to see.
    Proved,
    /// Some of it could not be judged; nothing that could was broken.
    TooLittle,
    /// It was broken.
    Violated,
}

/// What is to be said of one promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict<P = Invariant> {
    /// Which.
    pub invariant: P,
    /// How it fared.
    pub status: Status,
    /// Operations, places, bookings, … that were looked at.
    pub checked: u64,
    /// Why some of it could not be judged.
    pub lacking: Vec<String>,
    /// How often it was broken.
    pub violations: u64,
    /// The first few.
    pub examples: Vec<Violation>,
}

impl<P> Verdict<P> {
    /// Nothing was looked at yet.
    pub(crate) fn new(invariant: P) -> Self {
        let (lacking, examples) = Default::default();
        Self { invariant, status: Status::Proved, checked: 0, lacking, violations: 0, examples }
    }

    /// Says how it fared in all that was looked at.
    pub(crate) fn judge(&mut self) {
        self.status = match (self.violations, self.lacking.is_empty()) {
            (1.., _) => Status::Violated,
            (0, false) => Status::TooLittle,
            (0, true) => Status::Proved,
        };
    }
}

/// Collects the verdicts.
pub(super) struct Findings<'a> {
    log: &'a Log,
    verdicts: Vec<Verdict>,
}

impl<'a> Findings<'a> {
    pub fn new(log: &'a Log) -> Self {
        Self { log, verdicts: Invariant::ALL.map(Verdict::new).into() }
    }

    /// So much more was looked at.
    pub fn over(&mut self, invariant: Invariant, count: usize) {
        self.verdicts[invariant.number()].checked += count as u64;
    }

    /// Something could not be judged.
    pub fn lack(&mut self, invariant: Invariant, why: impl Into<String>) {
        self.verdicts[invariant.number()].lacking.push(why.into());
    }

    /// A promise was broken by the operations at these spots.
    pub fn add(
        &mut self,
        invariant: Invariant,
        spots: impl IntoIterator<Item = Spot>,
        text: impl FnOnce() -> String,
    ) {
        let verdict = &mut self.verdicts[invariant.number()];
        verdict.violations += 1;
        if verdict.examples.len() < EXAMPLES_MAX {
            let lines = spots.into_iter().map(|spot| self.log.place_of(spot)).collect();
            verdict.examples.push(Violation { text: text(), lines });
        }
    }

    /// The end of it: nothing looked at is nothing proved.
    pub fn finish(mut self) -> Vec<Verdict> {
        for verdict in &mut self.verdicts {
            if verdict.checked == 0 && verdict.lacking.is_empty() {
                verdict.lacking.push("nothing of the kind happened".into());
            }
            verdict.judge();
        }
        self.verdicts
    }
}

impl<P: Promise> fmt::Display for Verdict<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self.status {
            Status::Proved => "proved".into(),
            Status::TooLittle => "too little".into(),
            Status::Violated => format!("VIOLATED {}×", self.violations),
        };
        let number = self.invariant.number();
        write!(f, "{number} {:<45} {status} over {}", self.invariant.title(), self.checked)?;
        for why in &self.lacking {
            write!(f, "\n    not judged: {why}")?;
        }
        for example in &self.examples {
            write!(f, "\n    {}", example.text)?;
            if !example.lines.is_empty() {
                write!(f, " ({})", example.lines.join(", "))?;
            }
        }
        let untold = self.violations - self.examples.len() as u64;
        if untold > 0 {
            write!(f, "\n    … and {untold} more")?;
        }
        Ok(())
    }
}
