//! Redis as its users run it: alone, behind Sentinels, as a cluster.

use crate::{
    clock::Clock,
    node::{Node, free_port, until},
    stage::{SALE, Topology},
};
use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// The name that Sentinels know the primary by.
const NAME: &str = "line";

/// The nodes, and what watches over them.
pub struct Redises {
    pub nodes: Vec<Node>,
    sentinels: Vec<(Child, u16)>,
    _folder: tempfile::TempDir,
    topology: Topology,
}

impl Redises {
    pub fn start(topology: Topology) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = (topology == Topology::Clocked).then(Clock::right);
        let nodes = match topology {
            Topology::Cluster => cluster(),
            _ => vec![Node::start(&[], clock)],
        };
        let mut redises = Self { nodes, sentinels: Vec::new(), _folder: folder, topology };
        let replicas = topology.replicas();
        if replicas > 0 {
            redises
                .nodes
                .extend((0..replicas).map(|_| Node::replica_of(&redises.nodes[0])).collect::<Vec<_>>());
            redises.watch();
        }
        redises
    }

    /// What instances are told.
    pub fn url(&self) -> String {
        match self.topology {
            Topology::Cluster => {
                let nodes: Vec<_> = self.nodes.iter().map(Node::address).collect();
                format!("redis-cluster://{}", nodes.join(","))
            }
            _ if self.sentinels.is_empty() => self.nodes[0].url(),
            _ => {
                let hosts: Vec<_> =
                    self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
                format!("redis-sentinel://{}/{NAME}", hosts.join(","))
            }
        }
    }

    /// The one that has the line: a primary, by its own word.
    pub fn home(&self) -> Option<usize> {
        let key = format!("waitroom:{{{SALE}}}:sale");
        let has = |node: &Node| {
            node.info("role") == "master" && node.try_say::<u64>(&["EXISTS", &key]).is_ok_and(|n| n == 1)
        };
        self.nodes.iter().position(has)
    }

    /// Three Sentinels over the primary.
    fn watch(&mut self) {
        let port = self.nodes[0].port;
        for i in 0..3 {
            let own = free_port();
            let config = self._folder.path().join(format!("{i}.conf"));
            let lines = format!(
                "port {own}\ndir {}\nlogfile {i}.log\nprotected-mode no\nsentinel monitor {NAME} 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds {NAME} 1500\nsentinel failover-timeout {NAME} 4000\n",
                self._folder.path().display()
            );
            fs::write(&config, lines).unwrap();
            let mut command = Command::new("redis-server");
            command.arg(config).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
            self.sentinels.push((command.spawn().unwrap(), own));
        }
        let replicas = self.topology.replicas();
        for (_, port) in &self.sentinels {
            until("the Sentinels know each other", || {
                ask::<String>(*port, &["CKQUORUM", NAME]).is_ok_and(|said| said.contains("3 usable"))
                    && ask::<Vec<redis::Value>>(*port, &["REPLICAS", NAME])
                        .is_ok_and(|known| known.len() == replicas)
            });
        }
    }

    /// Moves the slot of the sale to another node, key by key, while the sale goes on.
    pub fn move_slot(&self, pause: Duration) {
        let home = self.home().expect("the line is somewhere");
        let [from, to] = [home, (0..3).find(|i| *i != home).unwrap()].map(|i| &self.nodes[i]);
        let slot: u16 = from.say(&["CLUSTER", "KEYSLOT", SALE]);
        let slot = slot.to_string();
        let [from_id, to_id]: [String; 2] = [from, to].map(|node| node.say(&["CLUSTER", "MYID"]));
        to.say::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
        from.say::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
        loop {
            let keys: Vec<String> = from.say(&["CLUSTER", "GETKEYSINSLOT", &slot, "4"]);
            if keys.is_empty() {
                break;
            }
            let port = to.port.to_string();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
            words.extend(keys.iter().map(String::as_str));
            from.say::<redis::Value>(&words);
            std::thread::sleep(pause);
        }
        for node in [to, from].into_iter().chain(&self.nodes) {
            // A replica is told by its primary.
            let _ = node.try_say::<redis::Value>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
        }
    }
}

impl Drop for Redises {
    fn drop(&mut self) {
        for (child, _) in &mut self.sentinels {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ask<T: redis::FromRedisValue>(port: u16, words: &[&str]) -> redis::RedisResult<T> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}"))?;
    redis::cmd("SENTINEL").arg(words).query(&mut client.get_connection_with_timeout(Duration::from_secs(5))?)
}

/// Slots of the three primaries.
const THIRDS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

/// Three primaries, and a replica of the one that has the sale.
fn cluster() -> Vec<Node> {
    let words = ["--cluster-enabled", "yes", "--cluster-port", "BUS", "--cluster-node-timeout", "2000"];
    let nodes: Vec<_> = (0..4).map(|_| Node::start(&words, None)).collect();
    for (node, (first, last)) in nodes.iter().zip(THIRDS) {
        node.say::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
    }
    for node in &nodes[1..] {
        let (port, bus) = (node.port.to_string(), node.bus.to_string());
        nodes[0].say::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
    }
    for node in &nodes {
        until("the cluster is up", || {
            let info: String = node.say(&["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
        });
    }
    let slot: u16 = nodes[0].say(&["CLUSTER", "KEYSLOT", SALE]);
    let home = THIRDS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).unwrap();
    let home: String = nodes[home].say(&["CLUSTER", "MYID"]);
    nodes[3].say::<()>(&["CLUSTER", "REPLICATE", &home]);
    until("the cluster has a replica", || nodes[3].info("master_link_status") == "up");
    nodes
}
