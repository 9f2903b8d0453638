//! Proves the invariants of a fair sale on recorded histories and the final state of the stores.
//!
//! Plain values in, verdicts out: no I/O. What is proved, from what, with which tolerance and why: docs/check.md. A
//! finding is a broken promise, never bad luck with clocks: a time that was read stands for a time that was decided, and
//! where that matters the checker allows for the difference and is silent in doubt. What it cannot judge it says.
//!
//! The history is taken in as 40 bytes an operation and sorted by visitor and time ([`Log`]); one pass over each
//! visitor's operations makes of them places, waits, grants and ranks (`story`); each invariant is then one or two
//! sweeps over those, O(n log n) all in all.

mod admission;
mod drain;
mod facts;
mod finding;
mod log;
mod order;
mod places;
mod ranks;
mod seats;
mod state;
mod story;
#[cfg(test)]
mod tests;
mod tokens;

pub use finding::{Invariant, Promise, Status, Verdict, Violation};
pub use log::{Log, Spot};
pub use state::{FinalState, LineState, PlaceState, ShopBooking, ShopState, fingerprint};

use super::facts::Micros;
use facts::Facts;
use finding::Findings;
use log::What;
use wire::domain::sale::SaleSettings;

/// How long after its decision a message may be read. The contract gives a grant 250 ms (p99) to its socket; four times
/// that is no longer the wire. The generator's own worst lag is added.
const WIRE_US: Micros = 1_000_000;

/// Proves what can be proved; a verdict for each invariant.
pub fn check(log: &mut Log, state: &FinalState) -> Vec<Verdict> {
    log.sort();
    let log = &*log;
    let settings = settings(log);
    let shop = state.shop.as_ref();
    let same = |get: fn(&SaleSettings) -> f64| {
        settings.filter(|then| shop.is_none_or(|now| get(then) == get(&now.settings)))
    };
    let grant_ttl = same(|s| f64::from(s.grant_ttl_s)).map(|s| Micros::from(s.grant_ttl_s) * 1_000_000);
    let facts = story::facts(log, grant_ttl);
    let mut findings = Findings::new(log);
    breaches(log, &mut findings);
    order::joins(&facts, &mut findings);
    places::seen(&facts, &mut findings);
    places::replaced(&facts, &mut findings);
    ranks::rises(log, &mut findings);
    tokens::answers(log, &facts, &mut findings);
    drain::check(log, &mut findings);
    match log.lag_us().map(|lag| lag.saturating_add(WIRE_US)) {
        Some(tolerance) => timed(log, &facts, state, settings, tolerance, &mut findings),
        None => {
            let why = "a file has no footer, so how late its times are is not known";
            for invariant in [Invariant::Order, Invariant::Admission, Invariant::Seats, Invariant::Ranks] {
                findings.lack(invariant, why);
            }
            findings.lack(Invariant::Drained, "a run died before it ended");
        }
    }
    stores(log, &facts, state, &mut findings);
    gaps(log, &facts, &mut findings);
    findings.finish()
}

/// What is judged by the clock.
fn timed(
    log: &Log,
    facts: &Facts,
    state: &FinalState,
    settings: Option<&SaleSettings>,
    tolerance: Micros,
    findings: &mut Findings,
) {
    order::grants(facts, tolerance, findings);
    ranks::bounds(facts, state.line.as_ref(), tolerance, findings);
    admission::phases(log, facts, tolerance, findings);
    if let Some(shop) = &state.shop {
        seats::answered(log, shop, tolerance, findings);
    }
    let Some(settings) = settings else {
        findings.lack(Invariant::Admission, "the history does not tell the sale's settings");
        return;
    };
    let now = state.shop.as_ref().map_or(settings, |shop| &shop.settings);
    if (now.rate, now.max_active) != (settings.rate, settings.max_active) {
        findings.lack(Invariant::Admission, "rate or max_active was changed, nobody knows when");
        return;
    }
    admission::rate(facts, settings, tolerance, findings);
    admission::active(log, facts, settings, state.shop.as_ref(), tolerance, findings);
}

/// What the stores say.
fn stores(log: &Log, facts: &Facts, state: &FinalState, findings: &mut Findings) {
    match &state.line {
        Some(line) => {
            order::reached(facts, line, findings);
            places::line(facts, line, findings);
        }
        None => findings.lack(Invariant::Kept, "the final state of Redis is not given"),
    }
    match &state.shop {
        Some(shop) => {
            seats::sold(shop, findings);
            seats::compare(log, facts, shop, findings);
            tokens::grants(facts, shop, findings);
        }
        None => {
            for invariant in [Invariant::Seats, Invariant::Bookings] {
                findings.lack(invariant, "the final state of PostgreSQL is not given");
            }
        }
    }
}

/// What was not there to be judged.
fn gaps(log: &Log, facts: &Facts, findings: &mut Findings) {
    for (part, count, said) in log.miscounted() {
        let file = part.path.display();
        let why =
            format!("{file} has {count} entries where its end speaks of {said}: lines were added or lost");
        Invariant::ALL.iter().for_each(|invariant| findings.lack(*invariant, why.clone()));
    }
    let unreadable = facts.visitors.iter().filter(|visitor| visitor.unreadable).count();
    if unreadable > 0 {
        let why = format!("the places of {unreadable} visitors have no readable number");
        for invariant in [Invariant::Order, Invariant::Places, Invariant::Kept] {
            findings.lack(invariant, why.clone());
        }
    }
    if !facts.grants.iter().any(|grant| grant.waited) {
        findings.lack(Invariant::Order, "nobody was seen to be granted");
    }
    if facts.grants.is_empty() {
        findings.lack(Invariant::Admission, "nobody was seen to be granted");
    }
    if log.bookings.is_empty() {
        for invariant in [Invariant::Seats, Invariant::Bookings, Invariant::Tokens] {
            findings.lack(invariant, "nobody was seen to book");
        }
    }
    let parts = log.parts().first().map_or(0, |part| part.header.part.1);
    if log.parts().len() < parts as usize {
        let why = format!("{} of {parts} parts are given", log.parts().len());
        findings.lack(Invariant::Drained, why);
    }
}

/// The sale's settings when the run began.
fn settings(log: &Log) -> Option<&SaleSettings> {
    log.parts().iter().find_map(|part| part.header.settings.as_ref())
}

/// What each visitor saw broken by himself.
fn breaches(log: &Log, findings: &mut Findings) {
    findings.over(Invariant::Contract, log.len());
    for op in log.visitors().flatten() {
        if let What::Breach(index) = op.what {
            let text = &log.breaches[index as usize];
            findings.add(Invariant::Contract, [op.spot], || format!("visitor {}: {text}", op.visitor));
        }
    }
}
