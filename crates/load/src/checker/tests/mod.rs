//! Small histories in memory, healthy and doctored.

mod planted;
mod simulated;
mod simulator;

use super::*;
use crate::history::{Entry, Event, Footer, Header, Part, Token};
use uuid::Uuid;
use wire::{
    domain::{
        booking::BookingStatus,
        ids::{GrantKey, SaleId},
        phase::Phase,
        place::Stage,
    },
    protocol::server::PlaceState as Standing,
};

pub const MS: Micros = 1000;
pub const S: Micros = 1_000_000;

pub fn settings() -> SaleSettings {
    SaleSettings {
        opens_at: None,
        rate: 10.0,
        max_active: 20,
        grant_ttl_s: 300,
        claim_s: 60,
        away_s: 30,
        max_seats: 4,
        hold_ttl_s: 0,
    }
}

pub fn sale() -> SaleId {
    SaleId::parse("demo").unwrap()
}

pub fn name(visitor: u32) -> String {
    format!("visitor-{visitor}")
}

/// A history and what the stores hold at its end.
pub struct Recorded {
    pub entries: Vec<Entry>,
    pub settings: Option<SaleSettings>,
    pub lag_us: Option<Micros>,
    pub ended_us: Micros,
    /// Entries that the footer speaks of and that are not there.
    pub missing: u64,
    pub state: FinalState,
}

impl Recorded {
    pub fn new() -> Self {
        let line = LineState { epoch: 1, ..LineState::default() };
        let shop = ShopState { sale: sale(), settings: settings(), bookings: Vec::new(), seats: Vec::new() };
        Self {
            entries: Vec::new(),
            settings: Some(settings()),
            lag_us: Some(0),
            ended_us: 0,
            missing: 0,
            state: FinalState { line: Some(line), shop: Some(shop) },
        }
    }

    /// So many visitors who join one after another, are let in ten a second from 20 s on, and book a second later.
    pub fn healthy(visitors: u32) -> Self {
        let mut recorded = Self::new();
        for v in 0..visitors {
            let (arrives, granted) = (u64::from(v) * 10 * MS, 20 * S + u64::from(v) * 100 * MS);
            let booking = Uuid::from_u128(u128::from(v) + 1);
            let told = [
                (arrives, 0, Event::Arrive { intended: arrives }),
                (arrives, 1, Event::Join { again: false }),
                (arrives + 5 * MS, 1, joined(v, u64::from(v) + 1, u64::from(v))),
                (granted - 50 * MS, 1, Event::Rank(0)),
                (granted, 1, grant()),
                (granted + 5 * MS, 1, Event::Seats),
                (granted + S, 1, redeem("r1", Token::Own)),
                (granted + S + 9 * MS, 1, booked(Some("r1"), booking, &[&seat(v)])),
                (granted + S + 9 * MS, 1, Event::Cut(None)),
            ];
            recorded.entries.extend(told.map(|(at, connection, event)| Entry(at, v, connection, event)));
            recorded.keep(v, u64::from(v) + 1, Stage::Booked);
            recorded.sell(v, u64::from(v) + 1, booking, &[&seat(v)]);
        }
        recorded.ended_us = 20 * S + u64::from(visitors) * 100 * MS + 2 * S;
        recorded
    }

    pub fn line(&mut self) -> &mut LineState {
        self.state.line.as_mut().unwrap()
    }

    pub fn shop(&mut self) -> &mut ShopState {
        self.state.shop.as_mut().unwrap()
    }

    /// Redis has this place.
    pub fn keep(&mut self, v: u32, seq: u64, stage: Stage) {
        let (visitor, line) = (fingerprint(&name(v)), self.line());
        line.places.push(PlaceState { visitor, seq, stage });
        match stage {
            Stage::Waiting => line.line.push((visitor, seq)),
            Stage::Returned => line.returned.push((visitor, seq)),
            Stage::Away => line.away.push((visitor, seq)),
            Stage::Granted => line.grants.push(visitor),
            Stage::Booked | Stage::Ended => {}
        }
    }

    /// PostgreSQL has this booking.
    pub fn sell(&mut self, v: u32, seq: u64, booking: Uuid, seats: &[&str]) {
        let seats: Vec<String> = seats.iter().map(ToString::to_string).collect();
        let shop = self.shop();
        shop.seats.extend(seats.iter().map(|seat| (seat.clone(), booking)));
        shop.bookings.push(ShopBooking {
            booking,
            grant: GrantKey { seq, turn: 0 }.grant_id(&sale()),
            visitor: fingerprint(&name(v)),
            seats,
            status: BookingStatus::Confirmed,
        });
    }

    pub fn put(&mut self, at: Micros, v: u32, connection: u32, event: Event) {
        self.entries.push(Entry(at, v, connection, event));
    }

    /// The first entry of that visitor of that kind.
    pub fn find(&mut self, v: u32, which: impl Fn(&Event) -> bool) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.1 == v && which(&entry.3)).unwrap()
    }

    /// Leaves out what follows in that visitor's story.
    pub fn stop(&mut self, v: u32, from: Micros) {
        self.entries.retain(|entry| entry.1 != v || entry.0 < from);
        let (visitor, shop) = (fingerprint(&name(v)), self.shop());
        let gone: Vec<Uuid> =
            shop.bookings.iter().filter(|b| b.visitor == visitor).map(|b| b.booking).collect();
        shop.bookings.retain(|booking| booking.visitor != visitor);
        shop.seats.retain(|(_, by)| !gone.contains(by));
        self.line().places.retain(|place| place.visitor != visitor);
    }

    pub fn verdicts(&self) -> Vec<Verdict> {
        let mut log = Log::default();
        for (line, entry) in self.entries.iter().enumerate() {
            log.take(line as u64 + 2, entry.clone());
        }
        let entries = self.entries.len() as u64 + self.missing;
        let footer = self.lag_us.map(|lag_us| Footer { ended_us: self.ended_us, entries, lag_us });
        log.part_done(Part { path: "h.jsonl".into(), header: header(self.settings.clone()), footer });
        check(&mut log, &self.state)
    }

    /// The invariants that are found violated.
    pub fn violated(&self) -> Vec<Invariant> {
        let verdicts = self.verdicts();
        let violated = verdicts.iter().filter(|verdict| verdict.status == Status::Violated);
        violated.map(|verdict| verdict.invariant).collect()
    }

    /// The first example of the one violation that there is, and its lines.
    pub fn example(&self, invariant: Invariant) -> Violation {
        assert_eq!(self.violated(), [invariant], "{:#?}", self.verdicts());
        self.verdicts()[invariant.number()].examples[0].clone()
    }
}

fn header(settings: Option<SaleSettings>) -> Header {
    Header {
        history: 1,
        run: "r".into(),
        part: (1, 1),
        scenario: "steady".into(),
        sale: "demo".into(),
        seats: 1000,
        visitors: 0,
        started_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        started_us: 0,
        machine: "m".into(),
        ranks_of_every: 1,
        settings,
    }
}

pub fn seat(v: u32) -> String {
    format!("A-{v}")
}

pub fn joined(v: u32, seq: u64, rank: u64) -> Event {
    stands(v, Some(seq), Standing::Waiting, rank)
}

pub fn stands(v: u32, seq: Option<u64>, state: Standing, rank: u64) -> Event {
    let visitor = Some(name(v));
    Event::Joined { visitor, seq, epoch: 1, state, rank, total: 0, phase: Phase::Open }
}

pub fn grant() -> Event {
    Event::Granted { expires_in_ms: 300_000, claim_in_ms: Some(60_000), max_seats: 4 }
}

pub fn redeem(request: &str, token: Token) -> Event {
    Event::Redeem { request: request.into(), intended: 0, token, seats: None, best: Some(1) }
}

pub fn booked(request: Option<&str>, booking: Uuid, seats: &[&str]) -> Event {
    Event::Booking {
        request: request.map(Into::into),
        booking,
        seats: seats.iter().map(ToString::to_string).collect(),
        status: BookingStatus::Confirmed,
        hold_expires_in_ms: None,
    }
}

pub fn refused(request: &str, reason: &str) -> Event {
    Event::Refused { request: request.into(), reason: reason.into(), shown_free: None }
}
