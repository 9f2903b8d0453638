//! A sale in miniature: a server that keeps its promises (or breaks a chosen one), visitors who drop, leave, reload,
//! miss their turn and replay tokens, and a network that delays both ways. What visitors see is recorded.

mod server;
mod visitors;

use super::*;
use crate::{facts::NEVER, random::Random};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use wire::domain::place::LapseReason;

/// The promise that the server breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    LastFirst,
    Burst,
    Crowd,
    Amnesia,
    Forgiving,
    Spendthrift,
    Gullible,
    Unpaused,
}

type Key = (u64, u8);

enum What {
    Tick,
    Ranks,
    Phase(bool),
    Act(u32, Act),
    ToServer(u32, u32, Say),
    ToClient(u32, u32, Event, Option<Key>),
}

#[derive(Clone, Copy)]
enum Act {
    Connect,
    Drop,
    Leave,
    Seats,
    Redeem(Token),
}

enum Say {
    Join,
    Seats,
    Redeem(String, Token, Option<Key>),
    Leave,
    Gone,
}

#[derive(Clone, Copy)]
struct Record {
    stage: Stage,
    seq: u64,
    turn: u8,
    owned: bool,
}

#[derive(Default)]
struct Client {
    connections: u32,
    open: BTreeSet<u32>,
    token: Option<Key>,
    requests: u32,
    over: bool,
}

pub struct Simulator {
    fault: Fault,
    random: Random,
    now: Micros,
    queue: BTreeMap<(Micros, u64), What>,
    count: u64,
    arrived: HashMap<(u32, u32, bool), Micros>,
    clients: Vec<Client>,
    recorded: Recorded,
    // The server's side.
    seq: u64,
    line: BTreeMap<u64, u32>,
    returned: BTreeMap<u64, u32>,
    records: BTreeMap<u32, Record>,
    grants: BTreeMap<u32, (Micros, Micros)>,
    sockets: BTreeMap<u32, u32>,
    absent: HashMap<u32, Micros>,
    shown: HashMap<u32, u64>,
    booked: HashMap<Key, Uuid>,
    max_active: usize,
    bucket: f64,
    open: bool,
    bookings: u32,
}

const TTL: Micros = 12 * S;
const CLAIM: Micros = 4 * S;
const AWAY: Micros = 3 * S;
const TICK: Micros = 100 * MS;

/// Plays a sale to its end.
pub fn play(seed: u64, fault: Fault) -> Recorded {
    let mut simulator = Simulator::new(seed, fault);
    while let Some(((at, _), what)) = simulator.queue.pop_first() {
        if at > 90 * S {
            break;
        }
        simulator.now = at;
        simulator.step(what);
    }
    simulator.finish()
}

impl Simulator {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut recorded = Recorded::new();
        let tight = fault != Fault::Burst && (fault != Fault::None || seed.is_multiple_of(2));
        let max_active = if tight { 8 } else { 40 };
        let rules =
            SaleSettings { rate: 5.0, max_active, grant_ttl_s: 12, claim_s: 4, away_s: 3, ..settings() };
        recorded.settings = Some(rules.clone());
        recorded.shop().settings = rules;
        let mut simulator = Self {
            fault,
            random: Random::new(seed),
            now: 0,
            queue: BTreeMap::new(),
            count: 0,
            arrived: HashMap::new(),
            clients: Vec::new(),
            recorded,
            seq: 0,
            line: BTreeMap::new(),
            returned: BTreeMap::new(),
            records: BTreeMap::new(),
            grants: BTreeMap::new(),
            sockets: BTreeMap::new(),
            absent: HashMap::new(),
            shown: HashMap::new(),
            booked: HashMap::new(),
            max_active: max_active as usize,
            bucket: 0.0,
            open: false,
            bookings: 0,
        };
        for v in 0..120 {
            simulator.clients.push(Client::default());
            let at = Micros::from(simulator.random.count((0, 6_000))) * MS;
            simulator.later(at, What::Act(v, Act::Connect));
        }
        simulator.later(0, What::Tick);
        simulator.later(0, What::Ranks);
        for (at, open) in [(3, true), (15, false), (20, true)] {
            simulator.later(at * S, What::Phase(open));
        }
        simulator
    }

    fn later(&mut self, after: Micros, what: What) {
        self.count += 1;
        self.queue.insert((self.now + after, self.count), what);
    }

    fn chance(&mut self, p: f64) -> bool {
        self.random.chance(p)
    }

    fn ms(&mut self, low: u32, high: u32) -> Micros {
        Micros::from(self.random.count((low, high))) * MS
    }

    /// When what is sent now arrives: in order on each connection and way.
    fn arrival(&mut self, v: u32, connection: u32, up: bool) -> Micros {
        let at = self.now + self.ms(1, 150);
        let last = self.arrived.entry((v, connection, up)).or_default();
        *last = at.max(*last + 1);
        *last - self.now
    }

    fn step(&mut self, what: What) {
        match what {
            What::Tick => self.tick(),
            What::Ranks => self.ranks(),
            What::Phase(open) => {
                (self.open, self.bucket) = (open, 0.0);
                let phase = if open { Phase::Open } else { Phase::Paused };
                for v in self.sockets.keys().copied().collect::<Vec<_>>() {
                    self.tell(v, Event::Phase(phase), None);
                }
            }
            What::Act(v, act) => self.act(v, act),
            What::ToServer(v, connection, say) => self.serve(v, connection, say),
            What::ToClient(v, connection, event, key) => self.hear(v, connection, event, key),
        }
    }
}
