//! How long `waitroom check` takes and how much memory: `cargo bench --bench check [-- VISITORS]`.
//!
//! Writes the history of a healthy sale (a million visitors who come within 100 s, 1,000 admissions a second, everyone
//! books), reads it as the command does, and checks it against a matching final state of the stores.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use load::{
    checker::{FinalState, LineState, Log, PlaceState, ShopBooking, ShopState, Status, check, fingerprint},
    history::{Entry, Event, Footer, Header, Token, VERSION, read},
};
use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
    time::Instant,
};
use uuid::Uuid;
use wire::{
    domain::{
        booking::BookingStatus,
        ids::{GrantKey, SaleId},
        phase::Phase,
        place::Stage,
        sale::SaleSettings,
    },
    protocol::server,
};

const MS: u64 = 1000;
const S: u64 = 1000 * MS;
const OPENS: u64 = 120 * S;

fn settings() -> SaleSettings {
    SaleSettings {
        opens_at: None,
        rate: 1000.0,
        max_active: 10_000,
        grant_ttl_s: 300,
        claim_s: 60,
        away_s: 300,
        max_seats: 4,
        hold_ttl_s: 0,
    }
}

fn name(visitor: u64) -> String {
    format!("{:032x}", u128::from(visitor) * 0x9E37_79B9_7F4A_7C15)
}

/// What happens to a visitor, in order.
fn entry(visitor: u64, step: usize) -> Entry {
    let (arrives, granted) = (visitor * 100, OPENS + visitor * MS);
    let request = || format!("r{visitor}");
    let (after, connection, event) = match step {
        0 => (arrives, 0, Event::Arrive { intended: arrives }),
        1 => (arrives + MS, 1, Event::Join { again: false }),
        2 => {
            let (seq, state) = (Some(visitor + 1), server::PlaceState::Waiting);
            let (id, phase) = (Some(name(visitor)), Phase::Open);
            let joined =
                Event::Joined { visitor: id, seq, epoch: 1, state, rank: visitor, total: visitor, phase };
            (arrives + 9 * MS, 1, joined)
        }
        3 => (granted - 30 * S, 1, Event::Rank(visitor.min(30_000))),
        4 => (granted, 1, Event::Granted { expires_in_ms: 300_000, claim_in_ms: Some(60_000), max_seats: 4 }),
        5 => (granted + MS, 1, Event::Seats),
        6 => {
            let (token, best) = (Token::Own, Some(1));
            (
                granted + S,
                1,
                Event::Redeem { request: request(), intended: granted + S, token, seats: None, best },
            )
        }
        7 => {
            let (booking, seats) = (Uuid::from_u128(u128::from(visitor) + 1), vec![format!("B-3-{visitor}")]);
            let (status, hold_expires_in_ms) = (BookingStatus::Confirmed, None);
            let request = Some(request());
            (granted + S + 9 * MS, 1, Event::Booking { request, booking, seats, status, hold_expires_in_ms })
        }
        _ => (granted + S + 10 * MS, 1, Event::Cut(None)),
    };
    Entry(after, visitor as u32, connection, event)
}

/// Writes down what happens to all, in order of time.
fn write(path: &Path, visitors: u64) -> u64 {
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(path).unwrap());
    let header = Header {
        history: VERSION,
        run: "bench".into(),
        part: (1, 1),
        scenario: "bench".into(),
        sale: "bench".into(),
        seats: visitors,
        visitors,
        started_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        started_us: 0,
        machine: "bench".into(),
        ranks_of_every: 100,
        settings: Some(settings()),
    };
    serde_json::to_writer(&mut file, &header).unwrap();
    file.write_all(b"\n").unwrap();
    let mut heads: Vec<(Entry, u64, usize)> = (0..9).map(|step| (entry(0, step), 0, step)).collect();
    let mut entries = 0;
    while let Some(at) = (0..heads.len()).min_by_key(|i| heads[*i].0.0) {
        let (next, visitor, step) = &mut heads[at];
        if *step != 3 || visitor.is_multiple_of(100) {
            serde_json::to_writer(&mut file, next).unwrap();
            file.write_all(b"\n").unwrap();
            entries += 1;
        }
        *visitor += 1;
        *next = entry(*visitor, *step);
        if *visitor == visitors {
            heads.swap_remove(at);
        }
    }
    let footer = Footer { ended_us: OPENS + visitors * MS + 2 * S, entries, lag_us: 2 * MS };
    serde_json::to_writer(&mut file, &footer).unwrap();
    file.write_all(b"\n").unwrap();
    file.flush().unwrap();
    entries
}

fn final_state(visitors: u64) -> FinalState {
    let sale = SaleId::parse("bench").unwrap();
    let place = |v| PlaceState { visitor: fingerprint(&name(v)), seq: v + 1, stage: Stage::Booked };
    let booking = |v| ShopBooking {
        booking: Uuid::from_u128(u128::from(v) + 1),
        grant: GrantKey { seq: v + 1, turn: 0 }.grant_id(&sale),
        visitor: fingerprint(&name(v)),
        seats: vec![format!("B-3-{v}")],
        status: BookingStatus::Confirmed,
    };
    let bookings: Vec<_> = (0..visitors).map(booking).collect();
    let seats = bookings.iter().map(|b| (b.seats[0].clone(), b.booking)).collect();
    FinalState {
        line: Some(LineState { epoch: 1, places: (0..visitors).map(place).collect(), ..Default::default() }),
        shop: Some(ShopState { sale: sale.clone(), settings: settings(), bookings, seats }),
    }
}

fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn main() {
    let visitors = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    let entries = write(&path, visitors);
    let mb = fs::metadata(&path).unwrap().len() >> 20;
    println!("{visitors} visitors, {entries} entries, {mb} MB; peak so far {} MB", peak_mb());
    let state = final_state(visitors);
    println!("the stores' final state is read; peak so far {} MB", peak_mb());
    let started = Instant::now();
    let mut log = Log::default();
    let part = read(&path, |line, entry| log.take(line, entry)).unwrap();
    log.part_done(part);
    println!("read after {:.1} s; peak so far {} MB", started.elapsed().as_secs_f64(), peak_mb());
    let verdicts = check(&mut log, &state);
    println!("checked after {:.1} s; peak {} MB", started.elapsed().as_secs_f64(), peak_mb());
    for verdict in verdicts {
        println!("{verdict}");
        assert_eq!(verdict.status, Status::Proved);
    }
}
