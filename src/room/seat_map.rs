//! The live seat map: what is taken as far as this instance knows, and the numbered changes of it that are shown.
//! PostgreSQL alone judges; this saves its time and the visitors' clicks.

use crate::{
    domain::{plan::SeatIndex, seats::SeatSet},
    protocol::server::{SeatMap as SeatMapMessage, ServerMessage},
};
use std::collections::{BTreeSet, HashSet};

/// Seats booked, held and blocked.
pub struct SeatMap {
    booked: SeatSet,
    blocked: SeatSet,
    /// Booked or blocked: what nobody can choose now.
    taken: SeatSet,
    /// What was last published.
    shown: SeatSet,
    /// Seats that may differ from what was published.
    touched: BTreeSet<SeatIndex>,
    /// Version of what was last published.
    version: u64,
    held: HashSet<String>,
}

impl SeatMap {
    /// A map of so many seats.
    pub fn new(seats: usize) -> Self {
        let none = SeatSet::new(seats);
        Self {
            booked: none.clone(),
            blocked: none.clone(),
            taken: none.clone(),
            shown: none,
            touched: BTreeSet::new(),
            version: 1,
            held: HashSet::new(),
        }
    }

    /// Booked or blocked seats.
    pub fn taken(&self) -> &SeatSet {
        &self.taken
    }

    /// Booked seats, whether blocked or not.
    pub fn booked(&self) -> &SeatSet {
        &self.booked
    }

    /// The bookings that are only held.
    pub fn held(&self) -> &HashSet<String> {
        &self.held
    }

    /// Whether any booking is only held.
    pub fn any_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// A booking was made or changed.
    pub fn book(&mut self, booking: &str, held: bool, seats: &[SeatIndex]) {
        seats.iter().for_each(|seat| {
            self.booked.insert(*seat);
        });
        if held {
            self.held.insert(booking.to_owned());
        } else {
            self.held.remove(booking);
        }
        self.touch(seats);
    }

    /// A booking was released.
    pub fn free(&mut self, booking: &str, seats: &[SeatIndex]) {
        seats.iter().for_each(|seat| {
            self.booked.remove(*seat);
        });
        self.held.remove(booking);
        self.touch(seats);
    }

    /// The operator's choice of blocked seats.
    pub fn block(&mut self, blocked: SeatSet) {
        let changed: Vec<_> = self.blocked.iter().chain(blocked.iter()).collect();
        self.blocked = blocked;
        self.touch(&changed);
    }

    /// Everything anew, from a store.
    pub fn replace(&mut self, booked: SeatSet, held: impl IntoIterator<Item = String>) {
        let changed: Vec<_> = self.booked.iter().chain(booked.iter()).collect();
        self.booked = booked;
        self.held = held.into_iter().collect();
        self.touch(&changed);
    }

    fn touch(&mut self, seats: &[SeatIndex]) {
        for seat in seats {
            if self.booked.contains(*seat) || self.blocked.contains(*seat) {
                self.taken.insert(*seat);
            } else {
                self.taken.remove(*seat);
            }
        }
        self.touched.extend(seats);
    }

    /// The changes since the last version, if any: the next version.
    pub fn publish(&mut self) -> Option<(u64, ServerMessage)> {
        let (mut taken, mut freed) = (Vec::new(), Vec::new());
        for seat in std::mem::take(&mut self.touched) {
            if self.taken.contains(seat) {
                if self.shown.insert(seat) {
                    taken.push(seat);
                }
            } else if self.shown.remove(seat) {
                freed.push(seat);
            }
        }
        if taken.is_empty() && freed.is_empty() {
            return None;
        }
        self.version += 1;
        Some((self.version, ServerMessage::SeatsChanged { version: self.version, taken, freed }))
    }

    /// The whole map as last published.
    pub fn message(&self) -> SeatMapMessage {
        SeatMapMessage { version: self.version, taken: self.shown.to_base64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_tell_each_change_once() {
        let mut map = SeatMap::new(10);
        assert_eq!(map.publish(), None);
        map.book("a", true, &[1, 2]);
        map.book("a", true, &[1, 2]);
        let first = ServerMessage::SeatsChanged { version: 2, taken: vec![1, 2], freed: vec![] };
        assert_eq!(map.publish(), Some((2, first)));
        assert!(map.any_held());
        map.free("a", &[1, 2]);
        map.book("b", false, &[2]);
        let second = ServerMessage::SeatsChanged { version: 3, taken: vec![], freed: vec![1] };
        assert_eq!(map.publish(), Some((3, second)));
        assert_eq!(map.publish(), None);
        assert_eq!(map.message(), SeatMapMessage { version: 3, taken: "BAA=".into() });
        assert!(!map.any_held());
    }

    #[test]
    fn a_blocked_seat_is_taken_until_unblocked_and_free() {
        let mut map = SeatMap::new(4);
        map.block(SeatSet::from_seats(4, [0, 1]));
        map.book("a", false, &[1]);
        assert_eq!(map.taken().iter().collect::<Vec<_>>(), [0, 1]);
        map.block(SeatSet::new(4));
        assert_eq!(map.taken().iter().collect::<Vec<_>>(), [1]);
        map.replace(SeatSet::new(4), []);
        assert!(map.taken().is_empty());
    }
}
