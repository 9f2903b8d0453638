//! A hall on sale: a plan, which of its seats are taken, and the longest free run of each stretch of neighbours. The
//! runs are kept up to date with every seat, so that a choice looks only where there is room.

use super::{
    plan::{Plan, SeatIndex, Stretch},
    seats::SeatSet,
};
use std::sync::Arc;

/// Stretches looked at together, by their longest run: few enough to miss nothing by much, enough for vector units.
const CHUNK: usize = 64;

/// Free seats beside each other: from the first until before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first seat.
    pub first: SeatIndex,
    /// The seat after the last.
    pub end: SeatIndex,
}

impl Run {
    /// How many seats.
    pub fn len(&self) -> usize {
        (self.end - self.first) as usize
    }

    /// Whether it is none.
    pub fn is_empty(&self) -> bool {
        self.end == self.first
    }
}

/// A plan with its taken seats. A clone copies the bitmap and two bytes a stretch.
#[derive(Clone, Debug)]
pub struct Hall {
    plan: Arc<Plan>,
    taken: SeatSet,
    /// Longest free run of each stretch.
    longest: Vec<u16>,
}

impl Hall {
    /// The hall with these seats taken.
    pub fn new(plan: Arc<Plan>, taken: SeatSet) -> Self {
        let longest = vec![0; plan.stretches.len()];
        let mut hall = Self { plan, taken, longest };
        (0..hall.longest.len()).for_each(|stretch| hall.measure(stretch));
        hall
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Seats that nobody can choose.
    pub fn taken(&self) -> &SeatSet {
        &self.taken
    }

    /// The seat is taken; false if it was.
    pub fn take(&mut self, seat: SeatIndex) -> bool {
        let changed = self.taken.insert(seat);
        if changed {
            self.measure(self.plan.stretch_of(seat));
        }
        changed
    }

    /// The seat is free; false if it was.
    pub fn free(&mut self, seat: SeatIndex) -> bool {
        let changed = self.taken.remove(seat);
        if changed {
            self.measure(self.plan.stretch_of(seat));
        }
        changed
    }

    fn measure(&mut self, stretch: usize) {
        let longest = self.runs(&self.plan.stretches[stretch]).map(|run| run.len()).max();
        self.longest[stretch] = u16::try_from(longest.unwrap_or(0)).unwrap_or(u16::MAX);
    }

    /// The longest free run of the hall.
    pub fn longest(&self) -> usize {
        self.longest.iter().max().map_or(0, |longest| usize::from(*longest))
    }

    /// The free runs of a stretch, each as long as can be.
    pub fn runs(&self, stretch: &Stretch) -> impl Iterator<Item = Run> {
        let (mut at, end) = (stretch.first, stretch.end);
        std::iter::from_fn(move || {
            let first = self.taken.find(at, end, false);
            at = self.taken.find(first, end, true);
            (first < end).then_some(Run { first, end: at })
        })
    }

    /// The stretches of `from..to` that have a free run of so many seats.
    pub fn with_room(&self, from: usize, to: usize, seats: usize) -> impl Iterator<Item = usize> {
        let seats = u16::try_from(seats).unwrap_or(u16::MAX);
        let chunks = self.longest[from..to].chunks(CHUNK).enumerate();
        let with_any = chunks.filter(move |(_, chunk)| chunk.iter().fold(0, |a, b| a.max(*b)) >= seats);
        with_any.flat_map(move |(i, chunk)| {
            let first = from + i * CHUNK;
            chunk.iter().enumerate().filter(move |(_, l)| **l >= seats).map(move |(j, _)| first + j)
        })
    }

    /// How many seats would be left alone beside a run of free seats, were it taken: free ones with neither
    /// neighbour free any more.
    pub fn orphans(&self, stretch: &Stretch, run: Run) -> usize {
        let is_free =
            |seat: SeatIndex| (stretch.first..stretch.end).contains(&seat) && !self.taken.contains(seat);
        // Below the first seat of all there is none: wrapping leads out of every stretch.
        let left = run.first.wrapping_sub(1);
        let alone_left = is_free(left) && !is_free(left.wrapping_sub(1));
        let alone_right = is_free(run.end) && !is_free(run.end + 1);
        usize::from(alone_left) + usize::from(alone_right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::sample_plan::sample_plan;
    use proptest::prelude::*;

    proptest! {
        /// However seats come and go, the runs are those of a hall that is measured anew.
        #[test]
        fn runs_are_kept_up_to_date(steps in prop::collection::vec((any::<bool>(), 0u32..120), 0..300)) {
            let plan = Arc::new(Plan::parse(sample_plan(110).to_string().as_bytes()).unwrap());
            let mut hall = Hall::new(plan.clone(), SeatSet::new(110));
            for (take, seat) in steps {
                let was = hall.taken().contains(seat);
                let changed = if take { hall.take(seat) } else { hall.free(seat) };
                prop_assert_eq!(changed, seat < 110 && was != take);
            }
            let anew = Hall::new(plan, hall.taken().clone());
            prop_assert_eq!(&hall.longest, &anew.longest);
            for seats in 0..60 {
                let plain: Vec<_> = (0..3).filter(|s| usize::from(anew.longest[*s]) >= seats).collect();
                prop_assert_eq!(hall.with_room(0, 3, seats).collect::<Vec<_>>(), plain);
            }
        }
    }
}
