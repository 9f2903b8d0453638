//! Redis, PostgreSQL, instances as processes of their own, and sales.

use rustix::process::Pid;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use waitroom::embedded::{Postgres, Redis};
use wire::domain::sample_plan::sample_plan;

const ADMIN_TOKEN: &str = "the-admin-token-of-the-bench";
/// As many turns as that may be live at once.
const SEATS: u32 = 5_000;
/// Of a call that is answered with 503.
const TRIES: u32 = 30;
/// Connections to PostgreSQL of all instances.
const CONNECTIONS: &str = "max_connections=500";

/// The program: this one, or another that is to be measured.
fn waitroom() -> String {
    std::env::var("MEASURED_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_waitroom").to_owned())
}

/// Both stores; they end with their owner.
pub struct Stores {
    pub redis: Redis,
    /// It follows the other.
    pub replica: Option<Redis>,
    /// How many of them instances wait for.
    pub waited_for: u32,
    pub postgres: Postgres,
    folder: tempfile::TempDir,
}

impl Stores {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Redis has a replica.
    pub fn replicated() -> Self {
        let port = free().to_string();
        let mut stores = Self::with(&["--port", &port, "--repl-diskless-sync-delay", "0"]);
        let folder = stores.folder.path().join("replica");
        stores.replica = Some(Redis::start_with(&folder, &["--replicaof", "127.0.0.1", &port]).unwrap());
        stores
    }

    fn with(redis: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let redis = Redis::start_with(&folder.path().join("redis"), redis).unwrap();
        let postgres = Postgres::start_with(&folder.path().join("postgres"), &[CONNECTIONS]).unwrap();
        Self { redis, replica: None, waited_for: 0, postgres, folder }
    }

    /// What `check` says of the journal, and its exit status.
    pub fn prove(&self, sale: &str) -> (String, Option<i32>) {
        let mut check = Command::new(waitroom());
        check.args(["check", "--sale", sale]).arg(format!("--postgres-url={}", self.postgres.url()));
        let said = check.output().unwrap();
        (String::from_utf8_lossy(&said.stdout).into_owned(), said.status.code())
    }
}

/// A server of the product.
pub struct Instance {
    process: Child,
    /// On every address of this machine.
    pub port: u16,
    admin: String,
}

fn free() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Instance {
    pub fn start(stores: &Stores) -> Self {
        let (port, admin) = (free(), format!("127.0.0.1:{}", free()));
        let process = Command::new(waitroom())
            .args(["serve", "--log=error", "--drain-s=5", "--address-places=0", "--postgres-pool=2"])
            .arg(format!("--listen=0.0.0.0:{port}"))
            .arg(format!("--admin-listen={admin}"))
            .arg(format!("--redis-url={}", stores.redis.url()))
            .arg(format!("--redis-replicas={}", stores.waited_for))
            .arg(format!("--postgres-url={}", stores.postgres.url()))
            .arg("--signing-keys=k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
            .env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN)
            .stdout(Stdio::null())
            .spawn();
        let instance = Self { process: process.unwrap(), port, admin };
        while instance.page("readyz").is_none() {
            thread::sleep(Duration::from_millis(100));
        }
        instance
    }

    /// Ends all at once, as a machine does that goes down; they are waited for by whoever drops them.
    pub fn end(instances: &mut [Self]) {
        instances.iter_mut().for_each(|instance| _ = instance.process.kill());
    }

    pub fn pid(&self) -> u32 {
        Pid::from_child(&self.process).as_raw_nonzero().get().unsigned_abs()
    }

    pub fn make_sale(&self, sale: &str, rate: f64) {
        let body = json!({
            "id": sale, "name": "Bench", "plan": sample_plan(SEATS), "rate": rate, "max_active": SEATS, "grant_ttl_s": 600,
            "claim_s": 60, "max_seats": 1, "anonymous": true,
        });
        self.admin("POST", "sales", &body);
        self.await_sale(sale);
    }

    /// Until this instance knows it.
    pub fn await_sale(&self, sale: &str) {
        while self.page(&format!("v1/admin/sales/{sale}")).is_none() {
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn open(&self, sale: &str) {
        self.admin("PATCH", &format!("sales/{sale}"), &json!({ "phase": "open" }));
    }

    pub fn close(&self, sale: &str) {
        self.admin("PATCH", &format!("sales/{sale}"), &json!({ "phase": "closed" }));
    }

    pub fn metrics(&self) -> Metrics {
        Metrics::read(&self.page("metrics").unwrap_or_default())
    }

    fn page(&self, path: &str) -> Option<String> {
        let call = ureq::get(format!("http://{}/{path}", self.admin));
        let call = call.header("Authorization", format!("Bearer {ADMIN_TOKEN}"));
        call.call().ok()?.body_mut().with_config().limit(64 << 20).read_to_string().ok()
    }

    fn admin(&self, method: &str, path: &str, body: &Value) {
        let url = format!("http://{}/v1/admin/{path}", self.admin);
        let call = || {
            let call = if method == "POST" { ureq::post(&url) } else { ureq::patch(&url) };
            call.header("Authorization", format!("Bearer {ADMIN_TOKEN}")).send_json(body)
        };
        // On a machine that is busy a store may not answer in time.
        for _ in 0..TRIES {
            match call() {
                Err(ureq::Error::StatusCode(503)) => thread::sleep(Duration::from_secs(1)),
                answer => return drop(answer.unwrap()),
            }
        }
        panic!("{path}: 503 again and again");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Until nothing of any line waits for the journal, a minute at most.
pub fn until_journaled(instances: &[Instance]) {
    let began = Instant::now();
    while Metrics::all(instances).sum("waitroom_journal_waiting_bytes") > 0.0
        && began.elapsed() < Duration::from_secs(600)
    {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Metrics by their full names; sums over instances.
#[derive(Clone, Default)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn read(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        let all = lines.filter_map(|line| line.rsplit_once(' '));
        Self(all.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    pub fn all(instances: &[Instance]) -> Self {
        let mut sums = BTreeMap::new();
        for instance in instances {
            for (name, value) in instance.metrics().0 {
                *sums.entry(name).or_default() += value;
            }
        }
        Self(sums)
    }

    pub fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Over all its labels.
    pub fn sum(&self, name: &str) -> f64 {
        self.0
            .iter()
            .filter(|(series, _)| series.split('{').next() == Some(name))
            .map(|(_, value)| value)
            .sum()
    }

    /// A quantile of what a histogram has seen since then, in the buckets' steps: it is at most this.
    pub fn quantile_since(&self, before: &Self, histogram: &str, share: f64) -> Option<f64> {
        let prefix = format!("{histogram}_bucket{{le=\"");
        let buckets = self.0.iter().filter_map(|(name, value)| {
            let bound = name.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, value - before.get(name)))
        });
        let mut buckets: Vec<(f64, f64)> = buckets.collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last()?.1;
        let mut below = (0.0, 0.0);
        for (bound, count) in buckets {
            if all > 0.0 && count >= share * all {
                let part = (share * all - below.1) / (count - below.1);
                return Some(if bound.is_finite() { below.0 + part * (bound - below.0) } else { below.0 });
            }
            below = (bound, count);
        }
        None
    }
}
