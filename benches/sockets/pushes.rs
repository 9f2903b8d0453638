//! CPU of a pushed rank: many sockets, each sent its own number, evenly.
//!
//! The server pushes at the contract's own pace, to the first thousand of a line four times a second: so there are as many lines
//! as give the pushes that are wanted, and each moves between any two sweeps. The rivals then push as many a second as it did, in messages as long.

use crate::{
    Words,
    crowd::{Crowd, Order},
    machine,
    rivals::{Kind, Work},
    stage::Stores,
    subject::Subject,
    table::Figures,
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Of a line: all near.
pub const NEAR: usize = 1_000;
/// Sweeps a second over who is near.
pub const SWEEPS: usize = 4;
/// Admissions a second of each line: more than sweeps, so that each rank changes; few enough, so that hardly anyone goes.
pub const RATE: f64 = 8.0;
const SETTLES: Duration = Duration::from_secs(4);

pub fn run(words: &Words) {
    let (rounds, seconds) = (words.get("--rounds", 3), words.get("--seconds", 15));
    let lines = words.get("--pushes", 40_000) / (NEAR * SWEEPS);
    let (stores, kinds, mut figures) = (Stores::start(), Kind::all(), Figures::default());
    for round in 0..rounds {
        let subject = Subject::ours(&stores, &format!("pushes-{round}"), lines, RATE);
        let (per_s, bytes) =
            measure(&mut figures, "waitroom", &subject, lines * NEAR, seconds, Some(&stores));
        drop(subject);
        for kind in &kinds {
            let work = Work { pushes_per_s: per_s, watchers: lines * NEAR, bytes, ..Work::nothing() };
            measure(&mut figures, kind.name(), &Subject::rival(*kind, work), lines * NEAR, seconds, None);
        }
    }
    println!("{}", figures.markdown());
    let of = |whose| figures.median(whose, "CPU µs a push").unwrap_or(f64::NAN);
    for kind in kinds {
        println!("waitroom / {}: {:.2}", kind.name(), of("waitroom") / of(kind.name()));
    }
    words.write("--json", &figures.json().to_string());
}

fn measure(
    figures: &mut Figures,
    whose: &str,
    subject: &Subject,
    count: usize,
    seconds: u64,
    stores: Option<&Stores>,
) -> (f64, usize) {
    let mut crowd = Crowd::start(&subject.manners());
    crowd.come(count);
    subject.open();
    sleep(SETTLES);
    let redis = || stores.map_or(Duration::ZERO, |stores| machine::cpu(stores.redis.pid()));
    let others = || (machine::cpu(crowd.pid()), redis());
    let (cpu, (reading, in_redis)) = (subject.cpu(), others());
    let (seen, began) = (crowd.ask(Order::Watch), Instant::now());
    sleep(Duration::from_secs(seconds));
    let after = crowd.ask(Order::Tell);
    let took = began.elapsed().as_secs_f64();
    let cpu = (subject.cpu() - cpu).as_secs_f64();
    let (read, redis_cpu) = (machine::cpu(crowd.pid()) - reading, redis() - in_redis);
    assert_eq!((after.rose, after.dropped), (0, 0), "{:?}", after.troubles);
    let pushes = (after.ranks - seen.ranks) as f64;
    let bytes = (after.rank_bytes - seen.rank_bytes) as f64 / pushes;
    figures.add(
        whose,
        &[
            ("bytes a message", bytes),
            ("pushes/s", pushes / took),
            ("CPU µs a push", cpu * 1e6 / pushes),
            ("of a core", cpu / took),
            ("between two, ms, p50", after.age_ms[0] as f64),
            ("p99", after.age_ms[1] as f64),
            ("the crowd's CPU µs", read.as_secs_f64() * 1e6 / pushes),
            ("Redis, of a core", redis_cpu.as_secs_f64() / took),
        ],
    );
    (pushes / took, bytes.round() as usize)
}
