//! A set of seats as a bitmap: bit i, least significant first, is seat i in plan order.

use super::plan::SeatIndex;
use base64::{Engine, prelude::BASE64_STANDARD};

/// A set of seats of one plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeatSet {
    bytes: Vec<u8>,
    seats: usize,
    len: usize,
}

impl SeatSet {
    /// The empty set over a plan of `seats` seats.
    pub fn new(seats: usize) -> Self {
        Self { bytes: vec![0; seats.div_ceil(8)], seats, len: 0 }
    }

    /// The set of the given seats; those beyond the plan are left out.
    pub fn from_seats(seats: usize, members: impl IntoIterator<Item = SeatIndex>) -> Self {
        let mut set = Self::new(seats);
        members.into_iter().for_each(|seat| {
            set.insert(seat);
        });
        set
    }

    /// Whether the seat is in the set.
    pub fn contains(&self, seat: SeatIndex) -> bool {
        self.bytes.get(seat as usize / 8).is_some_and(|byte| byte & (1 << (seat % 8)) != 0)
    }

    /// Adds the seat; false if it was there, or is beyond the plan.
    pub fn insert(&mut self, seat: SeatIndex) -> bool {
        if seat as usize >= self.seats || self.contains(seat) {
            return false;
        }
        self.bytes[seat as usize / 8] |= 1 << (seat % 8);
        self.len += 1;
        true
    }

    /// Takes the seat out; false if it was not there.
    pub fn remove(&mut self, seat: SeatIndex) -> bool {
        if !self.contains(seat) {
            return false;
        }
        self.bytes[seat as usize / 8] &= !(1 << (seat % 8));
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
        (0..self.seats as SeatIndex).filter(|seat| self.contains(*seat))
    }

    /// As Redis keeps bitmaps: most significant bit first.
    pub fn to_redis_bitmap(&self) -> Vec<u8> {
        self.bytes.iter().map(|byte| byte.reverse_bits()).collect()
    }

    /// From Redis' bitmap; bits beyond the plan are left out.
    pub fn from_redis_bitmap(seats: usize, bitmap: &[u8]) -> Self {
        let bit = |seat: &SeatIndex| {
            bitmap.get(*seat as usize / 8).is_some_and(|byte| byte & (0x80 >> (seat % 8)) != 0)
        };
        Self::from_seats(seats, (0..seats as SeatIndex).filter(bit))
    }

    /// Standard base64 with padding, as in `seat_map`.
    pub fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_least_significant_first() {
        let set = SeatSet::from_seats(18, [0, 9, 17, 99]);
        assert_eq!(set.len(), 3);
        assert_eq!(set.bytes, [1, 2, 2]);
        assert_eq!(set.to_base64(), "AQIC");
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 9, 17]);
    }

    #[test]
    fn redis_bitmaps_go_both_ways() {
        let set = SeatSet::from_seats(18, [0, 9, 17]);
        assert_eq!(set.to_redis_bitmap(), [0x80, 0x40, 0x40]);
        assert_eq!(SeatSet::from_redis_bitmap(18, &set.to_redis_bitmap()), set);
        assert!(SeatSet::from_redis_bitmap(18, &[]).is_empty());
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
