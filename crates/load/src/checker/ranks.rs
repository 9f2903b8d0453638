//! Invariant 6: ranks never rise within a connection, and every rank shown was true.

use super::{
    facts::{Facts, Place, Shown},
    finding::{Findings, Invariant},
    log::{Log, Spot, What},
    state::LineState,
};
use crate::facts::{Micros, NEVER};
use std::collections::{HashMap, HashSet};
use wire::domain::ids::Seq;

/// How old a rank may be at the very most: the tail stretches to 30 s beyond the server's capacity.
const AGE_MAX_US: Micros = 30_000_000;

/// Within a connection a rank never rises, unless a fresh `joined` comes first.
pub(super) fn rises(log: &Log, findings: &mut Findings) {
    let mut last: HashMap<u32, (u64, Spot)> = HashMap::new();
    for ops in log.visitors() {
        last.clear();
        for op in ops {
            let rank = match op.what {
                What::Joined(index) => log.joined[index as usize].rank,
                What::Rank(rank) => rank,
                What::Cut(_) => {
                    last.remove(&op.connection);
                    continue;
                }
                _ => continue,
            };
            findings.over(Invariant::Ranks, 1);
            let before = last.insert(op.connection, (rank, op.spot));
            let risen = before.filter(|(before, _)| matches!(op.what, What::Rank(_)) && *before < rank);
            if let Some((before, spot)) = risen {
                findings.add(Invariant::Ranks, [spot, op.spot], || {
                    format!("visitor {}'s rank rose from {before} to {rank} within a connection", op.visitor)
                });
            }
        }
    }
}

/// Counts of seqs, each below a given one in O(log n).
struct Below {
    seqs: Vec<Seq>,
    tree: Vec<u32>,
}

impl Below {
    fn new(mut seqs: Vec<Seq>) -> Self {
        seqs.sort_unstable();
        seqs.dedup();
        Self { tree: vec![0; seqs.len() + 1], seqs }
    }

    fn change(&mut self, seq: Seq, by: i32) {
        let mut i = self.seqs.partition_point(|known| *known < seq) + 1;
        while i < self.tree.len() {
            self.tree[i] = self.tree[i].wrapping_add_signed(by);
            i += i & i.wrapping_neg();
        }
    }

    fn count(&self, seq: Seq) -> u64 {
        let (mut i, mut sum) = (self.seqs.partition_point(|known| *known < seq), 0);
        while i > 0 {
            sum += u64::from(self.tree[i]);
            i -= i & i.wrapping_neg();
        }
        sum
    }
}

/// Every rank lies between two bounds. It is at least the number of earlier places that surely were in the line when it
/// was read by the visitor: nobody comes back into the line, so they were there before, too. It is at most the number of
/// seqs below his own, less those that had surely left the line before it can have been counted. All within one life of
/// the line.
pub(super) fn bounds(facts: &Facts, line: Option<&LineState>, tolerance: Micros, findings: &mut Findings) {
    let still: HashSet<usize> = line.map(|line| facts.still_in_line(line)).unwrap_or_default();
    for epoch in facts.epochs.keys() {
        let places: Vec<(usize, &Place)> =
            facts.places.iter().enumerate().filter(|(_, place)| place.epoch == *epoch).collect();
        let end = facts.epoch_end(*epoch);
        let shown = |shown: &&Shown| {
            shown.epoch == *epoch && facts.place(shown.place).epoch == *epoch && shown.moment.at < end
        };
        let mut shown: Vec<&Shown> = facts.shown.iter().filter(shown).collect();
        let below = || Below::new(places.iter().map(|(_, place)| place.seq).collect());
        at_least(facts, &places, &still, tolerance, &mut shown, below(), findings);
        at_most(facts, &places, tolerance, &mut shown, below(), findings);
    }
}

fn at_least(
    facts: &Facts,
    places: &[(usize, &Place)],
    still: &HashSet<usize>,
    tolerance: Micros,
    shown: &mut [&Shown],
    mut below: Below,
    findings: &mut Findings,
) {
    let mut leaving: Vec<(Micros, Seq)> = places
        .iter()
        .map(|(index, place)| {
            let until = if still.contains(index) { NEVER } else { place.in_line_until };
            (until.saturating_sub(tolerance), place.seq)
        })
        .collect();
    leaving.sort_unstable();
    places.iter().for_each(|(_, place)| below.change(place.seq, 1));
    shown.sort_unstable_by_key(|shown| shown.moment.at);
    let mut leaving = leaving.into_iter().peekable();
    for shown in shown {
        while let Some((_, seq)) = leaving.next_if(|(until, _)| *until <= shown.moment.at) {
            below.change(seq, -1);
        }
        let place = facts.place(shown.place);
        let least = below.count(place.seq);
        let ahead_of_the_line = shown.rank == 0 && shown.maybe_returned;
        if shown.rank < least && !ahead_of_the_line {
            findings.add(Invariant::Ranks, [place.joined.spot, shown.moment.spot], || {
                format!(
                    "visitor {} at place {} was shown rank {} while {least} earlier places were in the line",
                    place.visitor, place.seq, shown.rank
                )
            });
        }
    }
}

fn at_most(
    facts: &Facts,
    places: &[(usize, &Place)],
    tolerance: Micros,
    shown: &mut [&Shown],
    mut below: Below,
    findings: &mut Findings,
) {
    let counted = |shown: &Shown| {
        shown.since.unwrap_or_else(|| shown.moment.at.saturating_sub(AGE_MAX_US.saturating_add(tolerance)))
    };
    let mut leaving: Vec<(Micros, Seq)> = places.iter().map(|(_, place)| (place.gone, place.seq)).collect();
    leaving.sort_unstable();
    shown.sort_unstable_by_key(|shown| counted(shown));
    let mut leaving = leaving.into_iter().peekable();
    for shown in shown {
        while let Some((_, seq)) = leaving.next_if(|(gone, _)| *gone < counted(shown)) {
            below.change(seq, 1);
        }
        let place = facts.place(shown.place);
        // Seqs are drawn from 1 on, one by one.
        let most = place.seq.saturating_sub(1).saturating_sub(below.count(place.seq));
        if shown.rank > most {
            findings.add(Invariant::Ranks, [place.joined.spot, shown.moment.spot], || {
                format!(
                    "visitor {} at place {} was shown rank {}, and at most {most} places can have been ahead",
                    place.visitor, place.seq, shown.rank
                )
            });
        }
    }
}
