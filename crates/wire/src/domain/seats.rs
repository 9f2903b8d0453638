//! A set of seats as a bitmap: bit i, least significant first, is seat i in plan order. Whatever goes over the whole
//! set goes by words of 64 seats: a million seats are 16,000 of them.

use super::plan::SeatIndex;
use base64::{Engine, prelude::BASE64_STANDARD};

/// Seats in a word.
const WORD: usize = 64;

/// A set of seats of one plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeatSet {
    /// Bits beyond the plan are 0.
    words: Vec<u64>,
    seats: usize,
    len: usize,
}

impl SeatSet {
    /// The empty set over a plan of `seats` seats.
    pub fn new(seats: usize) -> Self {
        Self { words: vec![0; seats.div_ceil(WORD)], seats, len: 0 }
    }

    /// The set of the given seats; those beyond the plan are left out.
    pub fn from_seats(seats: usize, members: impl IntoIterator<Item = SeatIndex>) -> Self {
        let mut set = Self::new(seats);
        members.into_iter().for_each(|seat| {
            set.insert(seat);
        });
        set
    }

    fn from_words(seats: usize, words: impl Iterator<Item = u64>) -> Self {
        let mut set = Self::new(seats);
        set.words.iter_mut().zip(words).for_each(|(word, from)| *word = from);
        if let Some(last) = set.words.last_mut()
            && !seats.is_multiple_of(WORD)
        {
            *last &= (1 << (seats % WORD)) - 1;
        }
        set.len = set.words.iter().map(|word| word.count_ones() as usize).sum();
        set
    }

    /// Whether the seat is in the set.
    pub fn contains(&self, seat: SeatIndex) -> bool {
        self.words.get(seat as usize / WORD).is_some_and(|word| word & bit(seat) != 0)
    }

    /// Adds the seat; false if it was there, or is beyond the plan.
    pub fn insert(&mut self, seat: SeatIndex) -> bool {
        if seat as usize >= self.seats || self.contains(seat) {
            return false;
        }
        self.words[seat as usize / WORD] |= bit(seat);
        self.len += 1;
        true
    }

    /// Takes the seat out; false if it was not there.
    pub fn remove(&mut self, seat: SeatIndex) -> bool {
        if !self.contains(seat) {
            return false;
        }
        self.words[seat as usize / WORD] &= !bit(seat);
        self.len -= 1;
        true
    }

    /// How many seats are in the set.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The seats in the set, in plan order.
    pub fn iter(&self) -> impl Iterator<Item = SeatIndex> + '_ {
        self.words.iter().enumerate().flat_map(|(i, word)| members(i, *word))
    }

    /// The seats that are in only one of two sets of the same plan, in plan order.
    pub fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = SeatIndex> + 'a {
        self.words.iter().zip(&other.words).enumerate().flat_map(|(i, (a, b))| members(i, a ^ b))
    }

    /// The first seat from `from` on, and before `end`, that is in the set (`member`) or is not; else `end`.
    pub fn find(&self, from: SeatIndex, end: SeatIndex, member: bool) -> SeatIndex {
        let mut at = from;
        while at < end {
            let Some(word) = self.words.get(at as usize / WORD) else { break };
            let wanted = if member { *word } else { !word } >> (at as usize % WORD);
            if wanted != 0 {
                return end.min(at + wanted.trailing_zeros());
            }
            at = (at / WORD as SeatIndex + 1) * WORD as SeatIndex;
        }
        end
    }

    /// As Redis keeps bitmaps: most significant bit first.
    pub fn to_redis_bitmap(&self) -> Vec<u8> {
        self.bytes(|word| word.reverse_bits().to_be_bytes())
    }

    /// From Redis' bitmap; bits beyond the plan are left out.
    pub fn from_redis_bitmap(seats: usize, bitmap: &[u8]) -> Self {
        Self::from_words(seats, words(bitmap).map(|bytes| u64::from_be_bytes(bytes).reverse_bits()))
    }

    /// Standard base64 with padding, as in `seat_map`.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.bytes(u64::to_le_bytes))
    }

    /// From a `seat_map`; nothing if that is no base64, or not as long as the plan.
    pub fn from_base64(seats: usize, text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok().filter(|bytes| bytes.len() == seats.div_ceil(8))?;
        Some(Self::from_words(seats, words(&bytes).map(u64::from_le_bytes)))
    }

    /// One byte for each eight seats.
    fn bytes(&self, of: impl Fn(u64) -> [u8; 8]) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| of(*word)).collect();
        bytes.truncate(self.seats.div_ceil(8));
        bytes
    }
}

fn bit(seat: SeatIndex) -> u64 {
    1 << (seat as usize % WORD)
}

/// The seats whose bits are set in word `index`.
fn members(index: usize, mut word: u64) -> impl Iterator<Item = SeatIndex> {
    std::iter::from_fn(move || {
        let seat = (word != 0).then(|| (index * WORD) as SeatIndex + word.trailing_zeros())?;
        word &= word - 1;
        Some(seat)
    })
}

/// Eight bytes at a time; what is missing from the last is 0.
fn words(bytes: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        word
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bits_are_least_significant_first() {
        let set = SeatSet::from_seats(18, [0, 9, 17, 99]);
        assert_eq!(set.len(), 3);
        assert_eq!(set.to_base64(), "AQIC");
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 9, 17]);
    }

    #[test]
    fn redis_bitmaps_go_both_ways() {
        let set = SeatSet::from_seats(18, [0, 9, 17]);
        assert_eq!(set.to_redis_bitmap(), [0x80, 0x40, 0x40]);
        assert_eq!(SeatSet::from_redis_bitmap(18, &set.to_redis_bitmap()), set);
        assert!(SeatSet::from_redis_bitmap(18, &[]).is_empty());
        assert_eq!(SeatSet::from_redis_bitmap(18, &[0xff; 9]).len(), 18, "bits beyond the plan are left out");
    }

    #[test]
    fn base64_that_is_no_map_of_this_plan_is_refused() {
        assert_eq!(SeatSet::from_base64(18, "AQIC"), Some(SeatSet::from_seats(18, [0, 9, 17])));
        assert_eq!(SeatSet::from_base64(18, "/////w=="), None);
        assert_eq!(SeatSet::from_base64(18, "?"), None);
        assert_eq!(SeatSet::from_base64(18, "////").unwrap().len(), 18);
    }

    proptest! {
        /// By words against seat by seat.
        #[test]
        fn what_goes_by_words_is_what_each_seat_says(
            seats in 1usize..200,
            a in prop::collection::btree_set(0u32..200, 0..120),
            b in prop::collection::btree_set(0u32..200, 0..120),
            (from, end) in (0u32..200, 0u32..200),
        ) {
            let (a, b) = (SeatSet::from_seats(seats, a), SeatSet::from_seats(seats, b));
            let all = 0..seats as SeatIndex;
            prop_assert!(a.iter().eq(all.clone().filter(|s| a.contains(*s))));
            prop_assert_eq!(a.len(), a.iter().count());
            prop_assert!(a.differences(&b).eq(all.filter(|s| a.contains(*s) != b.contains(*s))));
            prop_assert_eq!(&SeatSet::from_redis_bitmap(seats, &a.to_redis_bitmap()), &a);
            prop_assert_eq!(SeatSet::from_base64(seats, &a.to_base64()), Some(a.clone()));
            let end = end.min(seats as SeatIndex);
            for member in [false, true] {
                let found = (from..end).find(|seat| a.contains(*seat) == member).unwrap_or(end);
                prop_assert_eq!(a.find(from, end, member), found);
            }
        }
    }

    #[test]
    fn insert_and_remove_tell_whether_they_changed_anything() {
        let mut set = SeatSet::new(10);
        assert!(set.insert(3));
        assert!(!set.insert(3));
        assert!(!set.insert(10));
        assert!(set.remove(3));
        assert!(!set.remove(3));
        assert!(set.is_empty());
    }
}
