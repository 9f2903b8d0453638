//! Invariant 1: who came first is served first.

use super::{
    facts::{Facts, Place, Wait},
    finding::{Findings, Invariant},
    state::LineState,
};
use crate::facts::Micros;
use std::collections::{BTreeMap, BTreeSet};
use wire::domain::ids::Seq;

/// If A's `joined` came before B's `join` was sent, in the same life of the line, then A's seq is smaller. Both moments
/// are on one clock, and what lies between them can only be longer than was written down: no tolerance. One sweep over
/// the joins in the order in which they were sent, keeping the highest seq acknowledged before.
pub(super) fn joins(facts: &Facts, findings: &mut Findings) {
    let mut by_sent: Vec<&Place> = facts.places.iter().collect();
    let mut by_joined = by_sent.clone();
    by_sent.sort_unstable_by_key(|place| (place.epoch, place.drawn.at));
    by_joined.sort_unstable_by_key(|place| (place.epoch, place.joined.at));
    let mut acknowledged = by_joined.into_iter().peekable();
    let mut highest: Option<&Place> = None;
    for place in by_sent {
        let before = |earlier: &&Place| (earlier.epoch, earlier.joined.at) < (place.epoch, place.drawn.at);
        while let Some(earlier) = acknowledged.next_if(before) {
            if highest.is_none_or(|high| (high.epoch, high.seq) < (earlier.epoch, earlier.seq)) {
                highest = Some(earlier);
            }
        }
        let Some(high) = highest.filter(|high| high.epoch == place.epoch && high.seq > place.seq) else {
            continue;
        };
        findings.add(Invariant::Order, [high.joined.spot, place.drawn.spot, place.joined.spot], || {
            format!(
                "visitor {} joined {} µs after visitor {} had place {}, and was given the earlier place {}",
                place.visitor,
                place.drawn.at - high.joined.at,
                high.visitor,
                high.seq,
                place.seq
            )
        });
    }
    findings.over(Invariant::Order, facts.places.len());
}

/// What happens at a moment of the sweep; in this order at the same moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// A grant was decided by then.
    Granted(u32),
    /// From here on a wait counts.
    From(u32),
    /// Until here it did.
    Until(u32),
}

/// Nobody is granted before an earlier place whose visitor is connected and waits all the while. Looked at are grants
/// that reached a visitor who waited for them; of the waits only what lies `tolerance` within: a grant is decided
/// before it is read, at most by that. A place served ahead of the line never overtakes an earlier one that waits: its
/// own turn had come before. One sweep over time, with the seqs of those who wait in order.
pub(super) fn grants(facts: &Facts, tolerance: Micros, findings: &mut Findings) {
    let surely = |wait: &Wait| {
        let until = wait.until.min(facts.epoch_end(wait.epoch)).saturating_sub(tolerance);
        let from = wait.from.saturating_add(tolerance);
        (from < until).then_some((from, until))
    };
    let mut steps: Vec<(Micros, Step)> = Vec::new();
    for (i, wait) in facts.waits.iter().enumerate() {
        if let Some((from, until)) = surely(wait) {
            steps.push((from, Step::From(i as u32)));
            steps.push((until, Step::Until(i as u32)));
        }
    }
    let looked_at = facts.grants.iter().enumerate().filter(|(_, grant)| grant.waited);
    steps.extend(looked_at.map(|(i, grant)| (grant.decided_by, Step::Granted(i as u32))));
    steps.sort_unstable();
    let mut waiting: BTreeMap<u64, BTreeSet<(Seq, u32)>> = BTreeMap::new();
    let of = |i: u32| {
        let wait = &facts.waits[i as usize];
        (wait.epoch, (facts.place(wait.place).seq, i))
    };
    for (at, step) in steps {
        match step {
            Step::From(i) => {
                waiting.entry(of(i).0).or_default().insert(of(i).1);
            }
            Step::Until(i) => {
                waiting.entry(of(i).0).or_default().remove(&of(i).1);
            }
            Step::Granted(i) => {
                findings.over(Invariant::Order, 1);
                let grant = &facts.grants[i as usize];
                let place = facts.place(grant.place);
                let first = waiting.get(&grant.epoch).and_then(|set| set.first());
                let Some((seq, passed)) = first.filter(|(seq, _)| *seq < place.seq) else { continue };
                let wait = &facts.waits[*passed as usize];
                let other = facts.place(wait.place);
                findings.add(Invariant::Order, [grant.seen.spot, other.joined.spot, wait.last], || {
                    format!(
                        "visitor {} at place {} was granted while visitor {} at place {seq} waited, connected, and \
                         waited {} ms longer",
                        place.visitor,
                        place.seq,
                        other.visitor,
                        (wait.until - at) / 1000
                    )
                });
            }
        }
    }
}

/// Whose place is in the line to this day was never reached, present or not: so nobody behind him was. Who is not there
/// when his turn comes leaves the line, and so does who is served.
pub(super) fn reached(facts: &Facts, line: &LineState, findings: &mut Findings) {
    let still = facts.still_in_line(line);
    let first = still.iter().map(|index| &facts.places[*index]).min_by_key(|place| place.seq);
    let Some(first) = first else { return };
    let behind = |place: &&Place| place.granted && place.epoch == first.epoch && place.seq > first.seq;
    for place in facts.places.iter().filter(behind) {
        findings.add(Invariant::Order, [first.joined.spot, place.joined.spot], || {
            format!(
                "visitor {} at place {} was granted, and visitor {} at place {} is in the line to this day",
                place.visitor, place.seq, first.visitor, first.seq
            )
        });
    }
}
