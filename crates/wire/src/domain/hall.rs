//! A hall on sale: a plan, which of its seats are taken, and what free runs there are. These are kept up to date with
//! every seat, so that a choice looks only where there is room.

use super::{
    plan::{Plan, SeatIndex, Stretch},
    sale::MAX_SEATS_MAX,
    seats::SeatSet,
};
use std::{ops::Range, sync::Arc};

/// Runs of this many seats and of more are counted together: nobody may wish for more.
const LENGTH_MAX: usize = MAX_SEATS_MAX as usize;

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

/// A plan with its taken seats. A clone copies the bitmap and a few numbers a row.
#[derive(Clone, Debug)]
pub struct Hall {
    plan: Arc<Plan>,
    taken: SeatSet,
    /// Longest free run of each stretch.
    longest: Vec<u16>,
    /// The same by the ranks of the plan's ranking.
    ranked: Vec<u16>,
    /// How many free runs of each length there are: in the hall, and then in each zone, up to its longest stretch.
    lengths: Vec<u32>,
    /// Where each zone's are.
    of_zone: Arc<[Range<usize>]>,
}

impl Hall {
    /// The hall with these seats taken.
    pub fn new(plan: Arc<Plan>, taken: SeatSet) -> Self {
        let mut end = LENGTH_MAX + 1;
        let of_zone = plan.zones.iter().map(|zone| {
            let stretches = plan.stretches[zone.clone()].iter();
            let longest = stretches.map(|s| (s.end - s.first) as usize).max().unwrap_or(0);
            let first = end;
            end += longest.min(LENGTH_MAX) + 1;
            first..end
        });
        let of_zone = of_zone.collect();
        let (longest, ranked) = (vec![0; plan.stretches.len()], vec![0; plan.ranking.len()]);
        let mut hall = Self { plan, taken, longest, ranked, lengths: vec![0; end], of_zone };
        (0..hall.longest.len()).for_each(|stretch| hall.count(stretch, 1));
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
        self.change(seat, SeatSet::insert)
    }

    /// The seat is free; false if it was.
    pub fn free(&mut self, seat: SeatIndex) -> bool {
        self.change(seat, SeatSet::remove)
    }

    fn change(&mut self, seat: SeatIndex, change: impl Fn(&mut SeatSet, SeatIndex) -> bool) -> bool {
        if seat as usize >= self.plan.seats.len() {
            return false;
        }
        let stretch = self.plan.stretch_of(seat);
        self.count(stretch, -1);
        let changed = change(&mut self.taken, seat);
        self.count(stretch, 1);
        changed
    }

    /// Counts the runs of a stretch, or takes them out of the count.
    fn count(&mut self, stretch: usize, by: i32) {
        let Self { plan, taken, longest, ranked, lengths, of_zone } = self;
        let place = &plan.stretches[stretch];
        let zone = of_zone[place.zone].start;
        longest[stretch] = 0;
        for run in runs(taken, place) {
            let length = run.len().min(LENGTH_MAX);
            longest[stretch] = longest[stretch].max(length as u16);
            for count in [length, zone + length] {
                lengths[count] = lengths[count].wrapping_add_signed(by);
            }
        }
        plan.ranking.of_stretch(stretch).iter().for_each(|rank| ranked[*rank as usize] = longest[stretch]);
    }

    /// How many free runs of each length there are; the last counts longer ones too, if any.
    pub fn lengths(&self) -> &[u32] {
        &self.lengths[..=LENGTH_MAX]
    }

    /// The same for one zone.
    pub fn lengths_in(&self, zone: usize) -> &[u32] {
        &self.lengths[self.of_zone[zone].clone()]
    }

    /// The longest free run of the hall, as far as it matters.
    pub fn longest(&self) -> usize {
        self.lengths().iter().rposition(|count| *count > 0).unwrap_or(0)
    }

    /// The free runs of a stretch, each as long as can be.
    pub fn runs(&self, stretch: &Stretch) -> impl Iterator<Item = Run> {
        runs(&self.taken, stretch)
    }

    /// Those of these stretches that have a free run of so many seats.
    pub fn with_room(&self, stretches: Range<usize>, seats: usize) -> impl Iterator<Item = usize> {
        roomy(&self.longest, stretches, seats)
    }

    /// Those of these ranks whose stretch has a free run of so many seats, of whatever category.
    pub fn ranks_with_room(&self, ranks: Range<usize>, seats: usize) -> impl Iterator<Item = usize> {
        roomy(&self.ranked, ranks, seats)
    }

    /// The longest free run of the stretch at that rank, as far as it matters.
    pub fn longest_at(&self, rank: usize) -> usize {
        self.ranked[rank].into()
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

fn roomy(longest: &[u16], among: Range<usize>, seats: usize) -> impl Iterator<Item = usize> {
    let seats = seats.min(LENGTH_MAX) as u16;
    let from = among.start;
    let chunks = longest[among].chunks(CHUNK).enumerate();
    let with_any = chunks.filter(move |(_, chunk)| chunk.iter().fold(0, |a, b| a.max(*b)) >= seats);
    with_any.flat_map(move |(i, chunk)| {
        let first = from + i * CHUNK;
        chunk.iter().enumerate().filter(move |(_, l)| **l >= seats).map(move |(j, _)| first + j)
    })
}

fn runs(taken: &SeatSet, stretch: &Stretch) -> impl Iterator<Item = Run> {
    let (mut at, end) = (stretch.first, stretch.end);
    std::iter::from_fn(move || {
        let first = taken.find(at, end, false);
        at = taken.find(first, end, true);
        (first < end).then_some(Run { first, end: at })
    })
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
            prop_assert_eq!(&hall.lengths, &anew.lengths);
            let ranking = &hall.plan().ranking;
            let ranked = (0..ranking.len()).map(|rank| hall.longest[ranking.entry(rank).stretch as usize]);
            prop_assert_eq!(&hall.ranked, &ranked.collect::<Vec<_>>());
            prop_assert_eq!(hall.lengths_in(0), &hall.lengths()[..=50]);
            let free: usize = hall.lengths().iter().enumerate().map(|(l, count)| l * *count as usize).sum();
            prop_assert_eq!(free, 110 - hall.taken().len());
            let longest = hall.longest.iter().max().map_or(0, |longest| usize::from(*longest));
            prop_assert_eq!(hall.longest(), longest);
            for seats in 0..60 {
                let plain: Vec<_> = (0..3).filter(|s| usize::from(anew.longest[*s]) >= seats).collect();
                prop_assert_eq!(hall.with_room(0..3, seats).collect::<Vec<_>>(), plain);
            }
        }
    }
}
