//! Redis as its users run it: alone, behind Sentinels, as a cluster.

use crate::{
    clock::Clock,
    nodes::{Cluster, Nature, Node, Sentinels},
    stage::{SALE, Topology},
};
use std::time::Duration;

/// The name that Sentinels know the primary by.
const NAME: &str = "line";

/// The nodes, and what watches over them.
pub struct Redises {
    pub nodes: Vec<Node>,
    sentinels: Option<Sentinels>,
    clock: Option<Clock>,
    topology: Topology,
}

impl Redises {
    pub fn start(topology: Topology) -> Self {
        let clock = (topology == Topology::Clocked).then(Clock::right);
        let environment = clock.as_ref().map(Clock::environment).unwrap_or_default();
        let mut nodes = match topology {
            Topology::Cluster => Cluster::start(Nature::default(), |cluster| cluster.home(SALE)).nodes,
            _ => vec![Node::start(Nature { environment, ..Nature::default() })],
        };
        let replicas = topology.replicas();
        let sentinels = (replicas > 0).then(|| {
            nodes.extend((0..replicas).map(|_| Node::replica_of(&nodes[0])).collect::<Vec<_>>());
            let sentinels = Sentinels::over(&nodes[0], NAME, "");
            sentinels.ready(replicas);
            sentinels
        });
        Self { nodes, sentinels, clock, topology }
    }

    /// What instances are told.
    pub fn url(&self) -> String {
        match (&self.sentinels, self.topology) {
            (Some(sentinels), _) => format!("redis-sentinel://{}/{NAME}", sentinels.hosts()),
            (None, Topology::Cluster) => {
                let nodes: Vec<_> = self.nodes.iter().map(Node::address).collect();
                format!("redis-cluster://{}", nodes.join(","))
            }
            _ => self.nodes[0].url(),
        }
    }

    /// The clock of the one Redis, so many seconds off.
    pub fn set_clock(&self, seconds: i64) {
        self.clock.as_ref().expect("its clock can be moved").set(seconds);
    }

    /// The one that has the line: a primary, by its own word.
    pub fn home(&self) -> Option<usize> {
        let key = format!("waitroom:{{{SALE}}}:sale");
        let has = |node: &Node| {
            node.info("role") == "master" && node.try_say::<u64>(&["EXISTS", &key]).is_ok_and(|n| n == 1)
        };
        self.nodes.iter().position(has)
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
