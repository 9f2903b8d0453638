//! Redis, PostgreSQL, instances as processes of their own, and a sale.

use redis::Commands;
use rustix::process::Pid;
use serde_json::json;
use std::{
    cell::RefCell,
    collections::HashMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use waitroom::{
    embedded::{Postgres, Redis},
    store::redis::redis_client,
};
use wire::domain::sample_plan::sample_plan;

const ADMIN_TOKEN: &str = "the-admin-token-of-the-bench";
const SEATS: u32 = 30_000;
pub const SALE: &str = "bench";
/// Who draws places at once.
const DRAWERS: usize = 8;

/// The program: this one, or another that is to be measured.
fn waitroom() -> String {
    std::env::var("MEASURED_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_waitroom").to_owned())
}

/// All of it; ends with its owner.
pub struct Stage {
    pub instances: Vec<Instance>,
    redis: RefCell<redis::Connection>,
    _postgres: Postgres,
    server: Redis,
    _folder: tempfile::TempDir,
}

/// A server of the product.
pub struct Instance {
    process: Child,
    /// On every address of this machine.
    pub port: u16,
    admin: String,
}

impl Stage {
    pub fn with(count: usize) -> Self {
        Self::with_pools(count, 8)
    }

    /// Each instance with so many connections to PostgreSQL, which has a hundred.
    pub fn with_pools(count: usize, pool: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let redis = Redis::start_at(&folder.path().join("redis")).unwrap();
        let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
        let instances = (0..count).map(|_| Instance::start(&redis.url(), &postgres.url(), pool)).collect();
        let connection = redis_client(&redis.url()).unwrap().get_connection().unwrap();
        Self {
            instances,
            redis: RefCell::new(connection),
            _postgres: postgres,
            server: redis,
            _folder: folder,
        }
    }

    pub fn redis_url(&self) -> String {
        self.server.url()
    }

    /// What Redis has used so far: of its main thread, by the scheduler's count.
    pub fn redis_cpu(&self) -> Duration {
        let pid = self.server.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat")).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    /// Entries of the stream so far.
    pub fn entries(&self) -> i64 {
        self.field("n")
    }

    /// The line counts so many more instances for an hour: they do nothing.
    pub fn add_ghosts(&self, count: usize) {
        let ends = self.now_ms() + 3_600_000;
        let ghosts: Vec<(i64, String)> = (0..count).map(|n| (ends, format!("ghost-{n}"))).collect();
        let _: () =
            self.redis.borrow_mut().zadd_multiple(format!("waitroom:{{{SALE}}}:instances"), &ghosts).unwrap();
    }

    /// How often Redis has run each command.
    pub fn commands(&self) -> HashMap<String, u64> {
        let info: String =
            redis::cmd("INFO").arg("commandstats").query(&mut *self.redis.borrow_mut()).unwrap();
        let calls = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        info.lines().filter_map(calls).collect()
    }

    /// Until the journal has all that was written.
    pub fn until_journaled(&self) {
        while self.field("journaled") < self.field("written") {
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn make_sale(&self, rate: f64) {
        let body = json!({
            "id": SALE, "name": "Bench", "plan": sample_plan(SEATS), "rate": rate, "max_active": SEATS, "grant_ttl_s": 600,
            "claim_s": 600, "max_seats": 1, "anonymous": true,
        });
        self.instances[0].admin("POST", "sales", &body);
        for instance in &self.instances {
            while instance.page(&format!("v1/admin/sales/{SALE}")).is_none() {
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    pub fn open(&self) {
        self.instances[0].admin("PATCH", &format!("sales/{SALE}"), &json!({ "phase": "open" }));
    }

    /// Over HTTP, by the first instance.
    pub fn draw_places(&self, count: usize) {
        let url = format!("http://127.0.0.1:{}/v1/sales/{SALE}/places", self.instances[0].port);
        thread::scope(|scope| {
            for _ in 0..DRAWERS {
                scope.spawn(|| {
                    let agent = ureq::agent();
                    for _ in 0..count / DRAWERS {
                        agent.post(&url).send_empty().unwrap().body_mut().read_to_string().unwrap();
                    }
                });
            }
        });
    }

    fn field(&self, name: &str) -> i64 {
        let value: Option<i64> =
            self.redis.borrow_mut().hget(format!("waitroom:{{{SALE}}}:sale"), name).unwrap();
        value.unwrap_or(0)
    }

    /// Redis' milliseconds.
    pub fn now_ms(&self) -> i64 {
        let (s, us): (i64, i64) = redis::cmd("TIME").query(&mut *self.redis.borrow_mut()).unwrap();
        s * 1000 + us / 1000
    }

    pub fn last_tick(&self) -> i64 {
        self.field("last_tick")
    }

    /// The last tick that decided, and how many were admitted until then.
    pub fn admitted(&self) -> (i64, i64) {
        let (key, fields) = (format!("waitroom:{{{SALE}}}:sale"), ["last_tick", "admitted_total"]);
        let both: (i64, Option<i64>) = self.redis.borrow_mut().hmget(key, &fields).unwrap();
        (both.0, both.1.unwrap_or(0))
    }
}

impl Instance {
    fn start(redis: &str, postgres: &str, pool: u32) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, admin) = (free(), format!("127.0.0.1:{}", free()));
        let process = Command::new(waitroom())
            .args(["serve", "--log=error", "--drain-s=20", "--address-places=0"])
            .arg(format!("--listen=0.0.0.0:{port}"))
            .arg(format!("--admin-listen={admin}"))
            .arg(format!("--redis-url={redis}"))
            .arg(format!("--postgres-url={postgres}"))
            .arg(format!("--postgres-pool={pool}"))
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

    /// Waits for its end; its status.
    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait().unwrap().code()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// One of the machine's own addresses: each has ports enough for a part of the crowd.
    pub fn address(&self, n: usize) -> SocketAddr {
        (Ipv4Addr::new(127, 0, 0, 1 + (n % 8) as u8), self.port).into()
    }

    /// The same of its threads that live, by the scheduler's count.
    pub fn cpu_of_threads(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap().flatten();
        let text = threads.filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
        let ns = text.filter_map(|text| text.split(' ').next()?.parse::<u64>().ok());
        Duration::from_nanos(ns.sum())
    }

    fn page(&self, path: &str) -> Option<String> {
        let call = ureq::get(format!("http://{}/{path}", self.admin));
        call.header("Authorization", format!("Bearer {ADMIN_TOKEN}"))
            .call()
            .ok()?
            .body_mut()
            .read_to_string()
            .ok()
    }

    fn admin(&self, method: &str, path: &str, body: &serde_json::Value) {
        let url = format!("http://{}/v1/admin/{path}", self.admin);
        let call = if method == "POST" { ureq::post(url) } else { ureq::patch(url) };
        call.header("Authorization", format!("Bearer {ADMIN_TOKEN}")).send_json(body).unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
