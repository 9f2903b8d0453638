//! What it costs that a replica confirms each join: `cargo bench --bench replicas`. docs/redis.md quotes it.
//!
//! One primary with `appendfsync always` and its replica on this machine; batches of joins one after another, as an instance
//! makes them, of one and of two instances, waited for and not, taking turns; medians.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use futures_util::future::join_all;
use std::{
    collections::HashSet,
    net::TcpListener,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::spawn;
use waitroom::{
    embedded,
    settings::RedisSettings,
    store::{
        line::{Install, Line, Takeover},
        redis::{Redis, Site},
    },
};
use wire::domain::{
    ids::{SaleId, VisitorId},
    line::{Join, JoinMode, Position},
    phase::Phase,
    seats::SeatSet,
};

/// Many short ones: what else the machine does falls on both.
const ROUNDS: usize = 41;
const ROUND: Duration = Duration::from_millis(300);
/// One visitor alone, a batch as it is under some load, and a full one.
const BATCHES: [usize; 3] = [1, 64, 512];
/// Each has its own connection: Redis goes on with one's joins while another's are waited for.
const INSTANCES: [usize; 2] = [1, 2];
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

/// An instance's, which the first of them sets up.
async fn line(port: u16, redis_replicas: u32, instance: usize) -> Line {
    let settings = settings(port, redis_replicas);
    let redis = Redis::connect(Site::of(&settings).unwrap(), &format!("bench-{instance}")).await.unwrap();
    let line = redis.line(&SaleId::parse(&format!("bench-{redis_replicas}")).unwrap());
    if instance > 0 {
        assert_eq!(line.take_over(Position::default()).await.unwrap(), Takeover::Whole);
        return line;
    }
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

/// Joins a second by that many instances at once, in batches of that size.
async fn joins_per_s(lines: &[Arc<Line>], batch: usize) -> f64 {
    let began = Instant::now();
    let joining: Vec<_> = lines.iter().map(|line| spawn(joins(line.clone(), batch))).collect();
    let count: usize = join_all(joining).await.into_iter().map(Result::unwrap).sum();
    count as f64 / began.elapsed().as_secs_f64()
}

/// How many came in a round.
async fn joins(line: Arc<Line>, batch: usize) -> usize {
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
    count
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
    while Redis::connect(Site::of(&settings(port, 1)).unwrap(), "probe").await.is_err() {}
    let [mut plain, mut waiting] = [Vec::new(), Vec::new()];
    for n in 0..INSTANCES[INSTANCES.len() - 1] {
        plain.push(Arc::new(line(port, 0, n).await));
        waiting.push(Arc::new(line(port, 1, n).await));
    }
    println!("| instances | joins a call | joins/s | confirmed by a replica | |\n|---|---|---|---|---|");
    for (count, batch) in INSTANCES.into_iter().flat_map(|count| BATCHES.map(|batch| (count, batch))) {
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(joins_per_s(&plain[..count], batch).await);
            with.push(joins_per_s(&waiting[..count], batch).await);
        }
        let (without, with) = (median(without), median(with));
        println!("| {count} | {batch} | {without:.0} | {with:.0} | {:.2} × |", with / without);
    }
}
