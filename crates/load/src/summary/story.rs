//! One visitor's story, followed entry by entry: what it adds to the sums, and how it ended.

use super::{
    latency::Times,
    ranks::Ranks,
    series::{Counts, Kind},
};
use crate::{
    clicks::Clicks,
    facts::Micros,
    history::{Entry, Event, Token},
    meters::{Measure, Tally},
};
use uuid::Uuid;
use wire::{
    domain::{booking::BookingStatus, phase::Phase, place::LapseReason},
    protocol::server::PlaceState,
};

/// How many breaches are quoted.
const EXAMPLES_MAX: usize = 10;

/// What all stories add up to.
pub(super) struct Sums {
    pub counts: Counts,
    pub times: Times,
    pub ranks: Ranks,
    pub refused: Tally,
    pub clicks: Clicks,
    pub lapsed: Tally,
    pub cuts: Tally,
    pub arrived: u64,
    pub joined: u64,
    pub admitted: u64,
    pub bookings: u64,
    pub reconnects: u64,
    pub redeems_unknown: u64,
    pub breaches: u64,
    pub breach_examples: Vec<String>,
}

impl Sums {
    pub fn new(origin: Micros, ranks_of_every: u32) -> Self {
        Self {
            counts: Counts::new(origin),
            times: Times::default(),
            ranks: Ranks::new(origin, ranks_of_every),
            refused: Tally::default(),
            clicks: Clicks::default(),
            lapsed: Tally::default(),
            cuts: Tally::default(),
            arrived: 0,
            joined: 0,
            admitted: 0,
            bookings: 0,
            reconnects: 0,
            redeems_unknown: 0,
            breaches: 0,
            breach_examples: Vec::new(),
        }
    }
}

/// How a visitor stands.
#[derive(Default)]
pub(super) struct Story {
    arrived: Option<Micros>,
    joined: bool,
    in_line: bool,
    granted: bool,
    /// Since when he waits for the grant of his present place.
    waits_since: Option<Micros>,
    /// The latest of his connections, and how many are open.
    connection: u32,
    open: u32,
    cut_at: Option<Micros>,
    redeems: Vec<Redeem>,
    bookings: Vec<Bought>,
    ended: Option<LapseReason>,
    phase: Option<Phase>,
    sold_out: bool,
}

struct Redeem {
    connection: u32,
    request: String,
    intended: Micros,
    /// Of seats that he clicked on.
    is_click: bool,
}

struct Bought {
    booking: Uuid,
    seats: i64,
    sold: bool,
}

impl Story {
    /// Follows one entry.
    pub fn see(&mut self, Entry(at, visitor, connection, event): Entry, sums: &mut Sums) {
        match event {
            Event::Arrive { intended } => {
                if self.arrived.is_none() {
                    self.arrived = Some(intended);
                    sums.arrived += 1;
                    sums.counts.add(Kind::Arrivals, intended, 1);
                }
            }
            Event::Join { .. } => self.opens(at, connection, sums),
            Event::Joined { state, rank, phase, .. } => {
                self.phase = Some(phase);
                self.joined(at, state, sums);
                if state == PlaceState::Waiting {
                    sums.ranks.see(visitor, at, Some(rank));
                }
            }
            Event::Rank(rank) => sums.ranks.see(visitor, at, Some(rank)),
            Event::Granted { .. } => self.granted(at, visitor, sums),
            Event::Lapsed(reason) => {
                sums.lapsed.add(reason.as_str());
                sums.ranks.see(visitor, at, None);
                self.place_is_over(at, sums);
                self.ended = Some(reason);
            }
            // What a bot plays with other tokens is no redeem of anybody's.
            Event::Redeem { token, .. } if token != Token::Own => {}
            Event::Redeem { request, intended, seats, .. } => {
                self.redeems.push(Redeem { connection, request, intended, is_click: seats.is_some() });
            }
            Event::Booking { request, booking, seats, status, .. } => {
                if self.answered(at, connection, request.as_deref(), Measure::Redeem, sums) {
                    sums.clicks.see(None, false);
                }
                self.place_is_over(at, sums);
                self.booked(at, booking, seats.len() as i64, status != BookingStatus::Released, sums);
            }
            Event::Refused { request, reason, shown_free } => {
                sums.refused.add(&reason);
                if self.answered(at, connection, Some(&request), Measure::Refused, sums) {
                    sums.clicks.see(shown_free, reason == "seat_taken");
                }
                self.sold_out |= reason == "sold_out";
            }
            Event::Phase(phase) => self.phase = Some(phase),
            Event::Breach(words) => {
                sums.breaches += 1;
                if sums.breach_examples.len() < EXAMPLES_MAX {
                    sums.breach_examples.push(format!("visitor {visitor}: {words}"));
                }
            }
            Event::Cut(code) => {
                sums.ranks.see(visitor, at, None);
                self.cut(at, connection, code, sums);
            }
            Event::Seats | Event::Leave => {}
        }
    }

    /// A connection's first message.
    fn opens(&mut self, at: Micros, connection: u32, sums: &mut Sums) {
        if connection <= self.connection {
            return;
        }
        sums.reconnects += u64::from(self.connection > 0);
        self.connection = connection;
        self.open += 1;
        sums.counts.add(Kind::Sockets, at, 1);
    }

    fn joined(&mut self, at: Micros, state: PlaceState, sums: &mut Sums) {
        if let Some(cut_at) = self.cut_at.take() {
            sums.times.record(Measure::Reconnect, cut_at, at);
        }
        if !std::mem::replace(&mut self.joined, true) {
            sums.joined += 1;
            sums.counts.add(Kind::Joined, at, 1);
            if let Some(intended) = self.arrived {
                sums.times.record(Measure::Join, intended, at);
            }
        }
        match state {
            PlaceState::Waiting => {
                self.ended = None;
                // Were he granted before, that turn went by while he was away.
                self.granted = false;
                self.waits_since.get_or_insert(at);
                if !std::mem::replace(&mut self.in_line, true) {
                    sums.counts.add(Kind::InLine, at, 1);
                }
            }
            PlaceState::Granted => {
                self.ended = None;
                self.leaves_line(at, sums);
                if !self.granted {
                    self.waits_since.get_or_insert(at);
                }
            }
            PlaceState::Booked => self.place_is_over(at, sums),
        }
    }

    fn granted(&mut self, at: Micros, visitor: u32, sums: &mut Sums) {
        self.ended = None;
        self.leaves_line(at, sums);
        // Told again after a reconnect, it is the same grant.
        if std::mem::replace(&mut self.granted, true) {
            return;
        }
        sums.admitted += 1;
        sums.counts.add(Kind::Admitted, at, 1);
        if let Some(since) = self.waits_since.take() {
            sums.times.record(Measure::Wait, since, at);
        }
        sums.ranks.see(visitor, at, Some(0));
        sums.ranks.see(visitor, at, None);
    }

    /// The answer to a redeem, if he waits for it; whether that was a click on seats.
    fn answered(
        &mut self,
        at: Micros,
        connection: u32,
        request: Option<&str>,
        measure: Measure,
        sums: &mut Sums,
    ) -> bool {
        let is_it = |r: &Redeem| r.connection == connection && Some(r.request.as_str()) == request;
        let Some(found) = self.redeems.iter().position(is_it) else { return false };
        let Redeem { intended, is_click, .. } = self.redeems.swap_remove(found);
        self.redeems.shrink_to_fit();
        sums.times.record(measure, intended, at);
        is_click
    }

    fn booked(&mut self, at: Micros, booking: Uuid, seats: i64, sold: bool, sums: &mut Sums) {
        let known = self.bookings.iter().position(|bought| bought.booking == booking);
        let known = known.unwrap_or_else(|| {
            sums.bookings += 1;
            // Most have one, and a vector would make room for four.
            self.bookings.reserve_exact(1);
            self.bookings.push(Bought { booking, seats, sold: false });
            self.bookings.len() - 1
        });
        let bought = &mut self.bookings[known];
        if std::mem::replace(&mut bought.sold, sold) != sold {
            sums.counts.add(Kind::Seats, at, if sold { bought.seats } else { -bought.seats });
        }
    }

    fn cut(&mut self, at: Micros, connection: u32, code: Option<u16>, sums: &mut Sums) {
        sums.cuts.add(&code.map_or_else(|| "none".to_owned(), |code| code.to_string()));
        let before = self.redeems.len();
        self.redeems.retain(|redeem| redeem.connection != connection);
        sums.redeems_unknown += (before - self.redeems.len()) as u64;
        if connection <= self.connection && self.open > 0 {
            self.open -= 1;
            sums.counts.add(Kind::Sockets, at, -1);
        }
        // Not when a second tab lives on; and failed attempts after the loss are part of the way back.
        if self.joined && self.open == 0 {
            self.cut_at.get_or_insert(at);
        }
    }

    fn place_is_over(&mut self, at: Micros, sums: &mut Sums) {
        self.leaves_line(at, sums);
        self.granted = false;
        self.waits_since = None;
    }

    fn leaves_line(&mut self, at: Micros, sums: &mut Sums) {
        if std::mem::replace(&mut self.in_line, false) {
            sums.counts.add(Kind::InLine, at, -1);
        }
    }

    /// Seats that he has.
    pub fn seats(&self) -> i64 {
        self.bookings.iter().filter(|bought| bought.sold).map(|bought| bought.seats).sum()
    }

    /// Redeems that have no answer still.
    pub fn unanswered(&self) -> u64 {
        self.redeems.len() as u64
    }

    /// How it ended, in one word.
    pub fn outcome(&self) -> &'static str {
        let is_told = |phase| self.phase == Some(phase);
        match self.ended {
            _ if self.bookings.iter().any(|bought| bought.sold) => "booked",
            Some(LapseReason::Left) => "left",
            Some(LapseReason::Missed) => "missed",
            Some(LapseReason::Expired) => "expired",
            Some(LapseReason::Closed) => "closed",
            None if self.sold_out || is_told(Phase::SoldOut) => "sold_out",
            None if is_told(Phase::Closed) => "closed",
            None if self.granted => "still_granted",
            None if self.in_line => "still_waiting",
            None if self.joined => "other",
            None => "never_joined",
        }
    }
}
