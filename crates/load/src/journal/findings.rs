//! What the proof has to say of each promise.

use crate::checker::{Promise, Verdict, Violation};
use serde::Serialize;

/// How many violations of a rule are told in full.
const EXAMPLES_MAX: usize = 5;

/// What is proved on a journal; the numbers are those of the list in docs/check.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Nothing was changed, left out or put in.
    Chain,
    /// Who came first is served first.
    Order,
    /// One place a visitor, ended once and for all.
    Places,
    /// Admissions keep to rate, `max_active`, free seats and phase.
    Admission,
    /// Nobody's turn ended early.
    Turns,
    /// A seat is sold once, and to a live turn.
    Seats,
    /// PostgreSQL's bookings are the journal's.
    Bookings,
}

impl Rule {
    /// All, in order.
    pub const ALL: [Self; 7] =
        [Self::Chain, Self::Order, Self::Places, Self::Admission, Self::Turns, Self::Seats, Self::Bookings];
}

impl Promise for Rule {
    fn number(self) -> usize {
        self as usize + 1
    }

    fn title(self) -> &'static str {
        match self {
            Self::Chain => "nothing was changed, left out or put in",
            Self::Order => "first come, first served",
            Self::Places => "one place a visitor, ended once and for all",
            Self::Admission => "admissions keep to rate, places and phase",
            Self::Turns => "no turn ended before its time",
            Self::Seats => "a seat is sold once, and to a live turn",
            Self::Bookings => "PostgreSQL's bookings are the journal's",
        }
    }
}

/// Collects the verdicts.
pub(super) struct Findings {
    verdicts: Vec<Verdict<Rule>>,
    /// The entry that is looked at, in words.
    pub at: String,
}

impl Findings {
    pub fn new() -> Self {
        Self { verdicts: Rule::ALL.map(Verdict::new).into(), at: String::new() }
    }

    /// So much more was looked at.
    pub fn over(&mut self, rule: Rule, count: u64) {
        self.verdicts[rule as usize].checked += count;
    }

    /// Something could not be judged. Said once.
    pub fn lack(&mut self, rule: Rule, why: &str) {
        let lacking = &mut self.verdicts[rule as usize].lacking;
        if !lacking.iter().any(|known| known == why) {
            lacking.push(why.to_owned());
        }
    }

    /// A promise was broken: in a batch as a whole, or in the entry that is looked at.
    pub fn add(&mut self, rule: Rule, batch: Option<u64>, text: impl FnOnce() -> String) {
        let verdict = &mut self.verdicts[rule as usize];
        verdict.violations += 1;
        if verdict.examples.len() < EXAMPLES_MAX {
            let at = batch.map_or_else(|| self.at.clone(), |batch| format!("batch {batch}"));
            let lines = if at.is_empty() { Vec::new() } else { vec![at] };
            verdict.examples.push(Violation { text: text(), lines });
        }
    }

    /// The end of it.
    pub fn finish(mut self) -> Vec<Verdict<Rule>> {
        self.verdicts.iter_mut().for_each(Verdict::judge);
        self.verdicts
    }
}
