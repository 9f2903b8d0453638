//! Runs for as long as is wanted: `make chaos`.

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

const USUAL: Size = Size { visitors: 300, over_s: 10, rate: 40 };

/// What once went wrong is played first.
const ONCE_WRONG: [&[Kind]; 2] = [
    // The journal's proof took the seqs that a takeover leaves out for lost ones.
    &[Kind::FailoverToOneReplica],
    &[Kind::ClusterFailover],
];

/// What is in the environment, or this.
fn wanted<T: std::str::FromStr>(name: &str, default: T) -> T {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is to be played, without an end if it is drawn. `KINDS`: these together, or `all`: each by itself.
fn schedules(seed: u64, kinds: &str) -> Box<dyn Iterator<Item = Schedule>> {
    let possible = || Kind::all().iter().copied().filter(|kind| kind.is_possible());
    match kinds {
        "" => {
            let first = ONCE_WRONG.iter().map(move |kinds| Schedule::of(seed, kinds));
            Box::new(first.chain((seed..).map(Schedule::draw)))
        }
        "all" => Box::new(possible().map(move |kind| Schedule::of(seed, &[kind]))),
        names => {
            let kind = |name: &str| Kind::from_str(name, true).expect("a kind of fault");
            let kinds: Vec<Kind> = names.split(',').map(kind).collect();
            Box::new(std::iter::once(Schedule::of(seed, &kinds)))
        }
    }
}

/// `HOURS` (0: what once went wrong, and one run), `SEED`, `KINDS`, `REPORT` (a file).
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "as long as is wanted: make chaos"]
async fn no_place_is_ever_lost() {
    let drawn = jiff::Timestamp::now().as_millisecond() as u64 % 1_000_000;
    let (hours, seed) = (wanted("HOURS", 0.0), wanted("SEED", drawn));
    let kinds: String = wanted("KINDS", String::new());
    let file = wanted("REPORT", format!("{}/chaos.md", env!("CARGO_TARGET_TMPDIR")));
    for kind in Kind::all().iter().filter(|kind| !kind.is_possible()) {
        println!("not played here, since it needs root: {}", kind.name());
    }
    let until = Instant::now() + Duration::from_secs_f64(hours * 3600.0);
    let mut report = Report::default();
    for (i, schedule) in schedules(seed, &kinds).enumerate() {
        println!("seed {}: {}", schedule.seed, schedule.names());
        let outcome = run(&schedule, USUAL).await;
        say(&outcome);
        report.add(&outcome, &schedule);
        fs::write(&file, report.text()).unwrap();
        if kinds.is_empty() && i >= ONCE_WRONG.len() && Instant::now() > until {
            break;
        }
    }
    println!("\n{}\nThis report: {file}", report.text());
    assert!(!report.has_failed());
}

fn say(outcome: &Outcome) {
    let Outcome { proof, back_after, took, .. } = outcome;
    let broken = outcome.broken();
    println!(
        "    {} places, {} bookings, {} broken promises; served again after {back_after:.1?}; {took:.0?} in all",
        proof.places,
        proof.bookings,
        broken.len()
    );
    for line in broken.iter().chain(&proof.unjudged) {
        println!("    {line}");
    }
}
