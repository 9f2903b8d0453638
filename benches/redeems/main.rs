//! The redeem engine, from a visitor's try to his answer, through a real Redis and a real PostgreSQL:
//! `cargo bench --bench redeems [apart|few|hot|shared|pace]`.
//!
//! `apart`: everyone wants a seat of his own; against a bare binary COPY of the same rows at the same batch size and
//! against one INSERT a request. `hot`: everyone wants the same fifty seats. `shared`: two instances sell the same
//! 10,000 seats to 20,000. `pace`: how long an answer takes at half of the top speed. Ways take turns in one run;
//! medians of the rounds.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

#[path = "../bookings/cpu.rs"]
mod cpu;
mod pace;
mod rivals;
mod stage;

use stage::{Answer, Holder, Stage, close};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use waitroom::{
    metrics,
    room::{Room, redeems::write_alone},
    store::postgres::connect,
};
use wire::domain::refusal::Refusal;

const ROUNDS: usize = 5;
const CALLERS: usize = 256;
/// Bookings a round and way.
const BOOKINGS: usize = 40_000;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Everyone books a seat of his own, so many at a time; bookings a second.
async fn book_apart(room: &Arc<Room>, holders: Vec<Holder>) -> f64 {
    let (holders, next) = (Arc::new(holders), Arc::new(AtomicUsize::new(0)));
    let (started, count) = (Instant::now(), holders.len());
    let callers = (0..CALLERS).map(|_| {
        let (room, holders, next) = (room.clone(), holders.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(holder) = holders.get(i) else { return };
                room.redeems.redeem(holder.wants(&[i as u32])).await.unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// The same through the writer alone, with no line to fence grants and to be told.
async fn write_apart(room: &Arc<Room>, count: usize, callers: usize) -> f64 {
    let (to_writer, redeems) = mpsc::channel(callers);
    tokio::spawn(write_alone(room.redeems.clone(), redeems));
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let callers = (0..callers).map(|_| {
        let (to_writer, next) = (to_writer.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count {
                    return;
                }
                let (reply, answer) = oneshot::channel();
                let redeem = Holder::stranger(i).wants(&[i as u32]);
                to_writer.send((redeem, reply)).await.unwrap();
                answer.await.unwrap().unwrap();
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// How many transactions wrote the sale's bookings.
async fn batches(client: &tokio_postgres::Client, sale: &str) -> f64 {
    let query = "SELECT count(DISTINCT xmin::text) FROM bookings WHERE sale_id = $1";
    let count: i64 = client.query_one(query, &[&sale]).await.unwrap().get(0);
    count as f64
}

async fn apart(stage: &Stage) -> [f64; 2] {
    let client = connect::postgres_single(&stage.postgres.url()).await.unwrap();
    let pool = connect::postgres_pool(&stage.postgres.url(), 16).unwrap();
    let mut seen: [Vec<(f64, Used)>; 5] = Default::default();
    let (mut whole_sizes, mut writer_sizes) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (rooms, holders) = stage.sale(BOOKINGS as u32, BOOKINGS).await;
        let meter = Meter::start(stage);
        let speed = book_apart(&rooms[0], holders).await;
        seen[0].push((speed, meter.per_booking(BOOKINGS)));
        whole_sizes.push(BOOKINGS as f64 / batches(&client, rooms[0].sale.id.as_str()).await);
        close(&rooms, stage).await;

        let (rooms, _) = stage.sale(BOOKINGS as u32, 0).await;
        let meter = Meter::start(stage);
        let speed = write_apart(&rooms[0], BOOKINGS, CALLERS).await;
        seen[1].push((speed, meter.per_booking(BOOKINGS)));
        writer_sizes.push(BOOKINGS as f64 / batches(&client, rooms[0].sale.id.as_str()).await);
        close(&rooms, stage).await;

        for (way, sizes) in [(2, &whole_sizes), (3, &writer_sizes)] {
            let batch = sizes[round].round() as usize;
            let meter = Meter::start(stage);
            let speed = rivals::bare_copy(&client, &format!("bare-{way}-{round}"), BOOKINGS, batch).await;
            seen[way].push((speed, meter.per_booking(BOOKINGS)));
        }
        let meter = Meter::start(stage);
        let speed = rivals::insert_each(&pool, &format!("each-{round}"), BOOKINGS, CALLERS).await;
        seen[4].push((speed, meter.per_booking(BOOKINGS)));
    }
    let names = [
        format!("engine with the line, batches of {:.0}", median(whole_sizes)),
        format!("engine alone, batches of {:.0}", median(writer_sizes)),
        "bare COPY in batches as with the line".to_owned(),
        "bare COPY in batches as alone".to_owned(),
        "one INSERT a request, 16 connections".to_owned(),
    ];
    println!("apart: {CALLERS} callers, a seat each; batches as they form");
    println!("{:<44} {:>10}  with the line is   alone is", "", "bookings/s");
    let speeds = seen.each_ref().map(|seen| median(seen.iter().map(|(speed, _)| *speed).collect()));
    for ((name, speed), seen) in names.iter().zip(speeds).zip(seen) {
        let used = Used::median(seen.into_iter().map(|(_, used)| used).collect());
        println!(
            "{name:<44} {speed:>10.0} {:>14.2}× {:>9.2}×   CPU {used}",
            speeds[0] / speed,
            speeds[1] / speed
        );
    }
    println!(
        "with the line a commit took {}, a fence {}, a tell {}",
        mean_ms("copy_duration_seconds", ""),
        mean_ms("redis_duration_seconds", "fence"),
        mean_ms("redis_duration_seconds", "bookings")
    );
    [speeds[0], speeds[1]]
}

/// The writer alone with fewer callers, and so with smaller batches.
async fn few(stage: &Stage) {
    const BOOKINGS: usize = 4_000;
    let client = connect::postgres_single(&stage.postgres.url()).await.unwrap();
    for callers in [1, 4, 16, 64] {
        let mut seen = Vec::new();
        let mut sizes = Vec::new();
        for _ in 0..ROUNDS {
            let (rooms, _) = stage.sale(BOOKINGS as u32, 0).await;
            let meter = Meter::start(stage);
            let speed = write_apart(&rooms[0], BOOKINGS, callers).await;
            seen.push((speed, meter.per_booking(BOOKINGS)));
            sizes.push(BOOKINGS as f64 / batches(&client, rooms[0].sale.id.as_str()).await);
            close(&rooms, stage).await;
        }
        let speed = median(seen.iter().map(|(speed, _)| *speed).collect());
        let used = Used::median(seen.into_iter().map(|(_, used)| used).collect());
        println!(
            "few: {callers:>3} callers, batches of {:>4.1}: {speed:>8.0} bookings/s   CPU {used}",
            median(sizes)
        );
    }
}

/// The mean of a histogram of the server's own metrics.
fn mean_ms(name: &str, operation: &str) -> String {
    let text = metrics::render();
    let value = |kind: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(&format!("waitroom_{name}_{kind}")));
        let line = lines.find(|line| operation.is_empty() || line.contains(&format!("\"{operation}\"")));
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    format!("{:.2} ms", value("sum") / value("count") * 1e3)
}

/// CPU time of the three parties, in microseconds a booking.
#[derive(Clone, Copy)]
struct Used {
    us: f64,
    postgres: f64,
    redis: f64,
}

struct Meter<'a> {
    stage: &'a Stage,
    before: [Duration; 3],
}

impl<'a> Meter<'a> {
    fn start(stage: &'a Stage) -> Self {
        Self { stage, before: Self::now(stage) }
    }

    fn now(stage: &Stage) -> [Duration; 3] {
        [cpu::this_process(), cpu::server(stage.postgres.pid()), cpu::server(stage.redis.pid())]
    }

    fn per_booking(self, bookings: usize) -> Used {
        let after = Self::now(self.stage);
        let us = |i: usize| (after[i] - self.before[i]).as_secs_f64() / bookings as f64 * 1e6;
        Used { us: us(0), postgres: us(1), redis: us(2) }
    }
}

impl Used {
    fn median(used: Vec<Self>) -> String {
        let of = |part: fn(&Self) -> f64| median(used.iter().map(part).collect());
        format!(
            "{:.1} µs here, {:.1} PostgreSQL, {:.1} Redis",
            of(|u| u.us),
            of(|u| u.postgres),
            of(|u| u.redis)
        )
    }
}

/// Everyone clicks among fifty seats, again and again; attempts a second.
async fn hot(stage: &Stage) {
    const SEATS: u32 = 50;
    const TIME: Duration = Duration::from_secs(3);
    let mut speeds = Vec::new();
    for _ in 0..ROUNDS {
        let (rooms, holders) = stage.sale(SEATS + CALLERS as u32, CALLERS).await;
        let (attempts, winners) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let started = Instant::now();
        let callers = holders.into_iter().enumerate().map(|(i, holder)| {
            let (room, attempts, winners) = (rooms[0].clone(), attempts.clone(), winners.clone());
            tokio::spawn(async move {
                let mut seat = i as u32;
                while started.elapsed() < TIME {
                    seat = (seat + 7) % SEATS;
                    attempts.fetch_add(1, Ordering::Relaxed);
                    match room.redeems.redeem(holder.wants(&[seat])).await {
                        Ok(booking) => return winners.lock().unwrap().push(booking.seats[0]),
                        Err(Refusal::SeatTaken(_) | Refusal::Busy) => tokio::task::yield_now().await,
                        Err(other) => panic!("{other:?}"),
                    }
                }
            })
        });
        for caller in callers.collect::<Vec<_>>() {
            caller.await.unwrap();
        }
        speeds.push(attempts.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64());
        let won: HashSet<u32> = winners.lock().unwrap().iter().copied().collect();
        assert_eq!((won.len(), winners.lock().unwrap().len()), (SEATS as usize, SEATS as usize));
    }
    println!(
        "hot: {CALLERS} callers, {SEATS} seats: {:.0} attempts/s settled, winners exactly the free seats",
        median(speeds)
    );
}

/// Two instances, one hall: who finds his seat taken takes another.
async fn shared(stage: &Stage) {
    const SEATS: u32 = 10_000;
    const VISITORS: usize = 20_000;
    // Callers that only spin would keep the instances from their sockets.
    const CLICK: Duration = Duration::from_millis(1);
    // A grant needs a free seat: the other half of the hall, which nobody here wants.
    let (rooms, holders) = stage.sale(2 * SEATS, VISITORS).await;
    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let holders = Arc::new(holders);
    let callers = (0..2 * CALLERS).map(|caller| {
        let (room, holders, next) = (rooms[caller % 2].clone(), holders.clone(), next.clone());
        tokio::spawn(async move {
            let (mut answers, mut tries) = (Vec::new(), 0u64);
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(holder) = holders.get(i) else { return (answers, tries) };
                let mut seat = (i as u32).wrapping_mul(2_654_435_761) % SEATS;
                let answer: Answer = loop {
                    tries += 1;
                    match room.redeems.redeem(holder.wants(&[seat])).await {
                        Err(Refusal::SeatTaken(_)) if room.glance().seats_left > SEATS as usize => {
                            seat = (seat + 4_999) % SEATS;
                            sleep(CLICK).await;
                        }
                        Err(Refusal::Busy) => sleep(CLICK).await,
                        answer => break answer,
                    }
                };
                answers.push(answer);
            }
        })
    });
    let (mut sold, mut answered, mut tries) = (HashSet::new(), 0, 0);
    for caller in callers.collect::<Vec<_>>() {
        let (answers, tried) = caller.await.unwrap();
        answered += answers.len();
        tries += tried;
        for booking in answers.into_iter().flatten() {
            assert!(sold.insert(booking.seats[0]), "seat {} was sold twice", booking.seats[0]);
        }
    }
    let took = started.elapsed().as_secs_f64();
    let (taken, _) = stage.desk(&rooms[0]).booked().await.unwrap();
    assert_eq!((sold.len(), taken.len(), answered), (SEATS as usize, SEATS as usize, VISITORS));
    println!(
        "shared: two instances sold {} seats to {VISITORS} callers in {took:.1} s, each once; {tries} tries, {answered} answers, {:.0} bookings/s",
        sold.len(),
        sold.len() as f64 / took,
    );
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = |name: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        metrics::handle();
        let stage = Stage::new(1).await;
        let mut top = [30_000.0, 55_000.0];
        if runs("apart") {
            top = apart(&stage).await;
        }
        if runs("few") {
            few(&stage).await;
        }
        if runs("hot") {
            hot(&stage).await;
        }
        if runs("shared") {
            shared(&Stage::new(2).await).await;
        }
        if runs("pace") {
            // Sales that have been sold out cost an instance too: not the ones above.
            pace::all(&Stage::new(1).await, top).await;
        }
        sleep(Duration::from_millis(100)).await;
    });
}
