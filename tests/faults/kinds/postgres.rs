//! What happens to PostgreSQL and to the way there.

use super::{Held, Kind};
use crate::{
    proxy::{Proxy, Then, When},
    stage::Stage,
    standby::Standby,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use waitroom::store::postgres::connect;

/// For so long commits are confirmed by the replica.
const FOLLOWED: Duration = Duration::from_secs(2);
const LAG: Duration = Duration::from_millis(150);
/// A commit comes by within this, if anybody books.
const COMMIT: Duration = Duration::from_secs(10);
/// Bytes beyond which no file of PostgreSQL's may grow: its log is longer already.
const FILE_MAX: u64 = 64 << 10;

pub async fn inject(kind: Kind, stage: &mut Stage) -> Held {
    match kind {
        Kind::PostgresKilled => stage.postgres.kill(),
        Kind::PostgresKilledBeforeCommit => return kill_at(stage, When::Before).await,
        Kind::PostgresKilledDuringCommit => return kill_at(stage, When::During).await,
        Kind::PostgresKilledAfterCommit => return kill_at(stage, When::After).await,
        Kind::PostgresStopped => stage.postgres.freeze(),
        Kind::PostgresCut => links(stage).for_each(Proxy::sever),
        Kind::PostgresCutOnce => links(stage).for_each(|link| {
            link.sever();
            link.heal();
        }),
        Kind::PostgresSlow => links(stage).for_each(|link| link.lag(LAG)),
        Kind::PostgresCrowded => {
            let url = stage.postgres.url();
            let crowding = tokio::spawn(crowd(url.clone()));
            let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                          WHERE backend_type = 'client backend' AND application_name <> 'crowd'";
            // It ends its own connection too.
            if let Ok(client) = connect::postgres_single(&url).await {
                let _ = client.batch_execute(others).await;
            }
            return Held::Task(crowding);
        }
        Kind::PostgresReplaced => {
            stage.standby = Some(Standby::of(&stage.postgres).await);
            sleep(FOLLOWED).await;
            stage.postgres.kill();
        }
        Kind::PostgresDiskFull => limit_files(stage, Some(FILE_MAX)),
        _ => unreachable!("{kind:?} is not about PostgreSQL"),
    }
    Held::Nothing
}

pub async fn heal(kind: Kind, stage: &mut Stage, held: Held) {
    match kind {
        Kind::PostgresKilled
        | Kind::PostgresKilledBeforeCommit
        | Kind::PostgresKilledDuringCommit
        | Kind::PostgresKilledAfterCommit => stage.postgres.restart().unwrap(),
        Kind::PostgresReplaced => {
            let standby = stage.standby.as_ref().expect("it follows");
            standby.replace(&stage.postgres).await;
        }
        Kind::PostgresStopped => stage.postgres.thaw(),
        Kind::PostgresCut => links(stage).for_each(Proxy::heal),
        Kind::PostgresSlow => links(stage).for_each(|link| link.lag(Duration::ZERO)),
        Kind::PostgresDiskFull => {
            limit_files(stage, None);
            // What it could not write, it could not go on without.
            stage.postgres.restart().unwrap();
        }
        _ => {}
    }
    match held {
        Held::Trap(trap) => trap.release(),
        Held::Task(task) => task.abort(),
        Held::Nothing => {}
    }
}

/// PostgreSQL dies when an instance's batch of bookings is at that point of its commit.
async fn kill_at(stage: &mut Stage, when: When) -> Held {
    let mut trap = stage.instances[0].wiring.postgres.trap(when, "COMMIT", Then::Hold);
    // If nobody books just now, it dies at some other moment.
    let _ = timeout(COMMIT, trap.sprung()).await;
    stage.postgres.kill();
    Held::Trap(trap)
}

/// Takes every connection that there is, and each that becomes free.
async fn crowd(url: String) {
    let mut taken = Vec::new();
    loop {
        let config = format!("{url}&application_name=crowd");
        match tokio_postgres::connect(&config, tokio_postgres::NoTls).await {
            Ok((client, connection)) => taken.push((client, tokio::spawn(connection))),
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

fn limit_files(stage: &Stage, bytes: Option<u64>) {
    let postmaster = stage.postgres.pid();
    let ours = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        *pid == postmaster || parent.is_some_and(|parent| parent.trim() == postmaster.to_string())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(ours);
    for pid in pids {
        let limit = Rlimit { current: bytes, maximum: None };
        let pid = Pid::from_raw(pid as i32);
        // A process may end meanwhile.
        let _ = prlimit(pid, Resource::Fsize, limit);
    }
}

/// Each instance's way to PostgreSQL.
fn links(stage: &Stage) -> impl Iterator<Item = &Proxy> {
    stage.instances.iter().map(|instance| &instance.wiring.postgres)
}
