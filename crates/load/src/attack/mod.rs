//! Attackers beside the crowd: programs that speak HTTP and WebSocket by themselves, and as badly as they like. What each kind is
//! answered is counted; a forgery that is taken is a broken promise. They need no other part of the generator but an address.

pub mod peer;
mod tricks;

use super::{Target, random::Random};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// After an attempt that ended at once, such as one that was refused.
const PAUSE: Duration = Duration::from_millis(20);
/// No attempt is waited for longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a forgery is counted as that was taken.
pub const TAKEN: &str = "taken";

/// A kind of attacker. Each tries the same thing over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Joins with mutations of a true place token.
    Forger,
    /// Draws a place without a socket, and is never seen again.
    Ghost,
    /// Joins, leaves and joins again as fast as it can.
    Jumper,
    /// Joins, and pings without a pause.
    Pinger,
    /// Opens a WebSocket and sends what is no frame.
    Garbler,
    /// Sends a message in fragments that never end.
    Fragmenter,
    /// Opens a WebSocket and never joins.
    Idler,
    /// Opens a connection and says nothing.
    Silent,
    /// Asks a letter at a time.
    Slow,
    /// Asks for the plan again and again, and reads nothing.
    Deaf,
    /// Polls over HTTP without a pause.
    Poller,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Forger,
        Self::Ghost,
        Self::Jumper,
        Self::Pinger,
        Self::Garbler,
        Self::Fragmenter,
        Self::Idler,
        Self::Silent,
        Self::Slow,
        Self::Deaf,
        Self::Poller,
    ];

    /// As in a scenario and a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forger => "forger",
            Self::Ghost => "ghost",
            Self::Jumper => "jumper",
            Self::Pinger => "pinger",
            Self::Garbler => "garbler",
            Self::Fragmenter => "fragmenter",
            Self::Idler => "idler",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::Deaf => "deaf",
            Self::Poller => "poller",
        }
    }
}

/// Who attacks, in a scenario: how many of each kind, and from how many addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Attackers {
    /// Addresses of this machine's loopback that they come from; 0: the system's choice, as elsewhere.
    #[serde(default)]
    pub addresses: u16,
    /// How many of each kind.
    #[serde(flatten)]
    pub kinds: BTreeMap<Kind, u32>,
}

/// What the attempts of each kind were answered, and how often.
pub type Answers = BTreeMap<&'static str, BTreeMap<String, u64>>;

/// Attackers at work; they go when this is dropped.
pub struct Attack {
    answers: Arc<Mutex<Answers>>,
    _tasks: JoinSet<()>,
}

impl Attack {
    /// Lets loose those of this part of so many.
    pub fn begin(
        attackers: &Attackers,
        target: &Target,
        to: SocketAddr,
        seed: u64,
        (part, parts): (u32, u32),
    ) -> Self {
        let answers = Arc::<Mutex<Answers>>::default();
        let mut tasks = JoinSet::new();
        let many = attackers.kinds.iter().flat_map(|(kind, count)| (0..*count).map(|_| *kind));
        let is_ours = |n: usize| n as u32 % parts == part - 1;
        for (n, kind) in many.enumerate().filter(|(n, _)| is_ours(*n)) {
            let (answers, path) = (answers.clone(), format!("/v1/sales/{}", target.sale));
            let from = source(attackers.addresses, n, to);
            let mut random = Random::part(seed, n as u64);
            tasks.spawn(async move {
                loop {
                    let tried = timeout(PATIENCE, tricks::attempt(kind, from, to, &path, &mut random)).await;
                    let answer = tried.unwrap_or_else(|_| Ok("open".into()));
                    let answer = answer.unwrap_or_else(|error| format!("{}", error.kind()));
                    count(&answers, kind, answer);
                    sleep(PAUSE).await;
                }
            });
        }
        Self { answers, _tasks: tasks }
    }

    /// What they were answered until now.
    pub fn answers(&self) -> Answers {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn count(answers: &Mutex<Answers>, kind: Kind, answer: String) {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    *answers.entry(kind.as_str()).or_default().entry(answer).or_default() += 1;
}

/// Forgeries that were taken.
pub fn taken(answers: &Answers) -> u64 {
    answers.values().filter_map(|of| of.get(TAKEN)).sum()
}

/// Where the attacker of that number comes from: the crowd has the loopback's first addresses.
fn source(addresses: u16, n: usize, to: SocketAddr) -> Option<IpAddr> {
    let nth = u16::try_from(n % usize::from(addresses.max(1))).unwrap_or(0).to_be_bytes();
    (addresses > 0 && to.is_ipv4() && to.ip().is_loopback()).then_some(IpAddr::V4(Ipv4Addr::new(
        127,
        66,
        nth[0],
        nth[1].max(1),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_names_them() {
        let read = |text: &str| toml::from_str::<Attackers>(text);
        let attackers = read("addresses = 3\nforger = 2\nsilent = 500").unwrap();
        assert_eq!((attackers.addresses, attackers.kinds[&Kind::Silent]), (3, 500));
        assert!(read("hacker = 1").is_err());
        assert!(Kind::ALL.iter().all(|kind| read(&format!("{} = 1", kind.as_str())).is_ok()));
    }

    #[test]
    fn few_or_many_addresses() {
        let here = "127.0.0.1:1".parse().unwrap();
        let of = |addresses| {
            (0..10).map(|n| source(addresses, n, here)).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!((of(0).len(), of(1).len()), (1, 1));
        assert!(of(10).len() >= 9);
        assert_eq!(source(5, 1, "192.0.2.1:1".parse().unwrap()), None);
    }
}
