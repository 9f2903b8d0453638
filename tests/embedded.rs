//! The embedded servers: quick to start, hard to lose, gone with their parent.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use waitroom::embedded::{Embedded, EmbeddedError, Postgres, Redis};
use waitroom::store::{
    errors::ConnectError,
    postgres::{connect, migrations},
    redis::{facts::RedisFacts, redis_client},
};

/// A folder that PostgreSQL's user may enter also when the tests run as root.
fn scratch() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
    folder
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn sql(url: &str, text: &str) -> Result<Vec<String>, ConnectError> {
    runtime().block_on(async {
        let client = connect::postgres_single(url).await?;
        let rows = client.simple_query(text).await?;
        let rows = rows.iter().filter_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
            _ => None,
        });
        Ok(rows.collect())
    })
}

fn command(url: &str, words: &[&str]) -> redis::RedisResult<Option<String>> {
    let mut connection = redis_client(url).unwrap().get_connection()?;
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| _ = command.arg(word));
    command.query(&mut connection)
}

/// The processes that name `folder` or work in it.
fn processes(folder: &Path) -> Vec<(u32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let lines = ids.filter(|pid| *pid != std::process::id()).filter_map(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
        (line.contains(folder.to_str()?) || cwd.starts_with(folder)).then_some((pid, line))
    });
    lines.collect()
}

fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_second_start_finds_everything_again() {
    let folder = scratch();
    let cold = Instant::now();
    let servers = Embedded::start(folder.path()).unwrap();
    let cold = cold.elapsed();
    let (redis, postgres) = (servers.redis_url(), servers.postgres_url());
    command(&redis, &["SET", "line", "42"]).unwrap();
    sql(&postgres, "CREATE TABLE kept AS SELECT 42 AS answer").unwrap();
    assert_eq!(sql(&postgres, "SHOW fsync").unwrap(), ["on"]);
    assert_eq!(sql(&postgres, "SHOW server_encoding").unwrap(), ["UTF8"]);
    let info = command(&redis, &["INFO"]).unwrap().unwrap();
    assert_eq!(RedisFacts::parse(&info).danger(0, false), None);
    let stop = Instant::now();
    servers.stop();
    let stop = stop.elapsed();
    assert_eq!(processes(folder.path()), []);

    let warm = Instant::now();
    let servers = Embedded::start(folder.path()).unwrap();
    println!("cold start {cold:?}, stop {stop:?}, warm start {:?}", warm.elapsed());
    assert_eq!((servers.redis_url(), servers.postgres_url()), (redis.clone(), postgres.clone()));
    assert_eq!(command(&redis, &["GET", "line"]).unwrap().as_deref(), Some("42"));
    assert_eq!(sql(&postgres, "SELECT answer FROM kept").unwrap(), ["42"]);
}

#[test]
fn a_crash_loses_nothing_and_a_restart_is_at_the_same_address() {
    let folder = scratch();
    let mut redis = Redis::start_at(&folder.path().join("redis")).unwrap();
    let mut postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
    command(&redis.url(), &["SET", "line", "1"]).unwrap();
    sql(&postgres.url(), "CREATE TABLE kept AS SELECT 1 AS answer").unwrap();
    let before = (redis.pid(), postgres.pid());
    redis.kill();
    postgres.kill();
    assert!(command(&redis.url(), &["PING"]).is_err());
    assert!(sql(&postgres.url(), "SELECT 1").is_err());
    redis.restart().unwrap();
    postgres.restart().unwrap();
    assert_ne!(before, (redis.pid(), postgres.pid()));
    assert_eq!(command(&redis.url(), &["GET", "line"]).unwrap().as_deref(), Some("1"));
    assert_eq!(sql(&postgres.url(), "SELECT answer FROM kept").unwrap(), ["1"]);
    // Frozen servers can still be stopped.
    redis.freeze();
    postgres.freeze();
    drop((redis, postgres));
    assert_eq!(processes(folder.path()), []);
}

#[test]
fn arguments_of_a_test_win() {
    let folder = scratch();
    let extra = ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"];
    let redis = Redis::start_with(folder.path(), &extra).unwrap();
    let facts = RedisFacts::parse(&command(&redis.url(), &["INFO"]).unwrap().unwrap());
    assert!(facts.danger(0, false).is_some() && !facts.aof_enabled);
}

#[test]
fn one_folder_has_one_holder() {
    let folder = scratch();
    let first = Redis::start_at(folder.path()).unwrap();
    let second = Redis::start_at(folder.path());
    assert!(matches!(second, Err(EmbeddedError::Busy(_))), "{second:?}");
    drop(first);
    assert!(Redis::start_at(folder.path()).is_ok());
}

#[test]
fn a_path_too_long_for_a_socket_works_all_the_same() {
    let folder = scratch();
    let deep = folder.path().join("a folder with spaces & more".repeat(4));
    for _ in 0..2 {
        let servers = Embedded::start(&deep).unwrap();
        assert!(servers.redis_url().starts_with("redis+unix:///tmp/waitroom-"), "{}", servers.redis_url());
        command(&servers.redis_url(), &["PING"]).unwrap();
        sql(&servers.postgres_url(), "SELECT 1").unwrap();
    }
}

#[test]
fn a_closed_folder_works_also_as_root() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
    for _ in 0..2 {
        let servers = Embedded::start(folder.path()).unwrap();
        sql(&servers.postgres_url(), "CREATE TABLE IF NOT EXISTS kept ()").unwrap();
    }
    let home = std::fs::read_to_string(folder.path().join("postgres/home"));
    if let Ok(home) = home {
        assert!(home.starts_with("/var/lib/waitroom/"), "{home}");
        std::fs::remove_dir_all(home).unwrap();
    }
}

#[test]
fn migrations_run_once_though_two_start_together() {
    let folder = scratch();
    let postgres = Postgres::start_at(folder.path()).unwrap();
    let url = postgres.url();
    runtime().block_on(async {
        let client = connect::postgres_single(&url).await.unwrap();
        assert_eq!(migrations::current_version(&client).await.unwrap(), None);
        let runs = (0..4).map(|_| migrations::run(&url));
        for version in futures_util::future::join_all(runs).await {
            assert_eq!(version.unwrap(), migrations::wanted_version());
        }
        assert_eq!(migrations::current_version(&client).await.unwrap(), Some(migrations::wanted_version()));
        let pool = connect::postgres_pool(&url, 2).unwrap();
        let (first, second) = (pool.get().await.unwrap(), pool.get().await.unwrap());
        let row = first.query_one("SHOW statement_timeout", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "15s");
        let late = Instant::now();
        assert!(pool.get().await.is_err(), "a third connection of two");
        assert!(late.elapsed() < connect::POOL_WAIT + Duration::from_secs(30));
        drop((first, second));
    });
}

/// Not a test: what `parent` runs as a process of its own.
#[test]
#[ignore = "run by the tests below"]
fn helper() {
    let Some(folder) = std::env::var_os("EMBEDDED_HELPER") else { return };
    let servers = Embedded::start(Path::new(&folder)).unwrap();
    std::fs::write(
        PathBuf::from(folder).join("running"),
        format!("{} {}", servers.redis.pid(), servers.postgres.pid()),
    )
    .unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// A process that runs the servers in `folder`, and their ids.
fn parent(folder: &Path) -> (std::process::Child, Vec<u32>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "helper", "--ignored"]).env("EMBEDDED_HELPER", folder).stdout(Stdio::null());
    let child = command.spawn().unwrap();
    let note = folder.join("running");
    wait_until("the helper starts", || std::fs::read_to_string(&note).is_ok_and(|text| text.contains(' ')));
    let ids = std::fs::read_to_string(&note).unwrap();
    std::fs::remove_file(note).unwrap();
    (child, ids.split(' ').map(|id| id.parse().unwrap()).collect())
}

#[test]
fn a_killed_parent_takes_its_children_with_it() {
    let folder = scratch();
    let (mut child, ids) = parent(folder.path());
    assert!(processes(folder.path()).len() > ids.len(), "PostgreSQL has helpers");
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until("all are gone", || processes(folder.path()).is_empty());
    drop(Embedded::start(folder.path()).unwrap());
}

#[test]
fn frozen_servers_of_a_killed_parent_end_as_well() {
    let folder = scratch();
    let (mut child, ids) = parent(folder.path());
    ids.iter().for_each(|pid| signal(*pid, "STOP"));
    child.kill().unwrap();
    child.wait().unwrap();
    let servers = Embedded::start(folder.path()).unwrap();
    let now = processes(folder.path());
    assert!(ids.iter().all(|old| now.iter().all(|(pid, _)| pid != old)), "{ids:?} {now:?}");
    sql(&servers.postgres_url(), "SELECT 1").unwrap();
    command(&servers.redis_url(), &["PING"]).unwrap();
}

#[test]
fn leftovers_are_ended_by_the_next_start() {
    let folder = scratch();
    drop(Embedded::start(folder.path()).unwrap());
    // As a run without the signal of its death would leave them: a server on the data, and one of PostgreSQL's
    // processes, which tell their folder only by where they work.
    let redis = folder.path().join("redis");
    let mut stray = Command::new("redis-server");
    stray
        .args(["--port", "0", "--save", "", "--appendonly", "yes", "--set-proc-title", "no", "--dir"])
        .arg(&redis);
    let mut stray = stray.stdout(Stdio::null()).spawn().unwrap();
    let mut helper = Command::new("bash");
    helper
        .args(["-c", "exec -a 'postgres: stray' sleep 60"])
        .current_dir(folder.path().join("postgres/cluster"));
    let mut helper = helper.spawn().unwrap();
    wait_until("both run", || {
        processes(folder.path()).iter().any(|(_, line)| line.starts_with("postgres: "))
    });
    let servers = Embedded::start(folder.path()).unwrap();
    assert!(stray.try_wait().unwrap().is_some() && helper.try_wait().unwrap().is_some());
    command(&servers.redis_url(), &["PING"]).unwrap();
}

#[test]
fn a_postmaster_killed_with_its_parent_is_recovered() {
    let folder = scratch();
    let (mut child, ids) = parent(folder.path());
    child.kill().unwrap();
    ids.iter().for_each(|pid| drop(Command::new("kill").args(["-KILL", &pid.to_string()]).output()));
    child.wait().unwrap();
    let servers = Embedded::start(folder.path()).unwrap();
    sql(&servers.postgres_url(), "SELECT 1").unwrap();
}
