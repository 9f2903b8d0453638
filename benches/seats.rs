//! How long a choice of seats takes, and what else goes over a whole hall: `cargo bench --bench seats`. docs/seat-map.md
//! quotes it.
//!
//! Beside it the naive way, which looks at seat after seat of the plan for each wish, as the first version did, and
//! knows nothing of seats left alone.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};
use wire::domain::{
    booking::Wish,
    hall::Hall,
    plan::{Plan, SeatIndex},
    seats::SeatSet,
};

const REAL: &[u8] = include_bytes!("../data/seating-plan-riethsporthalle.json");
/// Blocks of 20 rows of 50: about as many as a plan of 32 MiB can have.
const BLOCKS: usize = 920;
/// A batch is measured so often, and this is enough of it for a way that takes long.
const ROUNDS: usize = 5;
const ENOUGH: Duration = Duration::from_secs(1);

/// The front third of each block is of another category than the rest.
fn large() -> Plan {
    let name = |seat: usize| -> String {
        let digit = |place: u32| char::from_digit((seat / 36_usize.pow(place) % 36) as u32, 36).unwrap();
        (0..4).rev().map(digit).collect()
    };
    let seat = |seat: usize| {
        let category = if seat % 1_000 < 350 { "A" } else { "B" };
        format!(r#"{{"seat_guid":"{}","category":"{category}"}}"#, name(seat))
    };
    let list = |items: Vec<String>| items.join(",");
    let row =
        |row: usize| format!(r#"{{"seats":[{}]}}"#, list((row * 50..row * 50 + 50).map(seat).collect()));
    let zone =
        |zone: usize| format!(r#"{{"rows":[{}]}}"#, list((zone * 20..zone * 20 + 20).map(row).collect()));
    let zones = list((0..BLOCKS).map(zone).collect());
    let json = format!(r#"{{"categories":[{{"name":"A"}},{{"name":"B"}}],"zones":[{zones}]}}"#);
    Plan::parse(json.as_bytes()).unwrap()
}

/// So many of a thousand seats, at random but always the same.
fn taken(seats: usize, per_mille: u64) -> SeatSet {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    };
    SeatSet::from_seats(seats, (0..seats as SeatIndex).filter(|_| next() % 1_000 < per_mille))
}

/// Microseconds a wish for a batch of them, the copy that it works on included; the median of the rounds.
fn batch<T>(wishes: usize, copy: impl Fn() -> T, choose: impl Fn(&mut T)) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let mut hall = copy();
            let mut done = 0;
            while done < wishes && began.elapsed() < ENOUGH {
                choose(&mut hall);
                done += 1;
            }
            began.elapsed().as_secs_f64() * 1e6 / done as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// The first seats beside each other, else the first at all.
fn naive(plan: &Plan, taken: &SeatSet, count: usize, category: Option<u16>) -> Vec<SeatIndex> {
    let fits = |seat: &SeatIndex| {
        !taken.contains(*seat) && category.is_none_or(|c| plan.seats[*seat as usize].category == c)
    };
    let all = 0..plan.seats.len() as SeatIndex;
    let mut run = Vec::with_capacity(count);
    for seat in all.clone() {
        if !fits(&seat) || !plan.seats[seat as usize].beside_previous {
            run.clear();
        }
        if fits(&seat) {
            run.push(seat);
        }
        if run.len() == count {
            return run;
        }
    }
    all.filter(fits).take(count).collect()
}

fn choices(name: &str, plan: &Arc<Plan>) {
    let seats = plan.seats.len();
    let last = plan.categories.len() as u16 - 1;
    for per_mille in [0, 500, 900, 999] {
        let taken = taken(seats, per_mille);
        let hall = Hall::new(plan.clone(), taken.clone());
        for (wish, count, category) in [
            ("2 seats", 2, None),
            ("4 seats", 4, None),
            ("10 seats", 10, None),
            ("2 of the last category", 2, Some(last)),
        ] {
            // A batch of a thousand, unless the hall is too small.
            let wishes = 1_000.min((seats - taken.len()) / count / 2).max(1);
            let best = Wish::Best { count, category, together: false };
            let ours = batch(
                wishes,
                || hall.clone(),
                |hall| {
                    for seat in black_box(hall.choose(true, &best)).unwrap_or_default() {
                        hall.take(seat);
                    }
                },
            );
            let scan = batch(
                wishes,
                || taken.clone(),
                |taken| {
                    for seat in black_box(naive(plan, taken, count, category)) {
                        taken.insert(seat);
                    }
                },
            );
            let full = per_mille as f64 / 10.0;
            println!("| {name} | {full} % | {wish} | {ours:.2} | {scan:.2} |");
        }
    }
}

/// Prints microseconds of one call, the median of many.
fn once<T>(what: &str, call: impl Fn() -> T) {
    let mut times: Vec<f64> = (0..51)
        .map(|_| {
            let began = Instant::now();
            black_box(call());
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("| {what} | {:.1} |", times[25]);
}

fn main() {
    let real = Arc::new(Plan::parse(REAL).unwrap());
    let large = Arc::new(large());
    let seats = large.seats.len();
    println!("µs a wish, each taking what it got, in batches of up to 1,000:");
    println!("| hall | taken | wish | µs | naive µs |\n|---|---|---|---|---|");
    choices("1,222 seats", &real);
    choices(&format!("{seats} seats"), &large);

    println!("\nµs over {seats} seats, half of them taken:\n| | µs |\n|---|---|");
    let half = taken(seats, 500);
    let other = SeatSet::from_seats(seats, half.iter().filter(|seat| seat % 1_000 > 0));
    let hall = Hall::new(large.clone(), half.clone());
    let bitmap = half.to_redis_bitmap();
    let base64 = half.to_base64();
    once("copy the set", || half.clone());
    once("copy the hall", || hall.clone());
    once("measure the hall anew", || Hall::new(large.clone(), half.clone()));
    once("visit its members", || half.iter().map(u64::from).sum::<u64>());
    once("visit its members, seat by seat", || {
        (0..seats as SeatIndex).filter(|seat| half.contains(*seat)).map(u64::from).sum::<u64>()
    });
    once("differences from another", || half.differences(&other).count());
    once("differences, seat by seat", || {
        (0..seats as SeatIndex).filter(|seat| half.contains(*seat) != other.contains(*seat)).count()
    });
    once("to Redis", || half.to_redis_bitmap());
    once("from Redis", || SeatSet::from_redis_bitmap(seats, &bitmap));
    once("to base64", || half.to_base64());
    once("from base64", || SeatSet::from_base64(seats, &base64));
}
