//! The chain: whether every entry is where it was when it was hashed.

use super::{
    findings::{Findings, Rule},
    possible,
};
use wire::domain::{
    ids::SaleId,
    journal::{Batch, Entry, Hash, Head, Tree, Written, entry_leaf, place_leaf},
    line::Position,
};

/// Why a journal of a newer program is not judged from such an entry on.
pub(super) const UNREADABLE: &str = "there are entries that this program cannot read; check with the newest";

/// A head that somebody noted while the sale ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The hash of a batch.
    pub hash: Hash,
    /// That batch's number, if it was noted too.
    pub batch: Option<u64>,
}

/// The chain as far as it was followed.
pub(super) struct Chain {
    sale: SaleId,
    last: Option<Head>,
    /// Where the next entry must be.
    position: Position,
    noted: Vec<(Noted, bool)>,
}

impl Chain {
    pub fn new(sale: SaleId, noted: Vec<Noted>) -> Self {
        let noted = noted.into_iter().map(|noted| (noted, false)).collect();
        Self { sale, last: None, position: Position::default(), noted }
    }

    /// The end so far.
    pub fn head(&self) -> Option<&Head> {
        self.last.as_ref()
    }

    /// Follows one link.
    pub fn follow(
        &mut self,
        batch: &Batch,
        written: &[Written],
        entries: &[Option<Entry>],
        findings: &mut Findings,
    ) {
        findings.over(Rule::Chain, written.len() as u64);
        let (number, previous) =
            self.last.as_ref().map_or((1, Hash::default()), |last| (last.batch.saturating_add(1), last.hash));
        if batch.batch != number {
            findings.add(Rule::Chain, Some(batch.batch), || {
                format!(
                    "batch {} stands where batch {number} must be: batches are missing, or not in order",
                    batch.batch
                )
            });
        } else if batch.previous != previous {
            findings.add(Rule::Chain, Some(batch.batch), || {
                format!("batch {number} does not follow on the batch before it: one of the two was changed or exchanged")
            });
        }
        self.numbers(batch, written, findings);
        let tree = leaves(batch.epoch, written, entries)
            .map(|leaves| (leaves.len() as u64, Tree::new(leaves).root()));
        match tree {
            Some(tree) if tree == (batch.leaves, batch.root) => {}
            Some(_) => findings.add(Rule::Chain, Some(batch.batch), || {
                format!("the entries of batch {} are not those that were hashed: one was changed, moved, dropped or added", batch.batch)
            }),
            None => findings.lack(Rule::Chain, UNREADABLE),
        }
        let head = batch.head(&self.sale);
        for (noted, seen) in &mut self.noted {
            *seen |= noted.hash == head.hash && noted.batch.is_none_or(|number| number == batch.batch);
        }
        self.last = Some(head);
    }

    /// Entries are numbered without a gap, in each life of the line from 1.
    fn numbers(&mut self, batch: &Batch, written: &[Written], findings: &mut Findings) {
        let begins = batch.epoch > self.position.epoch;
        let mut next = if begins { 1 } else { self.position.n.saturating_add(1) };
        let ends = (written.first().map(|w| w.n), written.last().map(|w| w.n));
        if batch.epoch < self.position.epoch || ends != (Some(batch.first), Some(batch.last)) {
            findings.add(Rule::Chain, Some(batch.batch), || {
                format!(
                    "batch {} says entries {} to {} of epoch {}, and has others",
                    batch.batch, batch.first, batch.last, batch.epoch
                )
            });
        }
        // A journal may begin in the middle of a line's life, where an older program had begun it.
        if self.position == Position::default() && written.first().is_some_and(|written| written.n > 1) {
            next = written.first().map_or(next, |written| written.n);
        }
        for Written { n, .. } in written {
            if *n != next {
                findings.add(Rule::Chain, Some(batch.batch), || {
                    format!("entry {n} of epoch {} stands where entry {next} must be", batch.epoch)
                });
            }
            next = n.saturating_add(1);
        }
        self.position = Position { epoch: batch.epoch, n: next - 1 };
    }

    /// The end: what the journal says of its head, and what others noted.
    pub fn finish(&self, said: Option<&Head>, findings: &mut Findings) {
        if said.map(|head| (head.batch, head.hash)) != self.last.as_ref().map(|head| (head.batch, head.hash))
        {
            findings.add(Rule::Chain, None, || match (said, &self.last) {
                (Some(said), Some(last)) => format!(
                    "the journal says that it ends with batch {}, {}, and ends with batch {}, {}",
                    said.batch, said.hash, last.batch, last.hash
                ),
                (Some(said), None) => {
                    format!("the journal says that it ends with batch {}, and has none", said.batch)
                }
                (None, _) => "the journal says that it has no batches, and has some".into(),
            });
        }
        for (noted, _) in self.noted.iter().filter(|(_, seen)| !seen) {
            findings.add(Rule::Chain, None, || {
                let head = self.last.as_ref();
                format!(
                    "the noted head {} is none of this chain, which ends with batch {}: the journal was written anew after \
                     that head was noted, or the head is another sale's, or is newer than this journal",
                    noted.hash,
                    head.map_or(0, |head| head.batch)
                )
            });
        }
    }

    /// How many noted heads were found.
    pub fn noted(&self) -> usize {
        self.noted.iter().filter(|(_, seen)| *seen).count()
    }
}

/// The leaves of a batch's tree; nothing if an entry that drew places is not there, or cannot be read.
pub(super) fn leaves(epoch: u64, written: &[Written], entries: &[Option<Entry>]) -> Option<Vec<Hash>> {
    let places: usize = written.iter().map(|written| written.commitments.len()).sum();
    let mut leaves = Vec::with_capacity(written.len() + places);
    for (Written { n, text, commitments }, entry) in written.iter().zip(entries) {
        let position = Position { epoch, n: *n };
        leaves.push(entry_leaf(position, text));
        if commitments.is_empty() {
            continue;
        }
        let mut hashes = commitments.iter();
        for (seq, hash) in entry.as_ref()?.places().zip(hashes.by_ref()) {
            leaves.push(place_leaf(position, seq, hash));
        }
        // One too many is in no tree.
        leaves.extend(hashes);
    }
    Some(leaves)
}

/// The entries' texts, read; nothing where this program cannot, or where they are of no line.
pub(super) fn read(written: &[Written]) -> Vec<Option<Entry>> {
    written.iter().map(|written| entry(&written.text)).collect()
}

/// The same, of those alone that drew places, which the chain needs: to read them is most of the work.
pub(super) fn read_drawn(written: &[Written]) -> Vec<Option<Entry>> {
    let read = |written: &Written| if written.commitments.is_empty() { None } else { entry(&written.text) };
    written.iter().map(read).collect()
}

/// One entry's text, read.
pub(super) fn entry(text: &str) -> Option<Entry> {
    serde_json::from_str(text).ok().filter(possible::entry)
}
