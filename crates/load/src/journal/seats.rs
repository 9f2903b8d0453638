//! The seats and the bookings as the journal tells of them, mirrored as the line counts them.

use super::findings::{Findings, Rule};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus,
    ids::Seq,
    journal::{Change, Installed},
    plan::SeatIndex,
    seats::SeatSet,
};

/// A booking as the journal has it.
#[derive(Clone, Debug)]
pub(super) struct Booked {
    pub id: Uuid,
    /// The place whose grant it spent, once that was told.
    pub seq: Option<Seq>,
    pub status: BookingStatus,
    seats: Box<[SeatIndex]>,
    /// When it was told of first, and last.
    pub told: (i64, i64),
}

impl Booked {
    pub fn is_live(&self) -> bool {
        self.status != BookingStatus::Released
    }

    /// Its seats, in the order in which they were told.
    pub fn seats(&self) -> &[SeatIndex] {
        &self.seats
    }
}

/// All seats of the sale.
#[derive(Default)]
pub(super) struct Seats {
    count: usize,
    booked: SeatSet,
    blocked: SeatSet,
    /// Free seats: neither booked nor blocked.
    free: i64,
    /// Which booking has a seat, by its place in `bookings`.
    owners: Vec<Option<u32>>,
    bookings: Vec<Booked>,
    index: HashMap<Uuid, u32>,
    held: HashSet<Uuid>,
    /// Holds that the line began its life with and the journal has not told of.
    held_unknown: u64,
    /// Seats that were booked when a life of the line began, and the journal had not told of it.
    unheard: SeatSet,
    /// Seats that were told to be a booking's while they were another's. A release may be told late.
    doubts: Vec<(SeatIndex, u32, u32)>,
}

impl Seats {
    /// Of a plan of so many seats, of which nothing is told yet.
    pub fn new(count: usize) -> Self {
        Self {
            count,
            booked: SeatSet::new(count),
            blocked: SeatSet::new(count),
            unheard: SeatSet::new(count),
            owners: vec![None; count],
            ..Self::default()
        }
    }

    /// The line begins a life. Answers how many seats are booked that the journal had not told of.
    pub fn install(&mut self, installed: &Installed, findings: &mut Findings) -> usize {
        if installed.seats != self.count as u64 {
            let (count, seats) = (self.count, installed.seats);
            findings.add(Rule::Seats, None, || format!("the line has {seats} seats, and the plan {count}"));
        }
        let booked = SeatSet::from_seats(self.count, installed.booked.iter().copied());
        let unheard: Vec<SeatIndex> = booked.iter().filter(|seat| !self.booked.contains(*seat)).collect();
        unheard.iter().for_each(|seat| _ = self.unheard.insert(*seat));
        self.booked = booked;
        self.held_unknown = installed.held.saturating_sub(self.held.len() as u64);
        self.recount();
        unheard.len()
    }

    /// Whether these were booked before the line was lost, unheard.
    pub fn were_unheard(&self, seats: &[SeatIndex]) -> bool {
        !seats.is_empty() && seats.iter().all(|seat| self.unheard.contains(*seat))
    }

    /// What became of these is told. Answers how many of them were unheard of until then.
    pub fn hear(&mut self, seats: &[SeatIndex]) -> usize {
        seats.iter().filter(|seat| self.unheard.remove(**seat)).count()
    }

    pub fn block(&mut self, blocked: &[SeatIndex]) {
        self.blocked = SeatSet::from_seats(self.count, blocked.iter().copied());
        self.recount();
    }

    fn recount(&mut self) {
        let taken =
            self.blocked.iter().filter(|seat| !self.booked.contains(*seat)).count() + self.booked.len();
        self.free = self.count as i64 - taken as i64;
    }

    /// Seats that nobody has.
    pub fn free(&self) -> i64 {
        self.free
    }

    /// Seats of the plan.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Seats that are booked or held.
    pub fn taken(&self) -> usize {
        self.booked.len()
    }

    pub fn is_taken(&self, seat: SeatIndex) -> bool {
        self.booked.contains(seat)
    }

    /// Bookings that are held.
    pub fn held(&self) -> u64 {
        self.held.len() as u64 + self.held_unknown
    }

    pub fn bookings(&self) -> &[Booked] {
        &self.bookings
    }

    pub fn find(&self, id: Uuid) -> Option<&Booked> {
        self.index.get(&id).map(|at| &self.bookings[*at as usize])
    }

    /// Whether a booking that lives by its last word has no seat any more: they were put right without it.
    pub fn is_put_right(&self, booked: &Booked) -> bool {
        let at = self.index.get(&booked.id).copied();
        !booked.seats.iter().any(|seat| at.is_some() && self.owners.get(*seat as usize) == Some(&at))
    }

    /// The changes of one entry. What is freed in it is freed before what is booked, but for a booking that is new in it.
    pub fn change(&mut self, at: i64, booked: &[Change], freed: &[Change], findings: &mut Findings) {
        let is_new = |change: &&Change| {
            change.booking.is_some_and(|id| booked.iter().any(|new| new.booking == Some(id)))
        };
        let is_live =
            |change: &&Change| change.booking.and_then(|id| self.find(id)).is_some_and(Booked::is_live);
        let (late, early): (Vec<_>, Vec<_>) =
            freed.iter().partition(|change| is_new(change) && !is_live(change));
        for change in early.into_iter().chain(booked).chain(late) {
            findings.over(Rule::Seats, 1);
            self.one(at, change, findings);
        }
    }

    fn one(&mut self, at: i64, change: &Change, findings: &mut Findings) {
        let frees = change.status == BookingStatus::Released;
        let owner = change.booking.map(|id| self.tell(at, id, change, findings));
        for seat in change.seats.iter().copied() {
            if seat as usize >= self.count {
                findings
                    .add(Rule::Seats, None, || format!("seat {seat} is none of the plan's {}", self.count));
                continue;
            }
            let changed = if frees { self.booked.remove(seat) } else { self.booked.insert(seat) };
            if changed && !self.blocked.contains(seat) {
                self.free += if frees { 1 } else { -1 };
            }
            let known = &mut self.owners[seat as usize];
            if frees {
                // By its booking, or put right without one.
                if owner.is_none() || *known == owner {
                    *known = None;
                }
            } else if let Some(owner) = owner
                && let Some(other) = known.replace(owner).filter(|other| *other != owner)
            {
                self.doubts.push((seat, other, owner));
            }
        }
    }

    /// A booking is told of: where it is in `bookings`.
    fn tell(&mut self, at: i64, id: Uuid, change: &Change, findings: &mut Findings) -> u32 {
        let index = *self.index.entry(id).or_insert_with(|| {
            let (seq, seats, told) = (None, Box::default(), (at, at));
            self.bookings.push(Booked { id, seq, status: change.status, seats, told });
            self.bookings.len() as u32 - 1
        });
        let booked = &mut self.bookings[index as usize];
        if booked.seats.is_empty() {
            booked.seats = change.seats.clone().into();
        } else if !change.seats.is_empty() && *booked.seats != *change.seats {
            findings.add(Rule::Seats, None, || {
                format!("booking {id} had the seats {:?} and has {:?}", booked.seats, change.seats)
            });
        }
        if change.seq.is_some() && booked.seq.is_some() && booked.seq != change.seq {
            findings.add(Rule::Seats, None, || format!("booking {id} is of two places"));
        }
        booked.seq = booked.seq.or(change.seq);
        booked.status = change.status;
        booked.told.1 = at;
        if change.status == BookingStatus::Held {
            self.held.insert(id);
        } else if !self.held.remove(&id) && booked.told.0 == at {
            self.held_unknown = self.held_unknown.saturating_sub(u64::from(change.seq.is_none()));
        }
        index
    }

    /// Seats that two bookings live on, by their last words.
    pub fn finish(&self, is_live: impl Fn(&Booked) -> bool, findings: &mut Findings) {
        for (seat, one, other) in &self.doubts {
            let (one, other) = (&self.bookings[*one as usize], &self.bookings[*other as usize]);
            if one.is_live() && other.is_live() && is_live(one) && is_live(other) {
                findings.add(Rule::Seats, None, || {
                    format!("seat {seat} was sold twice: bookings {} and {}", one.id, other.id)
                });
            }
        }
    }
}
