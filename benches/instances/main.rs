//! Instances that are held back, that leave, and that are many:
//! `cargo bench --bench instances [-- ticks | -- leave [SOCKETS] | -- company [PLACES [INSTANCES...]] | -- follows [PLACES]]`;
//! root, for a part of `ticks`.
//!
//! `ticks`: how much of a sale's rate is used while people wait, by one and by two instances that run freely, that are stopped for
//! 100 ms of every 200, and that are held to a part of a core. What the ticks of the same run would have given out under
//! other clamps is worked out from when they came. docs/decisions/0017-late-ticks.md quotes it.
//!
//! `leave`: an instance with so many sockets (19,000) is asked to go, once with visitors who do as they are told, once with such as
//! read nothing. docs/instances.md quotes it.
//!
//! `company`: what so many instances (1, 10, 50) cost Redis while so many (20,000) wait: before the sale opens, at 100 admissions a
//! second, and with 2,000 joins a second besides, each by itself. docs/instances.md quotes it.
//!
//! `follows`: what it costs an instance without sockets to be one of 53, at 100 admissions a second and so many (20,000) who wait, and
//! what an entry of the stream costs it. docs/large-lines.md quotes it.
//!
//! `MEASURED_BIN=…` measures another program than this one, such as one with another clamp.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark has nobody to tell")]

#[path = "../sockets/cgroup.rs"]
mod cgroup;
mod company;
mod crowd;
mod hold;
mod leave;
mod stage;

use hold::{Held, Hold};
use stage::Stage;
use std::{thread::sleep, time::Duration};

/// How long one measurement takes.
const MEASURED: Duration = Duration::from_secs(15);
const RATE: f64 = 200.0;
/// Of the sale that an instance leaves.
const LEAVING_RATE: f64 = 40.0;
/// Clamps that are compared, in ms.
const CLAMPS: [i64; 5] = [100, 200, 250, 300, 500];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let number = |i: usize, default: f64| words.get(i).map_or(default, |word| word.parse().unwrap());
    match words.first().map_or("ticks", String::as_str) {
        "ticks" => ticks(),
        "leave" => send_on(number(1, 19_000.0) as usize),
        "company" => {
            let counts: Vec<usize> = words.iter().skip(2).map(|word| word.parse().unwrap()).collect();
            let counts = if counts.is_empty() { vec![1, 10, 50] } else { counts };
            company::company(number(1, 20_000.0) as u64, &counts, 2_000);
        }
        "follows" => company::follows(number(1, 20_000.0) as u64, &[0, 1_000, 2_000]),
        other => panic!("ticks, leave, company or follows, not {other}"),
    }
}

fn send_on(sockets: usize) {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for reads in [true, false] {
        let mut stage = Stage::with(2);
        stage.make_sale(LEAVING_RATE);
        runtime.block_on(leave::leave(&mut stage, sockets, reads));
    }
}

fn ticks() {
    println!("share of the rate that was used, and would have been under other clamps (ms)");
    println!(
        "| instances | held | used | {} | ticks ms p50/p99/max |",
        CLAMPS.map(|ms| ms.to_string()).join(" | ")
    );
    println!("|---|---|---|{}---|", "---|".repeat(CLAMPS.len()));
    for how in [Hold::Free, Hold::Stopped, Hold::Cores(0.3), Hold::Cores(0.05)] {
        for count in [1, 2] {
            let stage = Stage::with(count);
            stage.make_sale(RATE);
            stage.draw_places((RATE * (MEASURED.as_secs_f64() + 5.0)) as usize);
            let held: Vec<_> = stage.instances.iter().map(|one| Held::hold(one.pid(), how)).collect();
            if held.iter().any(Option::is_none) {
                println!("| {count} | {how} | needs root and the cpu controller of control groups |");
                continue;
            }
            stage.open();
            sleep(Duration::from_secs(1));
            let ((from, before), mut at) = (stage.admitted(), Vec::new());
            while stage.now_ms() - from < MEASURED.as_millis() as i64 {
                at.extend(Some(stage.last_tick()).filter(|tick| at.last() != Some(tick)));
                sleep(Duration::from_millis(3));
            }
            let (until, after) = stage.admitted();
            let used = (after - before) as f64 / (RATE * (until - from) as f64 / 1000.0);
            let mut gaps: Vec<i64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let all: i64 = gaps.iter().sum();
            let under =
                |clamp: i64| gaps.iter().map(|gap| if *gap > clamp { 100 } else { *gap }).sum::<i64>();
            let shares = CLAMPS.map(|clamp| format!("{:.1} %", 100.0 * under(clamp) as f64 / all as f64));
            gaps.sort_unstable();
            let at = |share: f64| gaps[((gaps.len() - 1) as f64 * share) as usize];
            let (used, shares) = (100.0 * used, shares.join(" | "));
            println!("| {count} | {how} | {used:.1} % | {shares} | {}/{}/{} |", at(0.5), at(0.99), at(1.0));
        }
    }
}
