//! The rank board: which seqs are in the line, and how many are before each. A bitmap in blocks with prefix
//! counts, so that Redis works by changes of the line and not by the number of those who watch it.

use wire::domain::ids::Seq;

const WORDS: usize = 64;
/// Seqs in a block.
const BLOCK: u64 = 64 * WORDS as u64;
/// Of a block as it is written for another instance: its number and its words.
const BLOCK_BYTES: usize = 8 * (1 + WORDS);

#[derive(Clone)]
struct Block {
    number: u64,
    /// Members in all blocks before this one.
    before: u64,
    members: u64,
    words: Box<[u64; WORDS]>,
}

impl Block {
    fn new(number: u64) -> Self {
        Self { number, before: 0, members: 0, words: Box::new([0; WORDS]) }
    }
}

/// The seqs in the line. After changes, [`Board::recount`] before the next rank.
#[derive(Clone, Default)]
pub struct Board {
    /// Sorted by number; none is empty.
    blocks: Vec<Block>,
    len: u64,
}

impl Board {
    /// Adds a seq; adding it again changes nothing.
    pub fn insert(&mut self, seq: Seq) {
        let number = seq / BLOCK;
        let index = self.blocks.binary_search_by_key(&number, |b| b.number).unwrap_or_else(|at| {
            self.blocks.insert(at, Block::new(number));
            at
        });
        let (word, bit) = split(seq);
        let block = &mut self.blocks[index];
        if block.words[word] & bit == 0 {
            block.words[word] |= bit;
            block.members += 1;
            self.len += 1;
        }
    }

    /// Takes a seq out; one that is not there changes nothing.
    pub fn remove(&mut self, seq: Seq) {
        let Ok(index) = self.blocks.binary_search_by_key(&(seq / BLOCK), |b| b.number) else { return };
        let (word, bit) = split(seq);
        let block = &mut self.blocks[index];
        if block.words[word] & bit != 0 {
            block.words[word] &= !bit;
            block.members -= 1;
            self.len -= 1;
            if block.members == 0 {
                self.blocks.remove(index);
            }
        }
    }

    /// Makes the prefix counts true again.
    pub fn recount(&mut self) {
        let mut before = 0;
        for block in &mut self.blocks {
            block.before = before;
            before += block.members;
        }
    }

    /// Whether the seq is in the line; also before a recount.
    pub fn has(&self, seq: Seq) -> bool {
        let index = self.blocks.binary_search_by_key(&(seq / BLOCK), |b| b.number);
        let (word, bit) = split(seq);
        index.is_ok_and(|index| self.blocks[index].words[word] & bit != 0)
    }

    /// How many are before this seq; nothing if it is not in the line.
    pub fn rank(&self, seq: Seq) -> Option<u64> {
        let index = self.blocks.binary_search_by_key(&(seq / BLOCK), |b| b.number).ok()?;
        let (word, bit) = split(seq);
        let block = &self.blocks[index];
        if block.words[word] & bit == 0 {
            return None;
        }
        let full: u32 = block.words[..word].iter().map(|w| w.count_ones()).sum();
        let partial = (block.words[word] & (bit - 1)).count_ones();
        Some(block.before + u64::from(full) + u64::from(partial))
    }

    /// For another instance.
    pub fn to_bytes(&self) -> Vec<u8> {
        let block = |block: &Block| [block.number].into_iter().chain(block.words.iter().copied()).collect();
        let numbers: Vec<u64> = self.blocks.iter().flat_map(|one| -> Vec<u64> { block(one) }).collect();
        numbers.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    /// What another instance wrote; nothing if it did not.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut board = Self::default();
        if !bytes.len().is_multiple_of(BLOCK_BYTES) {
            return None;
        }
        for block in bytes.chunks_exact(BLOCK_BYTES) {
            let mut numbers =
                block.chunks_exact(8).filter_map(|eight| Some(u64::from_le_bytes(eight.try_into().ok()?)));
            let mut block = Block::new(numbers.next()?);
            block.words.iter_mut().zip(numbers).for_each(|(word, number)| *word = number);
            block.members = block.words.iter().map(|word| u64::from(word.count_ones())).sum();
            let follows = board.blocks.last().is_none_or(|last| last.number < block.number);
            if !follows || block.members == 0 {
                return None;
            }
            board.len += block.members;
            board.blocks.push(block);
        }
        board.recount();
        Some(board)
    }

    /// How many are in the line.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nobody is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn split(seq: Seq) -> (usize, u64) {
    (((seq % BLOCK) / 64) as usize, 1 << (seq % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Against the plain thing: a sorted set, counted one by one.
        #[test]
        fn ranks_are_those_of_a_sorted_set(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0u64..300, 4000u64..4200, 5_000_000_000u64..5_000_000_100]), 0..400)
        ) {
            let (mut board, mut set) = (Board::default(), BTreeSet::new());
            for (insert, seq) in steps {
                if insert { board.insert(seq); set.insert(seq); } else { board.remove(seq); set.remove(&seq); }
            }
            board.recount();
            prop_assert_eq!(board.len(), set.len() as u64);
            prop_assert!((0..300).all(|seq| board.has(seq) == set.contains(&seq)));
            for (rank, seq) in set.iter().enumerate() {
                prop_assert_eq!(board.rank(*seq), Some(rank as u64));
            }
            let copy = Board::from_bytes(&board.to_bytes()).unwrap();
            prop_assert_eq!(copy.len(), board.len());
            prop_assert!(set.iter().all(|seq| copy.rank(*seq) == board.rank(*seq)));
            for absent in (0..300).filter(|seq| !set.contains(seq)) {
                prop_assert_eq!(board.rank(absent), None);
            }
        }
    }

    #[test]
    fn what_is_no_board_is_not_taken_for_one() {
        let mut board = Board::default();
        [5, 5_000].iter().for_each(|seq| board.insert(*seq));
        let bytes = board.to_bytes();
        let swapped = [&bytes[BLOCK_BYTES..], &bytes[..BLOCK_BYTES]].concat();
        let empty = [0; BLOCK_BYTES];
        for wrong in [&bytes[1..], &swapped, &empty] {
            assert!(Board::from_bytes(wrong).is_none());
        }
        assert!(Board::from_bytes(&[]).unwrap().is_empty());
    }
}
