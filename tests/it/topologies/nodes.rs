//! Redis as its users run it: primaries and replicas, Sentinels, a cluster; each on ports of its own.

#[path = "../../shared/ports.rs"]
mod ports;

use crate::world::{Server, World};
pub use ports::free_port;
use std::{
    fs,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use waitroom::{embedded, store::postgres::connect::postgres_single};

/// For everything that takes a while on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One Redis that listens on a port.
pub struct Node {
    pub server: embedded::Redis,
    pub port: u16,
    pub bus: u16,
    user: Option<(&'static str, &'static str)>,
    _folder: tempfile::TempDir,
}

impl Node {
    pub fn start(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, bus) = (free_port(), free_port());
        let mut words =
            vec!["--port".to_owned(), port.to_string(), "--repl-diskless-sync-delay".into(), "0".into()];
        words.extend(extra.iter().map(|word| word.replace("BUS", &bus.to_string())));
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let server = embedded::Redis::start_with(&folder.path().join("redis"), &words).unwrap();
        Self { server, port, bus, user: None, _folder: folder }
    }

    pub fn replica_of(primary: &Node) -> Self {
        let node = Self::start(&[]);
        node.say::<()>(&["REPLICAOF", "127.0.0.1", &primary.port.to_string()]);
        until("the replica is connected", || node.info("master_link_status") == "up");
        node
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn log_in(&mut self, user: &'static str, password: &'static str) {
        self.user = Some((user, password));
    }

    /// Says it, and hears the answer or that it is refused.
    pub fn try_say<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let login = self.user.map(|(user, password)| format!("{user}:{password}@")).unwrap_or_default();
        let client = redis::Client::open(format!("redis://{login}{}", self.address()))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query(&mut connection)
    }

    pub fn say<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_say(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A field of INFO; empty if there is none.
    pub fn info(&self, field: &str) -> String {
        let info: String = self.try_say(&["INFO"]).unwrap_or_default();
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }

    /// It hears nothing of its primary any more, and cannot ask for it: the link to it is cut.
    pub fn cut_off(&self) {
        self.say::<()>(&["CONFIG", "SET", "masterauth", "nobody-knows-this"]);
        let _: redis::Value = self.say(&["CLIENT", "KILL", "TYPE", "master"]);
        until("the link is cut", || self.info("master_link_status") == "down");
    }

    pub fn mend(&self) {
        self.say::<()>(&["CONFIG", "SET", "masterauth", ""]);
    }
}

/// Sentinels over one primary; end with their owner.
pub struct Sentinels {
    children: Vec<(Child, u16)>,
    /// What they ask everyone for; empty: nothing.
    password: &'static str,
    _folder: tempfile::TempDir,
}

impl Sentinels {
    /// Three of them, which may ask for a password.
    pub fn over(primary: &Node, name: &str, password: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let extra = match password {
            "" => String::new(),
            password => format!("requirepass {password}\nsentinel sentinel-pass {password}"),
        };
        let start = |i: usize| {
            let port = free_port();
            let config = folder.path().join(format!("{i}.conf"));
            let lines = format!(
                "port {port}\ndir {}\nlogfile {i}.log\nprotected-mode no\nsentinel monitor {name} 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds {name} 1500\nsentinel failover-timeout {name} 4000\n{extra}\n",
                folder.path().display(),
                primary.port
            );
            fs::write(&config, lines).unwrap();
            let mut command = Command::new("redis-server");
            command.arg(config).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
            (command.spawn().unwrap(), port)
        };
        Self { children: (0..3).map(start).collect(), password, _folder: folder }
    }

    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.children.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
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
    pub fn ready(&self, name: &str, replicas: usize) {
        for (_, port) in &self.children {
            until("the Sentinels know each other", || {
                self.ask::<String>(*port, &["CKQUORUM", name]).is_ok_and(|said| said.contains("3 usable"))
                    && self
                        .ask::<Vec<redis::Value>>(*port, &["REPLICAS", name])
                        .is_ok_and(|known| known.len() == replicas)
            });
        }
    }
}

impl Drop for Sentinels {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Slots of the three primaries.
pub const THIRDS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Three primaries, and a replica of the first.
pub struct Cluster {
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// `announced`: a name that all nodes announce to clients; among themselves they use addresses.
    pub fn start(announced: Option<&str>) -> Self {
        let mut words =
            vec!["--cluster-enabled", "yes", "--cluster-port", "BUS", "--cluster-node-timeout", "2000"];
        let named = announced.map(|name| {
            ["--cluster-announce-hostname", name, "--cluster-preferred-endpoint-type", "hostname"]
        });
        words.extend(named.iter().flatten());
        let nodes: Vec<_> = (0..4).map(|_| Node::start(&words)).collect();
        for (node, (first, last)) in nodes.iter().zip(THIRDS) {
            node.say::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for node in &nodes[1..] {
            let (port, bus) = (node.port.to_string(), node.bus.to_string());
            nodes[0].say::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = Self { nodes };
        cluster.all_know(4);
        let first: String = cluster.nodes[0].say(&["CLUSTER", "MYID"]);
        cluster.nodes[3].say::<()>(&["CLUSTER", "REPLICATE", &first]);
        until("the cluster has a replica", || cluster.nodes[3].info("master_link_status") == "up");
        cluster
    }

    fn all_know(&self, count: usize) {
        for node in &self.nodes {
            until("the cluster is up", || {
                let info: String = node.say(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains(&format!("cluster_known_nodes:{count}"))
            });
        }
    }

    pub fn hosts(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(Node::address).collect();
        hosts.join(",")
    }

    /// The node of the primaries that has the sale's slot.
    pub fn home(&self, sale: &str) -> usize {
        let slot: u16 = self.nodes[0].say(&["CLUSTER", "KEYSLOT", sale]);
        THIRDS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap()
    }
}

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A server on this Redis, with a database of its own: instances open every sale that they find.
pub async fn serve(url: &str, others: &[(&str, &str)]) -> Server {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let world = World::shared();
    let name = format!("topology{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let postgres = world.postgres.url();
    postgres_single(&postgres)
        .await
        .unwrap()
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    let postgres = postgres.replace("/waitroom?", &format!("/{name}?"));
    let all = [&[("redis_url", url), ("postgres_url", &postgres)], others].concat();
    Server::start_with(world, &all).await
}
