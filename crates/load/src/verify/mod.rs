//! Checks what all visitors of a run saw together.
//!
//! Everything here is judged from outside and errs on the side of silence: a finding is a broken promise of
//! the contract, never a matter of bad luck with clocks or schedulers. The proof from within, with nothing
//! left out, is `waitroom check`.

mod bookings;
mod order;

use super::{facts::VisitorFacts, http::ExportRow};
use std::collections::BTreeMap;
use wire::domain::plan::Plan;

/// How many examples of each kind are kept.
const EXAMPLES_MAX: usize = 5;

/// Broken promises, by kind.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<&'static str, Finding>);

/// One kind of broken promise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How often it was seen.
    pub count: u64,
    /// The first few, in words; visitors are named by their number in the run.
    pub examples: Vec<String>,
}

impl Findings {
    fn add(&mut self, kind: &'static str, text: impl FnOnce() -> String) {
        let finding = self.0.entry(kind).or_default();
        finding.count += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            finding.examples.push(text());
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Finding)> {
        self.0.iter().map(|(kind, finding)| (*kind, finding))
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    #[cfg(test)]
    fn kinds(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }
}

/// Everything that a run is checked for. `lag_us` is the generator's own worst delay in microseconds, by
/// which the time of a message may be noted too late; `export` is the shop's list of bookings, if asked for.
pub fn verify(visitors: &[VisitorFacts], lag_us: u64, export: Option<&[ExportRow]>, plan: &Plan) -> Findings {
    let mut findings = Findings::default();
    for (n, visitor) in visitors.iter().enumerate() {
        for breach in &visitor.breaches {
            findings.add(breach.kind(), || format!("visitor {n}: {breach}"));
        }
    }
    order::places(visitors, &mut findings);
    order::grants(visitors, lag_us, &mut findings);
    bookings::seats(visitors, export, plan, &mut findings);
    if let Some(export) = export {
        bookings::compare(visitors, export, plan, &mut findings);
    }
    findings
}
