//! A second PostgreSQL that follows the first, has what is committed, and takes its place.

use crate::{nodes::until, stage::sql};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Child, Command, Stdio},
};
use tokio_postgres::config::Host;
use waitroom::{embedded::Postgres, store::postgres::connect::postgres_single};

const SOCKET: &str = ".s.PGSQL.5432";

/// Ends with its owner.
pub struct Standby {
    child: Child,
    url: String,
    folder: tempfile::TempDir,
}

impl Standby {
    /// Copies the first and follows it; from here on it confirms each commit.
    pub async fn of(primary: &Postgres) -> Self {
        let client = postgres_single(&primary.url()).await.unwrap();
        let cluster: String = client.query_one("SHOW data_directory", &[]).await.unwrap().get(0);
        let owner = fs::metadata(&cluster).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let (data, own) = (folder.path().join("data"), folder.path().join("socket"));
        for path in [&data, &own] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
            chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        // That of the first, whichever is installed.
        let programs = fs::read_link(format!("/proc/{}/exe", primary.pid())).unwrap();
        let command = |program: &str| {
            let mut command = Command::new(programs.with_file_name(program));
            command.uid(owner.uid()).gid(owner.gid()).current_dir("/");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let mut copy = command("pg_basebackup");
        copy.args(["-U", "waitroom", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-h"])
            .arg(sockets(primary));
        let copied = copy.arg("-D").arg(&data).status().unwrap();
        assert!(copied.success(), "pg_basebackup");
        let mut server = command("postgres");
        server.arg("-D").arg(&data).arg("-k").arg(&own).args(["-c", "listen_addresses="]);
        let child = server.spawn().unwrap();
        let url = format!("postgres:///waitroom?host={}&user=waitroom", own.display());
        let standby = Self { child, url, folder };
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        while client.query_one(follows, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        sql(&primary.url(), "ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        sql(&primary.url(), "SELECT pg_reload_conf()").await;
        standby
    }

    /// Whoever asks the first, which is dead, is answered by this one from now on.
    pub async fn replace(&self, primary: &Postgres) {
        sql(&self.url, "SELECT pg_promote()").await;
        let address = sockets(primary).join(SOCKET);
        // The dead one has left it.
        let _ = fs::remove_file(&address);
        symlink(self.folder.path().join("socket").join(SOCKET), &address).unwrap();
        sql(&primary.url(), "SELECT pg_current_wal_lsn()").await;
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        // At once, with its helpers.
        let _ = kill_process(Pid::from_child(&self.child), Signal::QUIT);
        until("the standby has ended", || !matches!(self.child.try_wait(), Ok(None)));
    }
}

fn sockets(postgres: &Postgres) -> PathBuf {
    let config: tokio_postgres::Config = postgres.url().parse().unwrap();
    let Host::Unix(sockets) = &config.get_hosts()[0] else { panic!("a Unix socket") };
    sockets.clone()
}
