//! The live seat map: what is taken as far as this instance knows, and the numbered changes of it that are shown.
//! PostgreSQL alone judges; this saves its time and the visitors' clicks.

use std::{collections::HashSet, sync::Arc, time::Instant};
use tokio::sync::Notify;
use uuid::Uuid;
use wire::{
    domain::{
        hall::Hall,
        plan::{Plan, SeatIndex},
        seats::SeatSet,
    },
    protocol::server::ServerMessage,
};

/// Seats booked, held and blocked.
pub struct SeatMap {
    booked: SeatSet,
    blocked: SeatSet,
    /// Booked or blocked: what nobody can choose now.
    hall: Hall,
    /// What was last published.
    shown: SeatSet,
    /// Seats that were taken or freed since then, and since when.
    touched: Vec<SeatIndex>,
    touched_at: Option<Instant>,
    /// Whether somebody who watches was given a map with changes that are not published yet.
    peeked: bool,
    /// Version of what was last published.
    version: u64,
    held: HashSet<Uuid>,
    changed: Arc<Notify>,
}

/// What changed from one version to the next.
#[derive(Debug, PartialEq)]
pub struct SeatNews {
    /// The next version.
    pub version: u64,
    /// For everyone who watches.
    pub message: ServerMessage,
    /// When the oldest of the changes came about, as far as this instance knows.
    pub since: Instant,
}

impl SeatMap {
    /// A map of the plan's seats, all free.
    pub fn new(plan: Arc<Plan>) -> Self {
        let none = SeatSet::new(plan.seats.len());
        Self {
            booked: none.clone(),
            blocked: none.clone(),
            hall: Hall::new(plan, none.clone()),
            shown: none,
            touched: Vec::new(),
            touched_at: None,
            peeked: false,
            version: 1,
            held: HashSet::new(),
            changed: Arc::default(),
        }
    }

    /// Booked or blocked seats.
    pub fn taken(&self) -> &SeatSet {
        self.hall.taken()
    }

    /// The hall to choose from.
    pub fn hall(&self) -> &Hall {
        &self.hall
    }

    /// Booked seats, whether blocked or not.
    pub fn booked(&self) -> &SeatSet {
        &self.booked
    }

    /// The bookings that are only held.
    pub fn held(&self) -> &HashSet<Uuid> {
        &self.held
    }

    /// Whether any booking is only held.
    pub fn any_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether whoever watches was last shown all these seats as free.
    pub fn shows_free(&self, seats: &[SeatIndex]) -> bool {
        seats.iter().all(|seat| !self.shown.contains(*seat))
    }

    /// Told of whenever there is something to publish.
    pub fn changed(&self) -> Arc<Notify> {
        self.changed.clone()
    }

    /// A booking was made or changed, now; or only its seats are known.
    pub fn book(&mut self, booking: Option<Uuid>, held: bool, seats: &[SeatIndex]) {
        self.book_at(booking, held, seats, Instant::now());
    }

    /// A booking was made or changed.
    pub fn book_at(&mut self, booking: Option<Uuid>, held: bool, seats: &[SeatIndex], at: Instant) {
        seats.iter().for_each(|seat| {
            self.booked.insert(*seat);
        });
        if let Some(booking) = booking {
            self.hold(booking, held);
        }
        self.touch(seats, at);
    }

    /// A booking was released.
    pub fn free_at(&mut self, booking: Option<Uuid>, seats: &[SeatIndex], at: Instant) {
        seats.iter().for_each(|seat| {
            self.booked.remove(*seat);
        });
        if let Some(booking) = booking {
            self.hold(booking, false);
        }
        self.touch(seats, at);
    }

    /// Whether a booking is only held.
    pub fn hold(&mut self, booking: Uuid, held: bool) {
        if held {
            self.held.insert(booking);
        } else {
            self.held.remove(&booking);
        }
    }

    /// The operator's choice of blocked seats.
    pub fn block(&mut self, blocked: SeatSet) {
        let changed: Vec<_> = self.blocked.differences(&blocked).collect();
        self.blocked = blocked;
        self.touch(&changed, Instant::now());
    }

    /// Everything anew, from a store.
    pub fn replace(&mut self, booked: SeatSet, held: HashSet<Uuid>) {
        let changed: Vec<_> = self.booked.differences(&booked).collect();
        self.booked = booked;
        self.held = held;
        self.touch(&changed, Instant::now());
    }

    fn touch(&mut self, seats: &[SeatIndex], at: Instant) {
        let known = self.touched.len();
        for seat in seats {
            let is_taken = self.booked.contains(*seat) || self.blocked.contains(*seat);
            if if is_taken { self.hall.take(*seat) } else { self.hall.free(*seat) } {
                self.touched.push(*seat);
            }
        }
        if self.touched.len() > known {
            self.touched_at = Some(self.touched_at.map_or(at, |known| known.min(at)));
            self.changed.notify_one();
        }
    }

    /// The changes since the last version, if any: the next version.
    pub fn publish(&mut self) -> Option<SeatNews> {
        let mut touched = std::mem::take(&mut self.touched);
        let since = self.touched_at.take()?;
        touched.sort_unstable();
        touched.dedup();
        // Who peeked may have seen a seat taken that is free again: he is told of all.
        let peeked = std::mem::take(&mut self.peeked);
        let (mut taken, mut freed) = (Vec::new(), Vec::new());
        for seat in touched {
            if self.hall.taken().contains(seat) {
                if self.shown.insert(seat) || peeked {
                    taken.push(seat);
                }
            } else if self.shown.remove(seat) || peeked {
                freed.push(seat);
            }
        }
        if taken.is_empty() && freed.is_empty() {
            return None;
        }
        self.version += 1;
        let version = self.version;
        Some(SeatNews { version, message: ServerMessage::SeatsChanged { version, taken, freed }, since })
    }

    /// The whole map as it is, and the version that the next published changes follow on: they may tell again of what
    /// is in the map already.
    pub fn peek(&mut self, watches: bool) -> (u64, SeatSet) {
        self.peeked |= watches && !self.touched.is_empty();
        (self.version, self.hall.taken().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }
    use wire::domain::sample_plan::sample_plan;

    fn map(seats: u32) -> SeatMap {
        SeatMap::new(Arc::new(Plan::parse(sample_plan(seats).to_string().as_bytes()).unwrap()))
    }

    fn published(map: &mut SeatMap) -> Option<(u64, Vec<SeatIndex>, Vec<SeatIndex>)> {
        match map.publish()?.message {
            ServerMessage::SeatsChanged { version, taken, freed } => Some((version, taken, freed)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn versions_tell_each_change_once() {
        let mut map = map(10);
        assert_eq!(map.publish(), None);
        map.book(Some(id(1)), true, &[2, 1]);
        map.book(Some(id(1)), true, &[1, 2]);
        assert_eq!(published(&mut map), Some((2, vec![1, 2], vec![])));
        assert!(map.any_held());
        map.free_at(Some(id(1)), &[1, 2], Instant::now());
        map.book(Some(id(2)), false, &[2]);
        assert_eq!(published(&mut map), Some((3, vec![], vec![1])), "seat 2 was free for nobody to see");
        assert_eq!(map.publish(), None);
        assert_eq!(map.peek(true), (3, SeatSet::from_seats(10, [2])));
        assert!(!map.any_held());
    }

    #[test]
    fn a_blocked_seat_is_taken_until_unblocked_and_free() {
        let mut map = map(4);
        map.block(SeatSet::from_seats(4, [0, 1]));
        map.book(Some(id(1)), false, &[1]);
        assert_eq!(map.taken().iter().collect::<Vec<_>>(), [0, 1]);
        map.block(SeatSet::new(4));
        assert_eq!(map.taken().iter().collect::<Vec<_>>(), [1]);
        map.replace(SeatSet::new(4), HashSet::new());
        assert!(map.taken().is_empty());
    }

    /// A map that was given in between has what is not published yet; whatever becomes of that, its owner hears of it.
    #[test]
    fn who_peeked_is_told_how_it_came_out() {
        let mut map = map(10);
        map.book(Some(id(1)), true, &[1, 2]);
        let (version, mut seen) = map.peek(true);
        assert_eq!((version, seen.len()), (1, 2), "with every booking so far");
        map.free_at(Some(id(1)), &[1, 2], Instant::now());
        map.book(Some(id(2)), false, &[2, 3]);
        let (next, taken, freed) = published(&mut map).unwrap();
        assert_eq!(next, version + 1);
        assert!(taken.iter().all(|seat| seen.insert(*seat) || *seat == 2));
        assert!(freed.iter().all(|seat| seen.remove(*seat)));
        assert_eq!(&seen, map.taken());
        map.book(Some(id(3)), false, &[4]);
        map.peek(false);
        map.free_at(Some(id(3)), &[4], Instant::now());
        assert_eq!(map.publish(), None, "who does not watch needs no news");
    }

    #[test]
    fn a_seat_is_shown_free_until_its_booking_is_published() {
        let mut map = map(10);
        map.book(Some(id(1)), false, &[1]);
        assert!(map.shows_free(&[1, 2]) && map.taken().contains(1));
        let since = Instant::now();
        assert!(map.publish().unwrap().since <= since, "the age counts from the booking");
        assert!(!map.shows_free(&[1, 2]) && map.shows_free(&[2]));
    }

    #[tokio::test]
    async fn changes_wake_whoever_publishes_and_repetitions_do_not() {
        let mut map = map(10);
        let changed = map.changed();
        let woken =
            async || tokio::time::timeout(std::time::Duration::ZERO, changed.notified()).await.is_ok();
        map.book(Some(id(1)), false, &[1]);
        assert!(woken().await);
        map.book(Some(id(1)), false, &[1]);
        assert!(!woken().await);
    }
}
