//! What instances that only follow cost Redis, and what it costs one of them.

use crate::stage::{Instance, SALE, Stage};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};
use waitroom::store::{
    line::Line,
    redis::{Redis, Site},
};
use wire::domain::{
    ids::{SaleId, VisitorId},
    line::{Join, JoinMode, Position},
};

/// How long one measurement takes.
const MEASURED: Duration = Duration::from_secs(10);
const RATE: f64 = 100.0;
/// Joins in one call that fills the line.
const BATCH: u64 = 2_000;
/// Longer than it takes: who polls so seldom counts as present all the time.
const POLL_MS: u64 = 7_200_000;

fn join() -> Join {
    let (mode, visitor) = (JoinMode::Join, VisitorId::anonymous());
    Join { visitor, connection: None, poll_ms: POLL_MS, mode, token_seq: None, stranger: None }
}

async fn line(stage: &Stage) -> Line {
    let redis = Redis::connect(Site::parse(&stage.redis_url()).unwrap(), "bench").await.unwrap();
    let line = redis.line(&SaleId::parse(SALE).unwrap());
    line.take_over(Position::default()).await.unwrap();
    line
}

/// Redis' CPU, and the commands that it runs, a second.
async fn measure(stage: &Stage, line: Option<&Line>, entries_per_s: u32) -> (f64, Vec<(String, f64)>) {
    let (began, cpu, before) = (Instant::now(), stage.redis_cpu(), stage.commands());
    let mut sent = 0;
    while began.elapsed() < MEASURED {
        let due = (began.elapsed().as_secs_f64() * f64::from(entries_per_s)) as u32;
        match line {
            Some(line) if sent < due => {
                // A disk that is busy with others holds Redis up for seconds.
                let calls = (sent..due).map(|_| async { line.join(&[join()]).await.ok() });
                futures_util::future::join_all(calls).await;
                sent = due;
            }
            _ => sleep(Duration::from_millis(1)),
        }
    }
    let took = began.elapsed().as_secs_f64();
    let share = (stage.redis_cpu() - cpu).as_secs_f64() / took;
    let after = stage.commands().into_iter();
    let mut rates: Vec<_> = after
        .map(|(name, calls)| {
            let then = before.get(&name).copied().unwrap_or(0);
            (name, (calls - then) as f64 / took)
        })
        .collect();
    rates.sort_by(|a, b| b.1.total_cmp(&a.1));
    (share, rates)
}

pub fn company(places: u64, counts: &[usize], entries_per_s: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    println!("| instances | what happens | Redis, of a core | its commands a second |\n|---|---|---|---|");
    for count in counts {
        let stage = Stage::with_pools(*count, 2);
        stage.make_sale(RATE);
        runtime.block_on(async {
            let line = line(&stage).await;
            for _ in 0..places.div_ceil(BATCH) {
                let joins: Vec<_> = (0..BATCH).map(|_| join()).collect();
                line.join(&joins).await.unwrap();
            }
            stage.until_journaled();
            let show = |what: &str, (share, rates): (f64, Vec<(String, f64)>)| {
                let most: Vec<_> =
                    rates.iter().take(8).map(|(name, rate)| format!("{name} {rate:.0}")).collect();
                println!("| {count} | {what} | {:.2} % | {} |", 100.0 * share, most.join(", "));
            };
            show("nothing: not open", measure(&stage, None, 0).await);
            stage.open();
            sleep(Duration::from_secs(2));
            show("100 admissions a second", measure(&stage, None, 0).await);
            let busy = format!("and {entries_per_s} joins, each an entry");
            show(&busy, measure(&stage, Some(&line), entries_per_s).await);
        });
    }
}

/// Of as many instances as a million needs: three that are there, and who is counted with them.
const GHOSTS: usize = 50;

/// CPU of an instance that neither decides nor keeps the journal: of the three the one that has used least.
pub fn follows(places: u64, rates: &[u32]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stage = Stage::with_pools(3, 2);
    stage.make_sale(RATE);
    runtime.block_on(async {
        let line = line(&stage).await;
        for _ in 0..places.div_ceil(BATCH) {
            let joins: Vec<_> = (0..BATCH).map(|_| join()).collect();
            line.join(&joins).await.unwrap();
        }
        stage.add_ghosts(GHOSTS);
        stage.open();
        println!("| entries a second | CPU, ms a second | µs an entry |\n|---|---|---|");
        let mut at_rest: Option<(f64, f64)> = None;
        for rate in rates {
            stage.until_journaled();
            sleep(Duration::from_secs(2));
            let cpu = || stage.instances.iter().map(Instance::cpu_of_threads).collect::<Vec<_>>();
            let (before, entries, began) = (cpu(), stage.entries(), Instant::now());
            measure(&stage, Some(&line), *rate).await;
            let took = began.elapsed().as_secs_f64();
            let least = cpu().iter().zip(&before).map(|(now, then)| *now - *then).min().unwrap();
            let per_s = (stage.entries() - entries) as f64 / took;
            let ms = least.as_secs_f64() * 1e3 / took;
            let (rest_ms, rest_per_s) = *at_rest.get_or_insert((ms, per_s));
            let us = (ms - rest_ms) * 1e3 / (per_s - rest_per_s);
            // Of the first there is none.
            let us = if us.is_nan() { String::new() } else { format!("{us:.1}") };
            println!("| {per_s:.0} | {ms:.1} | {us} |");
        }
    });
}
