//! What the cache of sale information saves: `cargo bench --bench cache`. docs/decisions/0009-cache.md quotes it.
//!
//! Two servers in this process, one with the cache and one without, each with a PostgreSQL database of its own,
//! take turns under a client in another process. Printed are medians of requests a second, this process's CPU a
//! request, and PostgreSQL's transactions and Redis' commands a request.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

#[path = "cache/client.rs"]
mod client;
#[path = "cache/server.rs"]
mod server;

use rustix::time::{ClockId, clock_gettime};
use server::{SEATS, Server};
use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};
use waitroom::embedded::{Postgres, Redis};

const ROUNDS: usize = 3;
/// How long a round of one server takes.
const SECONDS: u64 = 2;
const CONNECTIONS: usize = 256;
/// PostgreSQL's processes tell what they did at the latest after this.
const STATISTICS: Duration = Duration::from_secs(11);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "client") {
        return client::run(
            &arguments[at + 1],
            &arguments[at + 2],
            CONNECTIONS,
            Duration::from_secs(SECONDS),
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start_at(&folder.path().join("redis")).unwrap();
    let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let servers = [false, true].map(|cached| runtime.block_on(Server::start(&redis, &postgres, cached)));
    println!("{SEATS} seats a sale, {CONNECTIONS} connections, median of {ROUNDS} rounds of {SECONDS} s");
    for (name, path) in [
        ("a sale", "/v1/sales/SALE"),
        ("the list of 20 sales", "/v1/sales"),
        ("a plan", "/v1/sales/SALE/plan"),
        ("a sale that is none", "/v1/sales/nobody"),
    ] {
        sleep(STATISTICS);
        let before = servers.each_ref().map(|server| runtime.block_on(server.transactions()));
        let mut seen = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (server, seen) in servers.iter().zip(&mut seen) {
                seen.push(measure(server, path, &runtime));
            }
        }
        sleep(STATISTICS);
        for ((server, before), seen) in servers.iter().zip(before).zip(seen) {
            let transactions = runtime.block_on(server.transactions()) - before;
            println!("{}", line(name, server, &seen, transactions));
        }
    }
}

struct Round {
    requests: u64,
    seconds: f64,
    cpu_us: f64,
    redis: u64,
}

fn measure(server: &Server, path: &str, runtime: &tokio::runtime::Runtime) -> Round {
    let path = path.replace("SALE", &server.sale);
    let (redis, cpu, started) = (runtime.block_on(server.redis_commands()), cpu_us(), Instant::now());
    let mut client = Command::new(std::env::current_exe().unwrap());
    let output = client.args(["client", &server.address.to_string(), &path]).output().unwrap();
    let seconds = started.elapsed().as_secs_f64();
    Round {
        requests: String::from_utf8(output.stdout).unwrap().trim().parse().unwrap(),
        seconds,
        cpu_us: cpu_us() - cpu,
        redis: runtime.block_on(server.redis_commands()) - redis,
    }
}

fn line(name: &str, server: &Server, rounds: &[Round], transactions: u64) -> String {
    let median = |of: fn(&Round) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let requests: u64 = rounds.iter().map(|round| round.requests).sum();
    format!(
        "{name:<22} {:<8} {:>8.0}/s {:>8.1} µs of CPU {:>7.4} of PostgreSQL {:>7.4} of Redis",
        if server.cached { "cached" } else { "not" },
        median(|round| round.requests as f64 / round.seconds),
        median(|round| round.cpu_us / round.requests as f64),
        transactions as f64 / requests as f64,
        median(|round| round.redis as f64 / round.requests as f64),
    )
}

/// CPU that this process has had.
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
