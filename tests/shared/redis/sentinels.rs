//! Sentinels over one primary.

use super::{Node, TLS, free_port, until};
use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// They end with their owner.
pub struct Sentinels {
    all: Vec<Sentinel>,
    name: &'static str,
    /// What they ask everyone for; empty: nothing.
    password: &'static str,
    _folder: tempfile::TempDir,
}

struct Sentinel {
    child: Child,
    port: u16,
    reached_at: u16,
}

impl Sentinels {
    /// Three of them, which know the primary by that name, and may ask for a password. They speak TLS if it does.
    pub fn over(primary: &Node, name: &'static str, password: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let extra = match password {
            "" => String::new(),
            password => format!("requirepass {password}\nsentinel sentinel-pass {password}"),
        };
        let by_tls = primary.reached_at() != primary.port;
        let start = |i: usize| {
            let port = free_port();
            let reached_at = if by_tls { free_port() } else { port };
            let config = folder.path().join(format!("{i}.conf"));
            let lines = format!(
                "port {port}\ndir {}\nlogfile {i}.log\nprotected-mode no\nsentinel monitor {name} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {name} 1500\nsentinel failover-timeout {name} 4000\n{extra}\n",
                folder.path().display(),
                primary.reached_at()
            );
            fs::write(&config, lines).unwrap();
            let mut command = Command::new("redis-server");
            command.arg(config).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
            if by_tls {
                command.args(["--tls-port", &reached_at.to_string()]).args(TLS);
            }
            Sentinel { child: command.spawn().unwrap(), port, reached_at }
        };
        Self { all: (0..3).map(start).collect(), name, password, _folder: folder }
    }

    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.all.iter().map(|one| format!("127.0.0.1:{}", one.reached_at)).collect();
        hosts.join(",")
    }

    fn ask<T: redis::FromRedisValue>(&self, port: u16, words: &[&str]) -> redis::RedisResult<T> {
        let login = if self.password.is_empty() { String::new() } else { format!(":{}@", self.password) };
        let client = redis::Client::open(format!("redis://{login}127.0.0.1:{port}"))?;
        redis::cmd("SENTINEL")
            .arg(words)
            .query(&mut client.get_connection_with_timeout(Duration::from_secs(5))?)
    }

    /// All know each other and so many replicas: from here on they can fail over.
    pub fn ready(&self, replicas: usize) {
        for Sentinel { port, .. } in &self.all {
            until("the Sentinels know each other", || {
                self.ask::<String>(*port, &["CKQUORUM", self.name])
                    .is_ok_and(|said| said.contains("3 usable"))
                    && self
                        .ask::<Vec<redis::Value>>(*port, &["REPLICAS", self.name])
                        .is_ok_and(|known| known.len() == replicas)
            });
        }
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for Sentinel { child, .. } in &mut self.all {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
