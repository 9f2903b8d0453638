//! Instances as hosts of their own: a network namespace each, on a bridge, so that packets can get lost one way. Needs root.

use std::process::{Command, Stdio};

/// The hosts of a run; gone with their owner.
pub struct Hosts {
    tag: String,
    net: u32,
    count: usize,
}

/// Whether this machine lets us.
pub fn can_be_made() -> bool {
    let name = format!("wfp{}", std::process::id() % 100_000);
    rustix::process::geteuid().is_root()
        && ip(&format!("netns add {name}"))
        && ip(&format!("netns del {name}"))
}

impl Hosts {
    pub fn make(count: usize) -> Self {
        let first = std::process::id();
        // Whoever adds the bridge has the number; what a killed run left behind goes when its number comes up.
        let net = (first..first + 250).map(|n| n % 250).find(|net| claim(*net, count));
        let net = net.expect("one of 250 networks is free");
        let hosts = Self { tag: format!("wf{net}"), net, count };
        let Self { tag, .. } = &hosts;
        // Stores are reached by the first of these, visitors come by the second.
        must(&format!("addr add 10.77.{net}.1/24 dev {tag}"));
        must(&format!("addr add 10.78.{net}.1/24 dev {tag}"));
        must(&format!("link set {tag} up"));
        for i in 0..count {
            let (name, host) = (hosts.namespace(i), i + 2);
            must(&format!("netns add {name}"));
            must(&format!("link add {tag}v{i} type veth peer name eth0 netns {name}"));
            must(&format!("link set {tag}v{i} master {tag} up"));
            for word in ["link set lo up", "link set eth0 up"] {
                must(&format!("-n {name} {word}"));
            }
            must(&format!("-n {name} addr add 10.77.{net}.{host}/24 dev eth0"));
            must(&format!("-n {name} addr add 10.78.{net}.{host}/24 dev eth0"));
        }
        hosts
    }

    pub fn namespace(&self, i: usize) -> String {
        format!("{}n{i}", self.tag)
    }

    /// Where instance `i` is reached by visitors.
    pub fn address(&self, i: usize) -> String {
        format!("10.78.{}.{}", self.net, i + 2)
    }

    /// Where the stores are.
    pub fn stores(&self) -> String {
        format!("10.77.{}.1", self.net)
    }

    /// What instance `i` sends to the stores gets lost; or not any more.
    pub fn lose_to_stores(&self, i: usize, lost: bool) {
        let word = if lost { "add" } else { "del" };
        must(&format!("-n {} route {word} blackhole {}/32", self.namespace(i), self.stores()));
    }

    /// What the stores answer to instance `i` gets lost; or not any more.
    pub fn lose_from_stores(&self, i: usize, lost: bool) {
        let word = if lost { "add" } else { "del" };
        must(&format!("route {word} blackhole 10.77.{}.{}/32", self.net, i + 2));
    }

    /// Host `i` is off the net, or on it again.
    #[allow(dead_code, reason = "hosts go in the tests of deployments")]
    pub fn plug(&self, i: usize, is_in: bool) {
        must(&format!("link set {}v{i} {}", self.tag, if is_in { "up" } else { "down" }));
    }

    fn unmake(&self) {
        for i in 0..self.count {
            ip(&format!("route del blackhole 10.77.{}.{}/32", self.net, i + 2));
            ip(&format!("netns del {}", self.namespace(i)));
        }
        ip(&format!("link del {}", self.tag));
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        self.unmake();
    }
}

/// Takes a network's number, unless a process that lives has it.
fn claim(net: u32, count: usize) -> bool {
    let tag = format!("wf{net}");
    let alias = std::fs::read_to_string(format!("/sys/class/net/{tag}/ifalias"));
    if let Ok(owner) = alias {
        // Without a name it is just being made.
        let owner = owner.trim();
        if owner.is_empty() || std::path::Path::new("/proc").join(owner).exists() {
            return false;
        }
        Hosts { tag: tag.clone(), net, count }.unmake();
    }
    ip(&format!("link add {tag} type bridge")) && ip(&format!("link set {tag} alias {}", std::process::id()))
}

fn ip(words: &str) -> bool {
    let mut command = Command::new("ip");
    command.args(words.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn must(words: &str) {
    assert!(ip(words), "ip {words}");
}
