//! Which seats a wish gets, given those that are taken.
//!
//! **What is best** is what a visitor would call so, as far as a plan says it:
//!
//! 1. **Together** before apart: all seats beside each other in one row, no aisle between.
//! 2. **Further ahead** before further back: plan order stands for quality, since a plan says nothing else of it but
//!    zones and categories.
//! 3. **Nobody left alone**: a choice that leaves a single free seat between taken ones (an *orphan*, which couples and
//!    families will not want) gives way to one that does not, but only among seats as good as the first ones found:
//!    in the same zone and of the same categories, seat by seat. Within these the operator himself asks the same price
//!    everywhere. Nobody is sent to another zone or another price for an orphan's sake, and no wish fails for it: where
//!    an orphan cannot be avoided, it is left, and the first seats are taken. Only a run that is longer by one than the
//!    wish must leave one, so this moves people seldom.
//! 4. **Apart**, if there is no such row and the wish allows it: in the fewest pieces; then all in one zone, the first
//!    that has them in so few; then without an orphan; then near each other, from the first seat to the last in plan
//!    order; then further ahead. (Where a row mixes categories, orphans that a choice makes in another category's seats
//!    do not count.)
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
use std::ops::Range;

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
    fn stretch(&self, index: usize) -> &Stretch {
        &self.hall.plan().stretches[index]
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
        let all = 0..self.hall.plan().stretches.len();
        let first = self.windows(all).next()?.1;
        let from = self.hall.plan().stretch_of(first.first);
        let zone = &self.hall.plan().zones[self.stretch(from).zone];
        let mut best: Option<(usize, Run)> = None;
        for (stretch, window) in self.windows(from..zone.end) {
            let orphans = self.hall.orphans(self.stretch(stretch), window);
            if best.is_none_or(|(fewest, _)| orphans < fewest) && self.alike(first, window) {
                best = Some((orphans, window));
                if orphans == 0 {
                    break;
                }
            }
        }
        best.map(|(_, window)| window)
    }

    /// All places for the wish in those stretches, with the stretch of each.
    fn windows(&self, stretches: Range<usize>) -> impl Iterator<Item = (usize, Run)> {
        let count = self.count;
        let roomy = self.hall.with_room(stretches, count.max(1));
        roomy.flat_map(move |stretch| {
            let runs = self.runs(self.stretch(stretch)).filter(move |run| run.len() >= count);
            runs.flat_map(move |run| {
                let last = run.end - count as SeatIndex;
                (run.first..=last).map(move |at| (stretch, Run { first: at, end: at + count as SeatIndex }))
            })
        })
    }

    /// Whether two places of a zone are of the same categories, seat by seat.
    fn alike(&self, a: Run, b: Run) -> bool {
        (a.first..a.end).zip(b.first..b.end).all(|(a, b)| self.category_of(a) == self.category_of(b))
    }
}
