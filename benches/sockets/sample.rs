//! A look at everything at once, and what happened between two of them.

use crate::{crowd::Seen, fleet::Fleet, machine, stage::Metrics};
use std::time::{Duration, Instant};
use waitroom::store::redis::redis_client;

/// What only grows is since the beginning.
pub struct Sample {
    at: Instant,
    pub seen: Seen,
    pub metrics: Metrics,
    /// Of the servers, the crowds, Redis, PostgreSQL, and of all that runs here, the kernel too.
    cpu: [Duration; 5],
    /// Of the first four.
    resident: [u64; 4],
    available: u64,
    swapped: u64,
    files: usize,
    redis: RedisSays,
}

/// What Redis says of itself.
#[derive(Default)]
pub struct RedisSays {
    pub commands: f64,
    keys: u64,
    /// The slowest command that took over 10 ms, in ms, of those that it remembers.
    slowest_ms: f64,
}

/// Figures by name.
pub type Figures = Vec<(&'static str, f64)>;

impl Sample {
    /// `thorough`: with each instance's metrics and open files.
    pub fn take(fleet: &mut Fleet, thorough: bool) -> Self {
        let seen = fleet.seen();
        let servers: Vec<u32> = fleet.instances.iter().map(|one| one.pid()).collect();
        let crowds: Vec<u32> = fleet.crowds.iter().map(|one| one.pid()).collect();
        let (redis, postgres) = (fleet.stores.redis.pid(), fleet.stores.postgres.pid());
        let cpu = |pids: &[u32]| pids.iter().map(|pid| machine::cpu(*pid)).sum();
        let resident = |pids: &[u32]| pids.iter().map(|pid| machine::resident(*pid)).sum();
        let (available, swapped) = machine::memory();
        Self {
            at: Instant::now(),
            seen,
            metrics: if thorough { Metrics::all(&fleet.instances) } else { Metrics::default() },
            cpu: [
                cpu(&servers),
                cpu(&crowds),
                machine::cpu(redis),
                machine::cpu_of_postgres(postgres),
                machine::busy(),
            ],
            resident: [
                resident(&servers),
                resident(&crowds),
                machine::resident(redis),
                machine::resident_of_postgres(postgres),
            ],
            available,
            swapped,
            files: if thorough { servers.iter().map(|pid| machine::files(*pid)).sum() } else { 0 },
            redis: RedisSays::ask(&fleet.stores.redis.url()),
        }
    }

    /// What happened since, a second, and how things are now.
    pub fn since(&self, before: &Self) -> Figures {
        let seconds = (self.at - before.at).as_secs_f64();
        let cores = |i: usize| (self.cpu[i] - before.cpu[i]).as_secs_f64() / seconds;
        let per_s = |of: fn(&Seen) -> u64| (of(&self.seen) - of(&before.seen)) as f64 / seconds;
        let gb = |bytes: u64| bytes as f64 / 1e9;
        let sockets = self.seen.open as f64;
        vec![
            ("seconds", seconds),
            ("sockets", sockets),
            ("servers' GB", gb(self.resident[0])),
            ("crowds' GB", gb(self.resident[1])),
            ("Redis' GB", gb(self.resident[2])),
            ("PostgreSQL's GB", gb(self.resident[3])),
            ("GB left", gb(self.available)),
            ("GB swapped", gb(self.swapped)),
            ("servers' cores", cores(0)),
            ("crowds' cores", cores(1)),
            ("Redis' cores", cores(2)),
            ("PostgreSQL's cores", cores(3)),
            ("all cores", cores(4)),
            ("ranks/s", per_s(|seen| seen.ranks)),
            ("connects/s", per_s(|seen| seen.came)),
            ("of them returns/s", per_s(|seen| seen.returned)),
            ("turns/s", per_s(|seen| seen.granted)),
            ("Redis' commands/s", (self.redis.commands - before.redis.commands) / seconds),
            ("Redis' keys", self.redis.keys as f64),
            ("Redis' slowest over 10 ms", self.redis.slowest_ms),
            ("rank's age p50 s", self.seen.age_ms[0] as f64 / 1e3),
            ("p99 s", self.seen.age_ms[1] as f64 / 1e3),
            ("oldest s", self.seen.oldest_ms as f64 / 1e3),
            ("oldest below 1,000 s", self.seen.oldest_near_ms as f64 / 1e3),
            ("dropped", (self.seen.dropped - before.seen.dropped) as f64),
            ("refused", (self.seen.refused - before.seen.refused) as f64),
            ("ranks that rose", (self.seen.rose - before.seen.rose) as f64),
            ("places set back", (self.seen.set_back - before.seen.set_back) as f64),
        ]
    }

    /// What takes all instances' metrics to say.
    pub fn thoroughly_since(&self, before: &Self, instances: usize) -> Figures {
        let quantile = |name, share| self.metrics.quantile_since(&before.metrics, name, share);
        let ms = |name, share| quantile(name, share).unwrap_or(f64::NAN) * 1e3;
        let mut figures = self.since(before);
        figures.insert(0, ("instances", instances as f64));
        figures.extend([
            ("grant to socket p99 ms", ms("waitroom_grant_delivery_seconds", 0.99)),
            ("join p99 ms", ms("waitroom_join_duration_seconds", 0.99)),
            ("servers' files", self.files as f64),
            (
                "journal behind, MB",
                self.metrics.sum("waitroom_journal_waiting_bytes") / instances as f64 / 1e6,
            ),
            ("audit failures", self.metrics.get("waitroom_rank_audit_failures_total")),
        ]);
        figures
    }
}

impl RedisSays {
    pub fn ask(url: &str) -> Self {
        let Ok(mut connection) = redis_client(url).unwrap().get_connection() else { return Self::default() };
        let info: String = redis::cmd("INFO").arg("stats").query(&mut connection).unwrap_or_default();
        let commands = info.lines().find_map(|line| line.strip_prefix("total_commands_processed:"));
        let keys = redis::cmd("DBSIZE").query(&mut connection).unwrap_or(0);
        let slow: Vec<redis::Value> =
            redis::cmd("SLOWLOG").arg("GET").arg(128).query(&mut connection).unwrap_or_default();
        let us = slow.into_iter().filter_map(|entry| match entry {
            redis::Value::Array(fields) => redis::from_redis_value::<u64>(fields.into_iter().nth(2)?).ok(),
            _ => None,
        });
        Self {
            commands: commands.and_then(|count| count.trim().parse().ok()).unwrap_or(0.0),
            keys,
            slowest_ms: us.max().unwrap_or(0) as f64 / 1e3,
        }
    }
}
