//! Seats for a wish that no row has together: the fewest pieces, near each other.

use super::Search;
use crate::domain::{hall::Run, plan::SeatIndex};
use std::{cmp::Reverse, ops::Range};

impl Search<'_> {
    /// The best seats in several pieces; only if there is no run of all of them.
    pub(super) fn apart(&self) -> Option<Vec<SeatIndex>> {
        let (hall, zones) = (self.hall, &self.hall.plan().zones);
        let everywhere = 0..hall.plan().stretches.len();
        // Of all categories together: what is wished for may need more, never fewer.
        let bound = pieces(hall.lengths(), self.count)?.max(2);
        let longest = hall.longest();
        let mut best: Option<(usize, Range<usize>)> = None;
        for zone in hall.plan().ranking.zones().iter().copied() {
            let stretches = &zones[zone];
            let fewest = best.as_ref().map_or(usize::MAX, |(fewest, _)| *fewest);
            if fewest <= bound {
                break;
            }
            let bound_here = pieces(up_to(hall.lengths_in(zone), longest), self.count);
            if bound_here.is_some_and(|bound| bound < fewest)
                && let Some(here) = self.pieces_in(stretches, bound_here)
                && here < fewest
            {
                best = Some((here, stretches.clone()));
            }
        }
        // Over several zones only if that makes fewer pieces.
        let (fewest, stretches) = match best {
            Some((fewest, zone)) if fewest <= bound => (fewest, zone),
            best => match (self.pieces_in(&everywhere, Some(bound))?, best) {
                (overall, Some((fewest, zone))) if fewest <= overall => (fewest, zone),
                (overall, _) => (overall, everywhere),
            },
        };
        // A shorter run is in no choice of so few.
        let shortest = self.count.saturating_sub((fewest - 1) * longest).max(1);
        let mut runs = self.runs_in(&stretches, shortest);
        let everything = runs.clone();
        // Stable: of one category they stay in plan order.
        runs.sort_by_key(|run| run.category);
        let of_one = runs.chunk_by(|a, b| a.category == b.category).filter(|same| same[0].category.is_some());
        let mut enough = of_one.filter(|same| self.pieces_of(same) == Some(fewest));
        nearest(enough.next().unwrap_or(&everything), fewest, self.count)
    }

    /// In how few pieces those stretches have the wish; `of_all` would be the answer for seats of any category.
    fn pieces_in(&self, stretches: &Range<usize>, of_all: Option<usize>) -> Option<usize> {
        if self.category.is_none() {
            return of_all;
        }
        self.pieces_of(&self.runs_in(stretches, 1))
    }

    fn pieces_of(&self, runs: &[Piece]) -> Option<usize> {
        let mut lengths = vec![0; self.count + 1];
        runs.iter().for_each(|piece| lengths[piece.run.len().min(self.count)] += 1);
        pieces(&lengths, self.count)
    }

    /// The runs that fit, of at least so many seats.
    fn runs_in(&self, stretches: &Range<usize>, shortest: usize) -> Vec<Piece> {
        let plan = self.hall.plan();
        let roomy = self.hall.with_room(stretches.clone(), shortest);
        let runs = roomy.flat_map(|index| {
            let stretch = &plan.stretches[index];
            let rank = plan.ranking.of_stretch(index).first().copied().unwrap_or(u32::MAX);
            self.runs(stretch).map(move |run| Piece {
                run,
                rank,
                category: self.category.or(stretch.category),
            })
        });
        runs.filter(|piece| piece.run.len() >= shortest).collect()
    }
}

/// Free seats beside each other that may be a part of a choice.
#[derive(Clone, Copy)]
struct Piece {
    run: Run,
    /// The best rank of its stretch.
    rank: u32,
    /// Its category; nothing if they may be several.
    category: Option<u16>,
}

/// The counts of runs up to a length that none is longer than.
fn up_to(lengths: &[u32], longest: usize) -> &[u32] {
    &lengths[..lengths.len().min(longest + 1)]
}

/// In how few runs so many seats are, given how many runs of each length there are; nothing if there are not so many.
fn pieces(lengths: &[u32], count: usize) -> Option<usize> {
    let (mut missing, mut pieces) = (count, 0);
    for (length, runs) in lengths.iter().enumerate().skip(1).rev() {
        if missing == 0 {
            break;
        }
        if *runs == 0 {
            continue;
        }
        let used = missing.div_ceil(length).min(*runs as usize);
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
    /// Of the first run.
    rank: u32,
    /// The last run, and the chain before it.
    run: usize,
    before: Option<usize>,
}

impl Chain {
    /// The greater, the better, whatever comes behind it.
    fn worth(&self) -> (SeatIndex, Reverse<u32>, Reverse<SeatIndex>) {
        (self.first + self.seats, Reverse(self.rank), Reverse(self.first))
    }
}

/// `count` seats in so many of the runs, the fewest possible: without an orphan, then over the least distance, then
/// with the first of them in the better row.
///
/// With the fewest pieces every run is needed, so that what is left over is less than the shortest of them, and may all
/// be left at the end of the last: one seat is an orphan, none or several are not. So for each number of pieces and of
/// seats up to then, the chain that begins latest is all that need be known as the runs go by.
fn nearest(runs: &[Piece], pieces: usize, count: usize) -> Option<Vec<SeatIndex>> {
    // More than that are as good as that many.
    let plenty = count + 2;
    let mut chains: Vec<Chain> = Vec::new();
    let mut latest: Vec<Option<usize>> = vec![None; (pieces + 1) * (plenty + 1)];
    let mut best: Option<((bool, SeatIndex, u32, SeatIndex), usize)> = None;
    for (run, Piece { run: Run { first, end }, rank, .. }) in
        runs.iter().enumerate().map(|(i, run)| (i, *run))
    {
        for used in (1..=pieces).rev() {
            for seats in 0..=plenty {
                let before = if used == 1 { None } else { latest[(used - 1) * (plenty + 1) + seats] };
                if before.is_none() && (used > 1 || seats > 0) {
                    continue;
                }
                let chain = match before {
                    None => Chain { first, seats: end - first, rank, run, before },
                    Some(at) => Chain { seats: chains[at].seats + end - first, run, before, ..chains[at] },
                };
                let total = chain.seats as usize;
                if used < pieces {
                    let slot = &mut latest[used * (plenty + 1) + total.min(plenty)];
                    if slot.is_none_or(|known| chains[known].worth() < chain.worth()) {
                        *slot = Some(chains.len());
                        chains.push(chain);
                    }
                } else if total >= count {
                    let distance = end + count as SeatIndex - chain.worth().0;
                    let key = (total == count + 1, distance, chain.rank, chain.first);
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
fn seats_of(runs: &[Piece], chains: &[Chain], last: usize, count: usize) -> Vec<SeatIndex> {
    let back = std::iter::successors(Some(last), |at| chains[*at].before);
    let mut used: Vec<Run> = back.map(|at| runs[chains[at].run].run).collect();
    used.reverse();
    used.iter().flat_map(|run| run.first..run.end).take(count).collect()
}
