//! How each place stands: one byte a place, in one array a life of the line.

use std::collections::{BTreeMap, BTreeSet};
use wire::domain::{ids::Seq, place::Stage};

/// Seqs of one life of a line: those of epoch 2 are above a thousand million.
const SEQS_PER_EPOCH: Seq = 1_000_000_000;
/// Numbers in a row that are no places of the journal: beyond it a seq is none.
const GAP_MAX: u64 = 1_000_000;
/// And in all: a file must not make more of it than memory holds.
const GAPS_MAX: u64 = 64 * GAP_MAX;

const STAGE: u8 = 0b111;
/// It missed its turn once.
const MISSED: u8 = 1 << 3;
/// Its visitor has drawn another since.
const SUCCEEDED: u8 = 1 << 4;
/// It was drawn, or found, in the line's present life.
const HERE: u8 = 1 << 5;

/// All places of a journal.
#[derive(Default)]
pub(super) struct Places {
    lives: BTreeMap<u64, Vec<u8>>,
    /// Numbers in them that are no places.
    gaps: u64,
    /// No smaller seq waits.
    next: Seq,
    waiting: u64,
    /// Who is served ahead of the line.
    pub returned: BTreeSet<Seq>,
}

fn code(stage: Stage) -> u8 {
    match stage {
        Stage::Waiting => 1,
        Stage::Returned => 2,
        Stage::Away => 3,
        Stage::Granted => 4,
        Stage::Booked => 5,
        Stage::Ended => 6,
    }
}

impl Places {
    /// The epoch in which a seq is drawn, and which one of it, from 0.
    fn parts(seq: Seq) -> (u64, usize) {
        let before = seq.saturating_sub(1);
        (before / SEQS_PER_EPOCH + 1, (before % SEQS_PER_EPOCH) as usize)
    }

    /// The first seq of an epoch.
    pub fn first_of(epoch: u64) -> Seq {
        epoch.saturating_sub(1).saturating_mul(SEQS_PER_EPOCH).saturating_add(1)
    }

    fn byte(&self, seq: Seq) -> u8 {
        let (life, at) = Self::parts(seq);
        self.lives.get(&life).and_then(|places| places.get(at)).copied().unwrap_or(0)
    }

    fn byte_mut(&mut self, seq: Seq) -> Option<&mut u8> {
        let (life, at) = Self::parts(seq);
        self.lives.get_mut(&life).and_then(|places| places.get_mut(at))
    }

    /// How a place stands; nothing of one that the journal does not know.
    pub fn stage(&self, seq: Seq) -> Option<Stage> {
        Some(match self.byte(seq) & STAGE {
            1 => Stage::Waiting,
            2 => Stage::Returned,
            3 => Stage::Away,
            4 => Stage::Granted,
            5 => Stage::Booked,
            6 => Stage::Ended,
            _ => return None,
        })
    }

    /// A place that is new here; false if no seq can be so large.
    pub fn add(&mut self, seq: Seq) -> bool {
        let (life, at) = Self::parts(seq);
        let places = self.lives.entry(life).or_default();
        let gap = at.saturating_sub(places.len()) as u64;
        if gap > GAP_MAX || self.gaps + gap > GAPS_MAX {
            return false;
        }
        if at >= places.len() {
            self.gaps += gap;
            places.resize(at + 1, 0);
        }
        places[at] |= HERE;
        self.set(seq, Stage::Waiting);
        true
    }

    /// A place stands otherwise from here on.
    pub fn set(&mut self, seq: Seq, stage: Stage) {
        let before = self.stage(seq);
        let Some(byte) = self.byte_mut(seq) else { return };
        *byte = *byte & !STAGE | code(stage);
        match before {
            Some(Stage::Waiting) => self.waiting -= 1,
            Some(Stage::Returned) => {
                self.returned.remove(&seq);
            }
            _ => {}
        }
        match stage {
            Stage::Waiting => {
                self.waiting += 1;
                self.next = self.next.min(seq);
            }
            Stage::Returned => {
                self.returned.insert(seq);
            }
            _ => {}
        }
    }

    /// The last seq of an epoch that is known; the number before its first if there is none.
    pub fn last_of(&self, epoch: u64) -> Seq {
        Self::first_of(epoch) - 1 + self.lives.get(&epoch).map_or(0, |places| places.len() as u64)
    }

    /// Which turn the place's next one is.
    pub fn turn(&self, seq: Seq) -> u8 {
        u8::from(self.byte(seq) & MISSED != 0)
    }

    /// Its turn went by.
    pub fn miss(&mut self, seq: Seq) {
        if let Some(byte) = self.byte_mut(seq) {
            *byte |= MISSED;
        }
    }

    /// Its visitor draws another; false if he has done so before.
    pub fn succeed(&mut self, seq: Seq) -> bool {
        self.byte_mut(seq).is_none_or(|byte| {
            let is_first = *byte & SUCCEEDED == 0;
            *byte |= SUCCEEDED;
            is_first
        })
    }

    /// Whether it was drawn, or found, in this life of the line.
    pub fn is_here(&self, seq: Seq) -> bool {
        self.byte(seq) & HERE != 0
    }

    /// The line begins another life.
    pub fn another_life(&mut self) {
        self.lives.values_mut().flatten().for_each(|byte| *byte &= !HERE);
    }

    /// How many stand so.
    pub fn count(&self, stage: Stage) -> u64 {
        self.lives.values().flatten().filter(|byte| **byte & STAGE == code(stage)).count() as u64
    }

    /// The how manieth of all places it is.
    pub fn ordinal(&self, seq: Seq) -> u64 {
        let (life, at) = Self::parts(seq);
        self.lives.range(..life).map(|(_, places)| places.len() as u64).sum::<u64>() + at as u64 + 1
    }

    /// How many wait, those that are served ahead of the line included.
    pub fn waiting(&self) -> u64 {
        self.waiting + self.returned.len() as u64
    }

    /// The first `count` seqs of the line.
    pub fn head(&mut self, count: usize) -> Vec<Seq> {
        let mut head = Vec::with_capacity(count.min(self.waiting as usize));
        let (life, at) = Self::parts(self.next);
        for (life, from, places) in
            self.lives.range(life..).map(|(n, places)| (*n, if *n == life { at } else { 0 }, places))
        {
            if head.len() >= count {
                break;
            }
            let first = Self::first_of(life);
            let here = places.iter().enumerate().skip(from).filter(|(_, byte)| **byte & STAGE == 1);
            head.extend(here.take(count - head.len()).map(|(at, _)| first + at as u64));
        }
        if let Some(first) = head.first() {
            self.next = *first;
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_cannot_ask_for_all_memory() {
        let mut places = Places::default();
        let last_of_each_life = (0..1000).map(|life| life * SEQS_PER_EPOCH + GAP_MAX + 1);
        assert_eq!(last_of_each_life.filter(|seq| places.add(*seq)).count(), 64);
    }

    #[test]
    fn the_head_is_the_smallest_that_waits_over_all_lives() {
        let mut places = Places::default();
        for seq in [1, 2, 3, 1_000_000_001, 1_000_000_002] {
            assert!(places.add(seq));
        }
        assert!(!places.add(900_000_000), "no line is so long");
        assert_eq!(places.head(4), [1, 2, 3, 1_000_000_001]);
        for (seq, stage) in [(1, Stage::Granted), (2, Stage::Ended), (3, Stage::Returned)] {
            places.set(seq, stage);
        }
        assert_eq!((places.head(9), places.waiting()), (vec![1_000_000_001, 1_000_000_002], 3));
        places.set(2, Stage::Waiting);
        assert_eq!(places.head(1), [2]);
        assert_eq!(
            (places.last_of(1), places.last_of(2), places.last_of(3)),
            (3, 1_000_000_002, 2_000_000_000)
        );
        assert!(places.succeed(1) && !places.succeed(1));
    }
}
