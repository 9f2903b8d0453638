//! Seats for a wish that no row has together: the fewest pieces, near each other.

use super::Search;
use crate::domain::{hall::Run, plan::SeatIndex};
use std::cmp::Reverse;

impl Search<'_> {
    /// The best seats in several pieces; only if there is no run of all of them.
    pub(super) fn apart(&self) -> Option<Vec<SeatIndex>> {
        // No zone can do with fewer.
        let least = self.count.div_ceil(self.hall.longest().max(1)).max(2);
        let mut best: Option<(usize, Vec<Run>)> = None;
        let mut all = Vec::new();
        for zone in &self.hall.plan().zones {
            let stretches = self.hall.with_room(zone.start, zone.end, 1);
            let runs: Vec<Run> = stretches.flat_map(|stretch| self.runs(self.stretch(stretch))).collect();
            all.extend_from_slice(&runs);
            let Some(pieces) = pieces(&runs, self.count) else { continue };
            if best.as_ref().is_none_or(|(fewest, _)| pieces < *fewest) {
                best = Some((pieces, runs));
            }
            if pieces <= least {
                break;
            }
        }
        // Over several zones only if that makes fewer pieces.
        let (fewest, runs) = match (pieces(&all, self.count)?, best) {
            (overall, Some((fewest, runs))) if fewest <= overall.max(least) => (fewest, runs),
            (overall, _) => (overall, all),
        };
        nearest(&runs, fewest, self.count)
    }
}

/// In how few of these runs so many seats are; nothing if there are not so many.
fn pieces(runs: &[Run], count: usize) -> Option<usize> {
    let mut of_length = vec![0; count + 1];
    runs.iter().for_each(|run| of_length[run.len().min(count)] += 1);
    let (mut missing, mut pieces) = (count, 0);
    for length in (1..=count).rev() {
        let used = missing.div_ceil(length).min(of_length[length]);
        pieces += used;
        missing = missing.saturating_sub(used * length);
    }
    (missing == 0).then_some(pieces)
}

/// Some of the runs, one behind the other.
#[derive(Clone, Copy)]
struct Chain {
    /// The first seat of the first run, and the seats in all of them: the larger the sum, the shorter the way to any
    /// seat further on.
    first: SeatIndex,
    seats: SeatIndex,
    /// The last run, and the chain before it.
    run: usize,
    before: Option<usize>,
}

impl Chain {
    fn rank(&self) -> (SeatIndex, Reverse<SeatIndex>) {
        (self.first + self.seats, Reverse(self.first))
    }
}

/// `count` seats in so many of the runs, the fewest possible: without an orphan, then over the least distance, then
/// further ahead.
///
/// With the fewest pieces every run is needed, so that what is left over is less than the shortest of them, and may all
/// be left at the end of the last: one seat is an orphan, none or several are not. So for each number of pieces and of
/// seats up to then, the chain that begins latest is all that need be known as the runs go by.
fn nearest(runs: &[Run], pieces: usize, count: usize) -> Option<Vec<SeatIndex>> {
    // More than that are as good as that many.
    let plenty = count + 2;
    let mut chains: Vec<Chain> = Vec::new();
    let mut latest: Vec<Option<usize>> = vec![None; (pieces + 1) * (plenty + 1)];
    let mut best: Option<((bool, SeatIndex, SeatIndex), usize)> = None;
    for (run, Run { first, end }) in runs.iter().enumerate().map(|(i, run)| (i, *run)) {
        for used in (1..=pieces).rev() {
            for seats in 0..=plenty {
                let before = if used == 1 { None } else { latest[(used - 1) * (plenty + 1) + seats] };
                if before.is_none() && (used > 1 || seats > 0) {
                    continue;
                }
                let chain = match before {
                    None => Chain { first, seats: end - first, run, before },
                    Some(at) => Chain { seats: chains[at].seats + end - first, run, before, ..chains[at] },
                };
                let total = chain.seats as usize;
                if used < pieces {
                    let slot = &mut latest[used * (plenty + 1) + total.min(plenty)];
                    if slot.is_none_or(|known| chains[known].rank() < chain.rank()) {
                        *slot = Some(chains.len());
                        chains.push(chain);
                    }
                } else if total >= count {
                    let distance = end + count as SeatIndex - chain.rank().0;
                    let key = (total == count + 1, distance, chain.first);
                    if best.is_none_or(|(known, _)| key < known) {
                        best = Some((key, chains.len()));
                        chains.push(chain);
                    }
                }
            }
        }
    }
    best.map(|(_, last)| seats_of(runs, &chains, last, count))
}

/// The first `count` seats of a chain.
fn seats_of(runs: &[Run], chains: &[Chain], last: usize, count: usize) -> Vec<SeatIndex> {
    let back = std::iter::successors(Some(last), |at| chains[*at].before);
    let mut used: Vec<Run> = back.map(|at| runs[chains[at].run]).collect();
    used.reverse();
    used.iter().flat_map(|run| run.first..run.end).take(count).collect()
}
