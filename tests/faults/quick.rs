//! A few faults in every run of the tests; `make chaos` plays all of them, for as long as is wanted.

use crate::{
    crowd::Size,
    kinds::Kind,
    report::Report,
    run::{Outcome, run},
    schedule::Schedule,
};
use clap::ValueEnum;
use std::{
    env, fs,
    time::{Duration, Instant},
};

const SMALL: Size = Size { visitors: 160, over_s: 6, rate: 40 };
const USUAL: Size = Size { visitors: 300, over_s: 10, rate: 40 };

async fn goes_right(kinds: &[Kind]) {
    let outcome = run(&Schedule::of(1, kinds), SMALL).await;
    assert!(outcome.proof.violations.is_empty(), "{:#?}", outcome.proof);
    assert!(outcome.proof.places >= 150 && outcome.proof.bookings >= 80, "{:?}", outcome.proof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_is_wiped_and_postgres_killed_after_a_commit() {
    goes_right(&[Kind::RedisWiped, Kind::PostgresKilledAfterCommit]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_goes_back_and_an_instance_is_killed() {
    goes_right(&[Kind::RedisWentBack, Kind::InstanceKilled]).await;
}

/// What is in the environment, or this.
fn wanted<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// HOURS (0: one run), SEED, KINDS (names with commas between: these, instead of drawn ones), REPORT (a file).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "as long as is wanted: make chaos"]
async fn chaos() {
    let now = jiff::Timestamp::now().as_millisecond() as u64 % 1_000_000;
    let (hours, first) = (wanted("HOURS", 0.0), wanted("SEED", now));
    let kinds: String = wanted("KINDS", String::new());
    let until = Instant::now() + Duration::from_secs_f64(hours * 3600.0);
    let mut report = Report::default();
    for seed in first.. {
        let chosen: Vec<Kind> =
            kinds.split(',').filter(|name| !name.is_empty()).map(|name| Kind::from_str(name, true).unwrap()).collect();
        let schedule = if chosen.is_empty() { Schedule::draw(seed) } else { Schedule::of(seed, &chosen) };
        println!("seed {seed}: {}", schedule.names());
        let outcome = run(&schedule, USUAL).await;
        say(seed, &outcome);
        report.add(&outcome, &format!("seed {seed}: {}: again by make chaos SEED={seed} KINDS={kinds}", schedule.names()));
        fs::write(wanted("REPORT", "target/chaos.md".to_owned()), report.text()).unwrap();
        if Instant::now() > until {
            break;
        }
    }
    println!("\n{}", report.text());
    assert!(!report.has_failed());
}

fn say(seed: u64, outcome: &Outcome) {
    let Outcome { proof, back_after, took, .. } = outcome;
    println!(
        "seed {seed}: {} places, {} bookings, {} broken promises; served again after {back_after:.1?}; {took:.0?}",
        proof.places,
        proof.bookings,
        proof.violations.len()
    );
    for line in proof.violations.iter().chain(&proof.unjudged) {
        println!("    {line}");
    }
}
