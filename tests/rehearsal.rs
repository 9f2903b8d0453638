//! A sale rehearsed as an operator would: instances, a crowd in parts, its history, the proof. Then the same with a
//! guard of the running server switched off: the proof must fail, and say where.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

#[path = "shared/clusters.rs"]
mod clusters;
#[path = "shared/ports.rs"]
mod ports;

use ports::free_port;
use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use waitroom::{
    embedded::Embedded,
    store::{postgres::connect, redis::redis_client},
};

const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
const KEYS: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two instances on stores of their own.
struct Stage {
    _instances: Vec<Running>,
    public: Vec<String>,
    admin: String,
    stores: Embedded,
    folder: tempfile::TempDir,
}

impl Stage {
    fn start() -> Self {
        let folder = clusters::folder();
        clusters::put(&folder.path().join("stores/postgres"));
        let stores = Embedded::start(&folder.path().join("stores")).unwrap();
        let (mut instances, mut public, mut admins) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..2 {
            let (address, admin) = (free_address(), free_address());
            let server = waitroom(&["serve", "--log=warn", "--drain-s=1", &format!("--signing-keys={KEYS}")])
                .arg(format!("--listen={address}"))
                .arg(format!("--admin-listen={admin}"))
                .arg(format!("--redis-url={}", stores.redis_url()))
                .arg(format!("--postgres-url={}", stores.postgres_url()))
                .spawn();
            instances.push(Running(server.unwrap()));
            public.push(format!("http://{address}"));
            wait_until(|| std::net::TcpStream::connect(&admin).is_ok());
            admins.push(admin);
        }
        Self { _instances: instances, public, admin: admins.remove(0), stores, folder }
    }

    /// A sale that is not yet open.
    fn sale(&self, id: &str, settings: &[&str]) {
        let mut create =
            waitroom(&["sale", "create", id, "--anonymous", &format!("--admin-listen={}", self.admin)]);
        assert!(create.args(settings).stdout(Stdio::null()).status().unwrap().success());
    }

    fn open(&self, id: &str) {
        let mut open = waitroom(&["sale", "open", id, &format!("--admin-listen={}", self.admin)]);
        assert!(open.stdout(Stdio::null()).status().unwrap().success());
    }

    /// Both parts of a crowd, each at an instance of its own; answers with their histories.
    fn crowd(&self, sale: &str, options: &[&str]) -> Crowd {
        let start = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(500);
        let part = |(n, url): (usize, &String)| {
            let history = self.folder.path().join(format!("{sale}-{n}.jsonl"));
            let mut load = waitroom(&["load", "--quiet", "--timeout=30s", "--admin-token", ADMIN_TOKEN]);
            load.arg(format!("--url={url}")).arg(format!("--sale={sale}")).arg(format!("--run={sale}"));
            load.arg(format!("--part={}/2", n + 1)).arg(format!("--start-at={start}"));
            load.arg(format!("--admin=http://{}", self.admin)).arg("--history").arg(&history);
            (Running(load.args(options).stdout(Stdio::null()).spawn().unwrap()), history)
        };
        Crowd(self.public.iter().enumerate().map(part).collect())
    }

    /// `waitroom check`: its exit status and what it said.
    fn check(&self, histories: &[PathBuf]) -> (Option<i32>, String) {
        let check = waitroom(&["check"])
            .args(histories)
            .arg(format!("--redis-url={}", self.stores.redis_url()))
            .arg(format!("--postgres-url={}", self.stores.postgres_url()))
            .output()
            .unwrap();
        (check.status.code(), String::from_utf8_lossy(&check.stdout).into_owned())
    }

    fn sql(&self, text: &str) {
        let run = async {
            connect::postgres_single(&self.stores.postgres_url()).await.unwrap().batch_execute(text).await
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run).unwrap();
    }

    fn redis<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = redis_client(&self.stores.redis_url()).unwrap().get_connection().unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query(&mut connection).unwrap()
    }

    /// So many wait in the line.
    fn all_wait(&self, sale: &str, visitors: u64) {
        let line = format!("waitroom:{{{sale}}}:line");
        wait_until(|| self.redis::<u64>(&["ZCARD", &line]) == visitors);
    }

    /// Whether the proof fails, and on this promise.
    fn violated(&self, histories: &[PathBuf], promise: &str) {
        let (status, said) = self.check(histories);
        assert_eq!(status, Some(99), "{said}");
        let found = said.lines().any(|line| line.starts_with(promise) && line.contains("VIOLATED"));
        assert!(found, "promise {promise}: {said}");
    }
}

struct Crowd(Vec<(Running, PathBuf)>);

impl Crowd {
    fn end(self) -> Vec<PathBuf> {
        let end = |(mut process, history): (Running, PathBuf)| {
            // What the generator itself has found is another matter.
            let _ = process.0.wait();
            history
        };
        self.0.into_iter().map(end).collect()
    }
}

fn waitroom(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.args(args).env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN);
    command
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

fn wait_until(mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(120), "waited in vain");
        std::thread::sleep(Duration::from_millis(50));
    }
}

const SALE: [&str; 6] =
    ["--seats=400", "--rate=60", "--max-active=100", "--claim-s=5", "--grant-ttl-s=20", "--max-seats=2"];
const CROWD: [&str; 4] = ["--visitors=200", "--ramp=2s", "--wish=mixed", "--think=0s..500ms"];

#[test]
fn a_fair_sale_is_proved_and_a_tampered_one_is_not() {
    let stage = Stage::start();
    stage.sale("fair", &SALE);
    stage.open("fair");
    let histories = stage.crowd("fair", &[&CROWD[..], &["--vanish=0.2"]].concat()).end();
    let (status, said) = stage.check(&histories);
    assert_eq!(status, Some(0), "{said}");

    let page = stage.folder.path().join("fair.html");
    let mut merge = waitroom(&["load", "--merge"]);
    let merged = merge.args(&histories).arg("--html").arg(&page).output().unwrap();
    assert!(merged.status.success() && fs::read_to_string(page).unwrap().contains("<svg"));

    // The shop loses a booking that was answered.
    stage.sql("DELETE FROM bookings WHERE id = (SELECT id FROM bookings WHERE sale_id = 'fair' LIMIT 1)");
    stage.violated(&histories, "5");
}

#[test]
fn without_the_key_on_seats_two_instances_sell_one_twice_and_it_is_found() {
    let stage = Stage::start();
    stage.sale("keyless", &["--seats=400", "--rate=200", "--max-active=200", "--max-seats=2"]);
    stage.sql("ALTER TABLE booked_seats DROP CONSTRAINT booked_seats_pkey");
    let crowd =
        stage.crowd("keyless", &["--visitors=200", "--ramp=100ms", "--wish=best", "--think=0s..100ms"]);
    stage.all_wait("keyless", 200);
    stage.open("keyless");
    stage.violated(&crowd.end(), "4");
}

#[test]
fn a_line_that_admits_faster_than_the_sale_allows_is_found() {
    let stage = Stage::start();
    stage.sale("fast", &["--seats=400", "--rate=20", "--max-active=300", "--max-seats=2"]);
    let crowd = stage.crowd("fast", &CROWD);
    stage.all_wait("fast", 200);
    stage.open("fast");
    // Opening puts the sale's settings in force once more.
    std::thread::sleep(Duration::from_secs(1));
    let _: i64 = stage.redis(&["HSET", "waitroom:{fast}:sale", "rate", "200"]);
    stage.violated(&crowd.end(), "3");
}

#[test]
fn a_line_in_the_wrong_order_is_found() {
    let stage = Stage::start();
    stage.sale("unfair", &["--seats=400", "--rate=20", "--max-active=300", "--max-seats=2"]);
    let crowd = stage.crowd("unfair", &CROWD);
    stage.all_wait("unfair", 200);
    // The last to come is put before the first.
    let last: Vec<String> = stage.redis(&["ZRANGE", "waitroom:{unfair}:line", "-20", "-1"]);
    for visitor in &last {
        let _: i64 = stage.redis(&["ZADD", "waitroom:{unfair}:line", "0", visitor]);
    }
    stage.open("unfair");
    stage.violated(&crowd.end(), "1");
}
