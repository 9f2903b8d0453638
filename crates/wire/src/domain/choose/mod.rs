//! Which seats a wish gets, given those that are taken.
//!
//! **What is best** is what a visitor would call so, as far as a plan says it:
//!
//! 1. **Together** before apart: all seats beside each other in one row, no aisle between.
//! 2. **The better category**, in the order of the plan's list: that order is the operator's word. Seats of several
//!    categories together are as good as the worst of them.
//! 3. **Nearer the stage**, row by row ([`ranking`](super::ranking) says how that is known).
//! 4. **Nearer the middle** of the row, counted in seats.
//! 5. **Nobody left alone**: a choice that leaves a single free seat between taken ones (an *orphan*, which couples and
//!    families will not want) gives way to one that does not, but only among seats as good as the first ones found:
//!    in the same zone and of the same categories, seat by seat. Within these the operator himself asks the same price
//!    everywhere. Nobody is sent to another zone or another price for an orphan's sake, and no wish fails for it: where
//!    an orphan cannot be avoided, it is left, and the first seats are taken. Only a run that is longer by one than the
//!    wish must leave one, so this moves people seldom.
//! 6. **Apart**, if there is no such row and the wish allows it: in the fewest pieces; then all in one zone, of those that
//!    have them in so few the one whose best seats are the best; then all of one category, the best that has them in
//!    so few; then without an orphan; then near each other, from the first seat to the last in plan order; then with the
//!    first piece in the better row. (Where a stretch mixes categories, orphans that a choice makes in another
//!    category's seats do not count, and what is free in it counts as of several categories.)
//!
//! The answer follows from plan, taken seats and wish alone: every instance finds the same.

mod apart;
#[cfg(test)]
mod tests;

use super::{
    booking::Wish,
    hall::{Hall, Run},
    plan::{SeatIndex, Stretch},
    refusal::Refusal,
    sale::MAX_SEATS_MAX,
};

impl Hall {
    /// The seats for `wish`, in plan order, or why it gets none. `held` says that some taken seats are only held:
    /// then a hall without a free seat is not sold out yet.
    pub fn choose(&self, held: bool, wish: &Wish) -> Result<Vec<SeatIndex>, Refusal> {
        match wish {
            Wish::Seats(seats) => {
                let lost: Vec<_> =
                    seats.iter().copied().filter(|seat| self.taken().contains(*seat)).collect();
                if lost.is_empty() { Ok(seats.clone()) } else { Err(Refusal::SeatTaken(lost)) }
            }
            Wish::Best { count, category, together } => {
                if self.taken().len() == self.plan().seats.len() && !held {
                    return Err(Refusal::SoldOut);
                }
                if *count > MAX_SEATS_MAX as usize {
                    return Err(Refusal::TooManySeats);
                }
                let search = Search { hall: self, count: *count, category: *category };
                let beside = search.together().map(|run| (run.first..run.end).collect());
                beside
                    .or_else(|| if *together { None } else { search.apart() })
                    .ok_or(Refusal::NoSeatsTogether)
            }
        }
    }
}

/// A search for so many seats, of that category if one is wanted.
struct Search<'a> {
    hall: &'a Hall,
    count: usize,
    category: Option<u16>,
}

impl Search<'_> {
    fn stretch(&self, rank: usize) -> &Stretch {
        let plan = self.hall.plan();
        &plan.stretches[plan.ranking.entry(rank).stretch as usize]
    }

    fn category_of(&self, seat: SeatIndex) -> Option<u16> {
        self.hall.plan().seats.get(seat as usize).map(|seat| seat.category)
    }

    /// The runs of free seats of the category in a stretch, each as long as can be.
    fn runs(&self, stretch: &Stretch) -> impl Iterator<Item = Run> {
        let has_any = self.category.is_none() || stretch.category.is_none_or(|c| Some(c) == self.category);
        let split = self.category.is_some() && stretch.category.is_none();
        let free = has_any.then(|| self.hall.runs(stretch)).into_iter().flatten();
        free.flat_map(move |run| {
            let fits = move |seat: &SeatIndex| !split || self.category_of(*seat) == self.category;
            let mut at = run.first;
            std::iter::from_fn(move || {
                let first = if split { (at..run.end).find(fits)? } else { at };
                at = if split {
                    (first..run.end).find(|seat| !fits(seat)).unwrap_or(run.end)
                } else {
                    run.end
                };
                (first < run.end).then_some(Run { first, end: at })
            })
        })
    }

    /// The best seats beside each other.
    fn together(&self) -> Option<Run> {
        let (rank, first) = self.first()?;
        let stretch = self.stretch(rank);
        if self.hall.orphans(stretch, first) == 0 {
            return Some(first);
        }
        let in_zone = self.hall.plan().ranking.of_zone(stretch.zone);
        // Parts of the row may come before.
        let from = in_zone
            .partition_point(|other| (*other as usize) < rank && !self.same_row(*other as usize, rank));
        let category = self.hall.plan().ranking.entry(rank).category;
        let mut best = ((usize::MAX, SeatIndex::MAX), rank, first);
        for rank in in_zone[from..].iter().map(|rank| *rank as usize) {
            let is_done = best.0.0 == 0 && !self.same_row(best.1, rank);
            if is_done || self.hall.plan().ranking.entry(rank).category != category {
                break;
            }
            if self.hall.longest_at(rank) < self.count {
                continue;
            }
            let stretch = self.stretch(rank);
            for place in self.places(rank).filter(|place| self.alike(first, *place)) {
                let key = (self.hall.orphans(stretch, place), self.off(stretch, place));
                // A row further back is better only for leaving fewer alone.
                let is_better = if self.same_row(best.1, rank) { key < best.0 } else { key.0 < best.0.0 };
                if is_better {
                    best = (key, rank, place);
                }
            }
        }
        Some(best.2)
    }

    /// The best seats beside each other, whoever is left alone, and the rank of their stretch.
    fn first(&self) -> Option<(usize, Run)> {
        let ranking = &self.hall.plan().ranking;
        let ranks = self.category.map_or(0..ranking.len(), |category| ranking.of_category(category));
        let mut best: Option<(SeatIndex, usize, Run)> = None;
        for rank in self.hall.ranks_with_room(ranks, self.count.max(1)) {
            if best.is_some_and(|(_, known, _)| !self.same_row(known, rank)) {
                break;
            }
            let stretch = self.stretch(rank);
            for place in self.places(rank) {
                let off = self.off(stretch, place);
                if best.is_none_or(|(known, ..)| off < known) {
                    best = Some((off, rank, place));
                }
            }
        }
        best.map(|(_, rank, place)| (rank, place))
    }

    /// Whether these ranks are of one row and category.
    fn same_row(&self, a: usize, b: usize) -> bool {
        let ranking = &self.hall.plan().ranking;
        self.stretch(a).row == self.stretch(b).row && ranking.entry(a).category == ranking.entry(b).category
    }

    /// How far from the middle of its row a place is, in half seats.
    fn off(&self, stretch: &Stretch, place: Run) -> SeatIndex {
        let row = &self.hall.plan().rows[stretch.row as usize];
        (place.first + place.end).abs_diff(row.start + row.end)
    }

    /// Places for the wish at that rank, in plan order: in each run those by the middle of the row, of which one is the
    /// nearest, and one is the nearest that leaves fewest alone. Where a stretch mixes categories, all places whose
    /// worst is that of the rank.
    fn places(&self, rank: usize) -> impl Iterator<Item = Run> {
        let (count, stretch) = (self.count as SeatIndex, self.stretch(rank));
        let row = &self.hall.plan().rows[stretch.row as usize];
        let (middle, is_mixed) =
            ((row.start + row.end).saturating_sub(count) / 2, stretch.category.is_none());
        let category = self.hall.plan().ranking.entry(rank).category;
        let runs = self.runs(stretch).filter(move |run| run.len() >= self.count);
        runs.flat_map(move |run| {
            let last = run.end - count;
            // Only the second seats from either end of a run leave one alone there, so that beside the nearest there is
            // always one that does not, if the run has any. Two on the right: the middle may lie between two seats.
            let nearest = middle.clamp(run.first, last);
            let near = nearest.saturating_sub(1).max(run.first)..=(nearest + 2).min(last);
            let all = if is_mixed { run.first..=last } else { near };
            all.map(move |first| Run { first, end: first + count })
        })
        .filter(move |place| !is_mixed || self.worst(*place) == Some(category))
    }

    /// The worst category of a place.
    fn worst(&self, place: Run) -> Option<u16> {
        (place.first..place.end).filter_map(|seat| self.category_of(seat)).max()
    }

    /// Whether two places of a zone are of the same categories, seat by seat.
    fn alike(&self, a: Run, b: Run) -> bool {
        (a.first..a.end).zip(b.first..b.end).all(|(a, b)| self.category_of(a) == self.category_of(b))
    }
}
