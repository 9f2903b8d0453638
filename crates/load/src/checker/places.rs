//! Invariant 2: one place a visitor, one visitor a place, ended once and for all. Invariant 7: no place is lost, none
//! is invented.

use super::{
    facts::{Facts, How, Place, Visitor},
    finding::{Findings, Invariant},
    state::LineState,
};
use std::collections::{HashMap, HashSet};
use wire::domain::{ids::Seq, place::Stage};

/// What the history alone shows of invariant 2.
pub(super) fn seen(facts: &Facts, findings: &mut Findings) {
    findings.over(Invariant::Places, facts.places.len());
    let ids: HashMap<u32, u64> = facts.visitors.iter().filter_map(|v| Some((v.number, v.id?))).collect();
    let same = |a: &Place, b: &Place| {
        a.visitor == b.visitor
            || matches!((ids.get(&a.visitor), ids.get(&b.visitor)), (Some(a), Some(b)) if a == b)
    };
    let mut by_seq: Vec<&Place> = facts.places.iter().collect();
    by_seq.sort_unstable_by_key(|place| place.seq);
    for pair in by_seq.windows(2) {
        let (a, b) = (pair[0], pair[1]);
        if a.seq == b.seq && !same(a, b) {
            findings.add(Invariant::Places, [a.joined.spot, b.joined.spot], || {
                format!("visitors {} and {} were both given place {}", a.visitor, b.visitor, a.seq)
            });
        }
    }
    for back in &facts.came_back {
        let place = facts.place(back.place);
        findings.add(Invariant::Places, [back.end.spot, back.again.spot], || {
            format!("place {} of visitor {} had ended and stood again", place.seq, place.visitor)
        });
    }
    for (place, missed) in &facts.missed_again {
        let place = facts.place(*place);
        findings.add(Invariant::Places, [place.joined.spot, missed.spot], || {
            format!("place {} of visitor {} missed its turn twice and was kept", place.seq, place.visitor)
        });
    }
}

/// What the history alone shows of invariant 7: a place that was never granted nor given up is there when its visitor
/// comes back.
pub(super) fn replaced(facts: &Facts, findings: &mut Findings) {
    for replaced in &facts.replaced {
        let place = facts.place(replaced.place);
        findings.add(Invariant::Kept, [place.joined.spot, replaced.by.spot], || {
            format!(
                "visitor {} had place {} and came back to place {}",
                place.visitor, place.seq, replaced.seq
            )
        });
    }
}

/// What the line itself says of invariants 2 and 7.
pub(super) fn line(facts: &Facts, line: &LineState, findings: &mut Findings) {
    consistent(line, findings);
    let records: HashMap<u64, (Seq, Stage)> =
        line.places.iter().map(|place| (place.visitor, (place.seq, place.stage))).collect();
    let mut beyond = 0;
    for visitor in &facts.visitors {
        let places = facts.places_of(visitor);
        findings.over(Invariant::Kept, places.len());
        let record = visitor.id.and_then(|id| records.get(&id));
        invented(visitor, places, record, findings);
        for place in places {
            if place.epoch != line.epoch || visitor.id.is_none() {
                beyond += usize::from(place.open());
            } else {
                kept(place, visitor, record, findings);
            }
        }
    }
    if beyond > 0 {
        let why = "places were not seen to end, and the line has begun a new life since, or their visitor is unknown";
        findings.lack(Invariant::Kept, format!("{beyond} {why}"));
    }
}

/// Whether a place of the run is as its visitor saw it last.
fn kept(place: &Place, visitor: &Visitor, record: Option<&(Seq, Stage)>, findings: &mut Findings) {
    let (number, seq) = (place.visitor, place.seq);
    let same = record.filter(|(known, _)| *known == seq);
    if let (Some(end), Some((_, stage))) = (&place.end, same) {
        let stands = matches!(stage, Stage::Waiting | Stage::Returned | Stage::Away);
        // A line that was never told of a booking still has its grant, until it asks PostgreSQL.
        let stands = stands || (*stage == Stage::Granted && end.how == How::Lapsed);
        if stands && end.epoch == place.epoch {
            findings.add(Invariant::Places, [place.joined.spot, end.moment.spot], || {
                format!("place {seq} of visitor {number} had ended, and Redis has it {stage:?}")
            });
        }
    }
    if !place.open() || same.is_some() {
        return;
    }
    match record {
        None => findings.add(Invariant::Kept, [place.joined.spot], || {
            format!(
                "place {seq} of visitor {number} was acknowledged, never ended, and Redis does not have it"
            )
        }),
        // A later place is there: the earlier one ended where its visitor could not see it, or was reported above.
        Some((later, _)) if *later > seq || visitor.unknown_join => {}
        Some((other, _)) => findings.add(Invariant::Kept, [place.joined.spot], || {
            format!("place {seq} of visitor {number} never ended, and Redis has place {other} in its stead")
        }),
    }
}

fn invented(visitor: &Visitor, places: &[Place], record: Option<&(Seq, Stage)>, findings: &mut Findings) {
    let excused = visitor.unknown_join || visitor.unreadable || visitor.known_before;
    let Some((seq, _)) = record.filter(|(seq, _)| *seq > 0 && !excused) else { return };
    if places.iter().all(|place| place.seq != *seq) {
        findings.add(Invariant::Kept, places.first().map(|place| place.joined.spot), || {
            format!("Redis has place {seq} of visitor {}, which was never acknowledged", visitor.number)
        });
    }
}

/// Whether the line's records and its sets say the same.
fn consistent(line: &LineState, findings: &mut Findings) {
    findings.over(Invariant::Places, line.places.len());
    let mut seqs = HashSet::new();
    for place in line.places.iter().filter(|place| place.seq > 0) {
        if !seqs.insert(place.seq) {
            findings.add(Invariant::Places, [], || format!("Redis has place {} twice", place.seq));
        }
    }
    let grants: Vec<(u64, Seq)> = line.grants.iter().map(|visitor| (*visitor, 0)).collect();
    let sets = [
        (Stage::Waiting, "line", &line.line),
        (Stage::Returned, "returned", &line.returned),
        (Stage::Away, "away", &line.away),
        (Stage::Granted, "grants", &grants),
    ];
    let mut somewhere: HashMap<u64, (Stage, Seq)> = HashMap::new();
    for (stage, name, set) in sets {
        for (visitor, seq) in set {
            if somewhere.insert(*visitor, (stage, *seq)).is_some() {
                findings.add(Invariant::Places, [], || {
                    format!("a visitor (place {seq}) is in {name} and in another set of Redis as well")
                });
            }
        }
    }
    let live = |stage| matches!(stage, Stage::Waiting | Stage::Returned | Stage::Away | Stage::Granted);
    for place in &line.places {
        let (seq, stage) = (place.seq, place.stage);
        match somewhere.remove(&place.visitor) {
            Some((set, number)) if set == stage && (number == seq || set == Stage::Granted) => {}
            None if !live(stage) => {}
            None => findings.add(Invariant::Kept, [], || {
                format!("place {seq} is {stage:?} by its record, and in no set of Redis that would serve it")
            }),
            Some((set, number)) => findings.add(Invariant::Places, [], || {
                format!(
                    "place {seq} is {stage:?} by its record, and in Redis' sets it is {set:?} at {number}"
                )
            }),
        }
    }
    for (stage, seq) in somewhere.values() {
        findings
            .add(Invariant::Kept, [], || format!("Redis has place {seq} {stage:?} without a record of it"));
    }
}
