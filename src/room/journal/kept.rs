//! Entries that this instance has heard and that are not journaled yet, as far as it knows: Redis may lose them until then.

use crate::store::{journal::Tail, line::stream::Entry};
use std::{collections::VecDeque, sync::Arc};
use wire::domain::{journal::Hash, line::Position};

/// Bytes of entries that are kept. More waits only while PostgreSQL is away; the stream has it then.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Entries in the order in which they were heard.
#[derive(Default)]
pub(super) struct Kept {
    entries: VecDeque<(Position, Arc<str>)>,
    bytes: usize,
}

impl Kept {
    pub fn add(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.bytes += entry.text.len();
            self.entries.push_back((entry.position, entry.text.clone()));
        }
        while self.bytes > KEPT_BYTES_MAX && self.drop_first() {}
    }

    /// What is before this is journaled. The entry there stays: it tells whether the journal has what was heard here.
    pub fn drop_before(&mut self, position: Position) {
        while self.entries.front().is_some_and(|(first, _)| *first < position) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) -> bool {
        let first = self.entries.pop_front();
        self.bytes -= first.as_ref().map_or(0, |(_, text)| text.len());
        first.is_some()
    }

    /// What comes after the journal's end, without a gap, in lives before `epoch`. Nothing if another history is journaled
    /// than was heard here.
    pub fn after(&self, tail: &Tail, epoch: u64) -> Vec<Entry> {
        let journaled = self.entries.iter().find(|(position, _)| *position == tail.position);
        if journaled.is_some_and(|(_, text)| Hash::of(text) != tail.source) {
            return Vec::new();
        }
        let mut last = tail.position;
        let mut next = Vec::new();
        for (position, text) in &self.entries {
            if *position > last && position.epoch < epoch {
                if !super::follows(*position, last) {
                    break;
                }
                last = *position;
                next.push(Entry::read(*position, text.clone()));
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(epoch: u64, n: u64) -> Entry {
        Entry::read(Position { epoch, n }, format!("{{\"at\":{n}}}").into())
    }

    fn tail(epoch: u64, n: u64) -> Tail {
        let (position, source) = (Position { epoch, n }, entry(epoch, n).source());
        Tail { batch: 1, position, hash: Hash::default(), source }
    }

    fn positions(entries: Vec<Entry>) -> Vec<(u64, u64)> {
        entries.iter().map(|entry| (entry.position.epoch, entry.position.n)).collect()
    }

    #[test]
    fn what_follows_the_journal_without_a_gap_is_known() {
        let mut kept = Kept::default();
        kept.add(&[entry(1, 4), entry(1, 5), entry(1, 6), entry(2, 1), entry(3, 1)]);
        kept.drop_before(Position { epoch: 1, n: 5 });
        assert_eq!(positions(kept.after(&tail(1, 5), 3)), [(1, 6), (2, 1)]);
        assert_eq!(positions(kept.after(&tail(1, 3), 3)), [], "4 is gone");
        assert_eq!(positions(kept.after(&tail(1, 6), 2)), [], "the life that is being restored is not lost");
    }

    #[test]
    fn who_heard_another_history_is_no_witness() {
        let mut kept = Kept::default();
        kept.add(&[entry(1, 5), entry(1, 6)]);
        let other = Tail { source: Hash([1; 32]), ..tail(1, 5) };
        assert_eq!(positions(kept.after(&other, 2)), []);
    }
}
