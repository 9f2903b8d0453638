//! How every place stands after all that a journal says: what a line that was lost is restored from.

use super::Entry;
use crate::domain::{
    ids::Seq,
    place::{LapseReason, Stage},
};
use std::collections::HashMap;

/// All places of a journal.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    places: HashMap<Seq, Place>,
    grants: HashMap<Seq, LiveGrant>,
    /// Grants given in all.
    pub admitted: u64,
    /// Grants lapsed in all.
    pub lapsed: u64,
    /// When the last entry was written, in Redis' milliseconds.
    pub at: i64,
}

/// How a place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where.
    pub stage: Stage,
    /// 0 for the first turn, 1 after a missed one.
    pub turn: u8,
    /// Seats that its visitor had booked when it was drawn.
    pub owned: u32,
}

/// A grant that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveGrant {
    /// When it ends, in Redis' milliseconds.
    pub deadline_ms: i64,
    /// When it counts as missed; 0 once it was used.
    pub claim_ms: i64,
}

impl Ledger {
    /// The place of that number.
    pub fn place(&self, seq: Seq) -> Option<Place> {
        self.places.get(&seq).copied()
    }

    /// Its grant, if one lives.
    pub fn grant(&self, seq: Seq) -> Option<LiveGrant> {
        self.grants.get(&seq).copied()
    }

    /// The places whose grants live.
    pub fn granted(&self) -> impl Iterator<Item = Seq> {
        self.grants.keys().copied()
    }

    /// A grant was spent, or ended, though no entry says so.
    pub fn end(&mut self, seq: Seq, stage: Stage) {
        self.grants.remove(&seq);
        self.to(seq, stage);
    }

    /// Goes on by one entry, in the order within it: the scripts' own.
    pub fn apply(&mut self, entry: &Entry) {
        self.at = entry.at;
        for grant in self.grants.values_mut() {
            grant.deadline_ms += entry.shifted;
            grant.claim_ms += if grant.claim_ms == 0 { 0 } else { entry.shifted };
        }
        let waiting = Place { stage: Stage::Waiting, turn: 0, owned: 0 };
        for (first, last) in &entry.drawn {
            self.places.extend((*first..=*last).map(|seq| (seq, waiting)));
        }
        for (seq, _, owned) in &entry.again {
            self.places.entry(*seq).and_modify(|place| place.owned = *owned);
        }
        for seq in &entry.found {
            self.places.entry(*seq).or_insert(waiting);
        }
        entry.returned.iter().for_each(|seq| self.to(*seq, Stage::Returned));
        entry.lapsed.iter().for_each(|(seq, reason)| self.lapse(*seq, *reason));
        entry.away.iter().for_each(|seq| self.to(*seq, Stage::Away));
        for admitted in &entry.admitted {
            self.to(admitted.seq, Stage::Granted);
            self.grants
                .insert(admitted.seq, LiveGrant { deadline_ms: entry.deadline, claim_ms: entry.claim });
        }
        self.admitted += entry.admitted.len() as u64;
        for seq in &entry.claimed {
            self.grants.entry(*seq).and_modify(|grant| grant.claim_ms = 0);
        }
        for seq in &entry.left {
            // A turn that was given up is one that lapsed, as the scripts count.
            self.lapsed += u64::from(self.grants.contains_key(seq));
            self.end(*seq, Stage::Ended);
        }
        entry.booked.iter().filter_map(|change| change.seq).for_each(|seq| self.end(seq, Stage::Booked));
    }

    fn to(&mut self, seq: Seq, stage: Stage) {
        if let Some(place) = self.places.get_mut(&seq).filter(|place| !place.stage.has_ended()) {
            place.stage = stage;
        }
    }

    fn lapse(&mut self, seq: Seq, reason: LapseReason) {
        self.lapsed += 1;
        if reason != LapseReason::Missed {
            return self.end(seq, Stage::Ended);
        }
        self.end(seq, Stage::Away);
        self.places.entry(seq).and_modify(|place| place.turn = 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::journal::Admitted;

    fn ledger(entries: &[Entry]) -> Ledger {
        let mut ledger = Ledger::default();
        entries.iter().for_each(|entry| ledger.apply(entry));
        ledger
    }

    fn admitted(seqs: &[Seq], turn: u8) -> Entry {
        let admitted = seqs.iter().map(|seq| Admitted { seq: *seq, turn, returned: turn > 0 }).collect();
        Entry { admitted, deadline: 1000, claim: 500, ..Entry::default() }
    }

    fn drawn(first: Seq, last: Seq) -> Entry {
        Entry { drawn: vec![(first, last)], ..Entry::default() }
    }

    #[test]
    fn a_turn_that_was_used_keeps_its_deadline_alone() {
        let claimed = Entry { claimed: vec![2], ..Entry::default() };
        let shifted = Entry { shifted: 70, ..Entry::default() };
        let ledger = ledger(&[drawn(1, 3), admitted(&[1, 2], 0), claimed, shifted]);
        assert_eq!(ledger.grant(1), Some(LiveGrant { deadline_ms: 1070, claim_ms: 570 }));
        assert_eq!(ledger.grant(2), Some(LiveGrant { deadline_ms: 1070, claim_ms: 0 }));
        assert_eq!((ledger.place(3).unwrap().stage, ledger.admitted), (Stage::Waiting, 2));
    }

    #[test]
    fn a_missed_turn_is_kept_once_and_what_has_ended_stays_ended() {
        let missed = Entry { lapsed: vec![(1, LapseReason::Missed)], ..Entry::default() };
        let mut ledger = ledger(&[drawn(1, 1), admitted(&[1], 0), missed]);
        assert_eq!(ledger.place(1), Some(Place { stage: Stage::Away, turn: 1, owned: 0 }));
        ledger.apply(&Entry { returned: vec![1], ..Entry::default() });
        ledger.apply(&admitted(&[1], 1));
        ledger.apply(&Entry { lapsed: vec![(1, LapseReason::Expired)], ..Entry::default() });
        ledger.apply(&Entry { found: vec![1, 9], returned: vec![1], ..Entry::default() });
        assert_eq!((ledger.place(1).unwrap().stage, ledger.grant(1)), (Stage::Ended, None));
        assert_eq!((ledger.place(9).unwrap().stage, ledger.lapsed), (Stage::Waiting, 2));
    }
}
