//! What many runs came to.

use crate::{kinds::Kind, run::Outcome, schedule::Schedule};
use std::{collections::BTreeMap, fmt::Write, time::Duration};

#[derive(Default)]
pub struct Report {
    runs: usize,
    places: usize,
    bookings: usize,
    by_kind: BTreeMap<Kind, Tally>,
    failed: Vec<String>,
}

#[derive(Default)]
struct Tally {
    runs: usize,
    violations: usize,
    longest: Duration,
}

impl Report {
    pub fn add(&mut self, outcome: &Outcome, schedule: &Schedule) {
        self.runs += 1;
        self.places += outcome.proof.places;
        self.bookings += outcome.proof.bookings;
        let broken = outcome.broken();
        for kind in &outcome.kinds {
            let tally = self.by_kind.entry(*kind).or_default();
            tally.runs += 1;
            tally.violations += broken.len();
            tally.longest = tally.longest.max(outcome.back_after);
        }
        if !broken.is_empty() {
            let (names, again) = (schedule.names(), schedule.again());
            self.failed.push(format!("{names}: again by {again}\n  {}", broken.join("\n  ")));
        }
    }

    pub fn has_failed(&self) -> bool {
        !self.failed.is_empty()
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} runs, {} places and {} bookings told, {} runs with a broken promise\n\n\
             | fault | runs | broken promises | longest until newcomers were served |\n|---|---|---|---|\n",
            self.runs,
            self.places,
            self.bookings,
            self.failed.len()
        );
        for (kind, tally) in &self.by_kind {
            let Tally { runs, violations, longest } = tally;
            let longest = longest.as_secs_f64();
            let _ = writeln!(text, "| `{}` | {runs} | {violations} | {longest:.1} s |", kind.name());
        }
        for failed in &self.failed {
            let _ = write!(text, "\n{failed}\n");
        }
        text
    }
}
