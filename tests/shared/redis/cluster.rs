//! A cluster of three primaries, one of which has a replica.

use super::{Nature, Node, until};

/// Slots of the three primaries.
const THIRDS: [(u16, u16); 3] = [(0, 5460), (5461, 10922), (10923, 16383)];

pub struct Cluster {
    /// The primaries, and then the replica.
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// `replicated` says which of the primaries has the replica.
    pub fn start(mut nature: Nature, replicated: impl FnOnce(&Self) -> usize) -> Self {
        let words = ["--cluster-enabled", "yes", "--cluster-port", "BUS", "--cluster-node-timeout", "2000"];
        nature.words.extend(words.map(ToOwned::to_owned));
        let nodes: Vec<_> = (0..4).map(|_| Node::start(nature.clone())).collect();
        for (node, (first, last)) in nodes.iter().zip(THIRDS) {
            node.say::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for node in &nodes[1..] {
            let (port, bus) = (node.reached_at().to_string(), node.bus.to_string());
            nodes[0].say::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        for node in &nodes {
            until("the cluster is up", || {
                let info: String = node.say(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            });
        }
        let cluster = Self { nodes };
        let primary: String = cluster.nodes[replicated(&cluster)].say(&["CLUSTER", "MYID"]);
        cluster.nodes[3].say::<()>(&["CLUSTER", "REPLICATE", &primary]);
        until("the cluster has a replica", || cluster.nodes[3].info("master_link_status") == "up");
        cluster
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
