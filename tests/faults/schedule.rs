//! Which faults happen, and when: drawn from a seed, so that what failed can be played again.

use crate::{
    kinds::{Kind, Part},
    stage::Topology,
};
use std::time::Duration;

/// A fault of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    /// After the crowd has begun to come.
    pub from: Duration,
    pub until: Duration,
}

/// What happens in a run.
#[derive(Clone, Debug)]
pub struct Schedule {
    pub seed: u64,
    pub topology: Topology,
    pub faults: Vec<Fault>,
    is_drawn: bool,
}

/// When the first fault comes.
const FIRST: Duration = Duration::from_secs(3);

impl Schedule {
    /// These, one after another.
    pub fn of(seed: u64, kinds: &[Kind]) -> Self {
        let mut faults: Vec<Fault> = Vec::new();
        for kind in kinds {
            let from = faults.last().map_or(FIRST, |last| last.until + Duration::from_secs(2));
            faults.push(Fault { kind: *kind, from, until: from + kind.lasts() });
        }
        Self {
            seed,
            topology: topology(kinds).expect("these do not happen together"),
            faults,
            is_drawn: false,
        }
    }

    /// Two or three, some at the same time.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let possible: Vec<Kind> = Kind::all().iter().copied().filter(|kind| kind.is_possible()).collect();
        let count = 2 + dice.below(2) as usize;
        let mut kinds: Vec<Kind> = Vec::new();
        while kinds.len() < count {
            let kind = possible[dice.below(possible.len() as u64) as usize];
            if !kinds.contains(&kind) && topology(&[&kinds[..], &[kind]].concat()).is_some() {
                kinds.push(kind);
            }
        }
        let mut faults: Vec<Fault> = Vec::new();
        for kind in &kinds {
            let mut from = FIRST + Duration::from_millis(dice.below(9_000));
            // Two faults of the same part come one after another.
            for other in faults.iter().filter(|other| other.kind.part() == kind.part()) {
                from = from.max(other.until + Duration::from_secs(1));
            }
            faults.push(Fault { kind: *kind, from, until: from + kind.lasts() });
        }
        faults.sort_by_key(|fault| fault.from);
        Self { seed, topology: topology(&kinds).expect("looked at above"), faults, is_drawn: true }
    }

    /// How it can be played again.
    pub fn again(&self) -> String {
        let kinds: Vec<_> = self.faults.iter().map(|fault| fault.kind.name()).collect();
        let kinds = if self.is_drawn { String::new() } else { format!(" KINDS={}", kinds.join(",")) };
        format!("make chaos SEED={}{kinds}", self.seed)
    }

    pub fn names(&self) -> String {
        let name = |fault: &Fault| format!("{} at {:.1} s", fault.kind.name(), fault.from.as_secs_f64());
        self.faults.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

/// The one topology in which all of these can happen, if they may happen together. Faults of one Redis do not happen to many.
fn topology(kinds: &[Kind]) -> Option<Topology> {
    let mut all = Topology::Alone;
    for kind in kinds {
        match kind.topology() {
            Topology::Alone => {}
            needed if all == Topology::Alone || all == needed => all = needed,
            _ => return None,
        }
    }
    let of_one = |kind: &Kind| kind.part() == Part::Redis && kind.topology() == Topology::Alone;
    // What nobody had journaled when Redis lost it and all instances died is lost: docs/faults.md.
    if kinds.contains(&Kind::AllInstancesKilled) && kinds.iter().any(|kind| kind.loses()) {
        return None;
    }
    // The one that is dead stays so.
    let of_postgres = kinds.iter().filter(|kind| kind.part() == Part::Postgres).count();
    if kinds.contains(&Kind::PostgresReplaced) && of_postgres > 1 {
        return None;
    }
    let is_one = matches!(all, Topology::Alone | Topology::Clocked);
    (is_one || !kinds.iter().any(of_one)).then_some(all)
}

/// Numbers that look drawn (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % end
    }
}
