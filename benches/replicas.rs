//! What it costs that a replica confirms each join: `cargo bench --bench replicas`. docs/redis.md quotes it.
//!
//! One primary with `appendfsync always` and its replica on this machine; batches of joins one after another, as an instance
//! makes them, waited for and not, taking turns; medians.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use std::{
    collections::HashSet,
    net::TcpListener,
    time::{Duration, Instant},
};
use waitroom::{
    embedded,
    settings::RedisSettings,
    store::{
        line::{Install, Line},
        redis::{Redis, Site},
    },
};
use wire::domain::{
    ids::{SaleId, VisitorId},
    line::{Join, JoinMode},
    phase::Phase,
    seats::SeatSet,
};

/// Many short ones: what else the machine does falls on both.
const ROUNDS: usize = 41;
const ROUND: Duration = Duration::from_millis(300);
/// One visitor alone, a batch as it is under some load, and a full one.
const BATCHES: [usize; 3] = [1, 64, 512];
const POLL_MS: u64 = 600_000;

fn server(extra: &[&str]) -> (embedded::Redis, u16, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = port.to_string();
    let words = [&["--port", &text, "--repl-diskless-sync-delay", "0"], extra].concat();
    (embedded::Redis::start_with(&folder.path().join("redis"), &words).unwrap(), port, folder)
}

fn settings(port: u16, redis_replicas: u32) -> RedisSettings {
    RedisSettings { redis_replicas, ..RedisSettings::at(format!("redis://127.0.0.1:{port}")) }
}

async fn line(port: u16, redis_replicas: u32) -> Line {
    let settings = settings(port, redis_replicas);
    let redis = Redis::connect(Site::of(&settings).unwrap(), "bench").await.unwrap();
    let line = redis.line(&SaleId::parse(&format!("bench-{redis_replicas}")).unwrap());
    let install = Install {
        epoch: 1,
        first_epoch: 0,
        lost_epoch: 0,
        command: Phase::Scheduled,
        first_seq: 0,
        seats: 8,
        shift_ms: 0,
        booked_seats: &SeatSet::new(8),
        held: &HashSet::new(),
        visitors: &[],
    };
    assert!(line.install(&install).await.unwrap());
    line
}

/// Joins a second, in batches of that size.
async fn joins_per_s(line: &Line, batch: usize) -> f64 {
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < ROUND {
        let join = |_| Join {
            visitor: VisitorId::anonymous(),
            connection: Some(1),
            poll_ms: POLL_MS,
            mode: JoinMode::Join,
            token_seq: None,
            stranger: None,
        };
        let joins: Vec<_> = (0..batch).map(join).collect();
        assert_eq!(line.join(&joins).await.unwrap().drawn, batch as u64);
        count += batch;
    }
    count as f64 / began.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let (_primary, port, _one) = server(&[]);
    let to = port.to_string();
    let (_replica, _, _two) = server(&["--replicaof", "127.0.0.1", &to]);
    // Answers once the replica is there.
    let waiting = loop {
        if Redis::connect(Site::of(&settings(port, 1)).unwrap(), "probe").await.is_ok() {
            break line(port, 1).await;
        }
    };
    let plain = line(port, 0).await;
    println!("| joins a call | joins/s | confirmed by a replica | |\n|---|---|---|---|");
    for batch in BATCHES {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(joins_per_s(&plain, batch).await);
            with.push(joins_per_s(&waiting, batch).await);
        }
        let (without, with) = (median(without), median(with));
        println!("| {batch} | {without:.0} | {with:.0} | {:.2} × |", with / without);
    }
}
