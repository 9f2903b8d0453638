//! What is measured: which ways, in which batches, over how many connections, and how much of it.

use crate::{
    java::{self, JAVA_WAYS},
    ways::{WAYS, Way},
};
use std::time::Duration;

pub const BATCHES: [usize; 5] = [1, 10, 100, 1_000, 10_000];
/// A turn ends after the batch in which this time passes, or a noisy minute would take the whole run.
pub const TURN_MAX: Duration = Duration::from_millis(300);
/// Bookings under way at the same time. More has no hall, and would take most of the run.
const AT_ONCE_MAX: usize = 40_000;
/// More would take a row-by-row way many seconds, and it is no different at 1,000.
const SLOW_MAX: usize = 10_000;

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Rust(Way),
    /// Its name in the Java program.
    Java(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cell {
    pub connections: usize,
    pub contended: bool,
    pub batch: usize,
}

/// How long the run may take: no round begins that would end later, if it takes as long as those before.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds_max: u32,
    pub time: Duration,
    pub quick: bool,
}

impl Effort {
    pub fn new(quick: bool, seconds: Option<u64>) -> Self {
        let (rounds_max, usual) = if quick { (3, 50) } else { (9, 420) };
        let seconds = seconds.unwrap_or(usual);
        Self { rounds_max, time: Duration::from_secs(seconds), quick }
    }

    pub fn cells(self) -> Vec<Cell> {
        let groups: &[(usize, bool)] = match self.quick {
            true => &[(1, false), (4, true)],
            false => &[(1, false), (4, false), (16, false), (1, true), (16, true)],
        };
        let of = |(connections, contended): &(usize, bool)| {
            BATCHES.map(|batch| Cell { connections: *connections, contended: *contended, batch })
        };
        groups.iter().flat_map(of).filter(|cell| cell.batch * cell.connections <= AT_ONCE_MAX).collect()
    }
}

pub fn everyone(has_java: bool) -> Vec<(Who, &'static str)> {
    let java = JAVA_WAYS.iter().filter(|_| has_java).map(|(way, name)| (Who::Java(way), *name));
    WAYS.iter().map(|(way, name)| (Who::Rust(*way), *name)).chain(java).collect()
}

impl Who {
    fn is_slow(self) -> bool {
        matches!(self, Who::Rust(Way::Save | Way::SaveAll) | Who::Java(java::IDENTITY))
    }

    pub fn takes_part(self, cell: Cell, round: u32) -> bool {
        let at_once = cell.batch * cell.connections;
        match self {
            // A transaction a row, whatever the batch.
            Who::Rust(Way::Save) if cell.batch > 1 => false,
            _ if self.is_slow() && at_once > SLOW_MAX => false,
            // What Java does about conflicts is not asked.
            Who::Java(_) if cell.contended => false,
            // Every other round does without all but the group that the page is about.
            _ if cell.contended || cell.connections > 1 => round.is_multiple_of(2),
            _ => true,
        }
    }

    /// Bookings for each connection: a fifth of a second's work or so, and always whole batches.
    pub fn bookings(self, cell: Cell) -> usize {
        let one = match cell.batch {
            1 => 200,
            10 => 1_500,
            100 => 6_000,
            1_000 => 12_000,
            _ => 20_000,
        };
        let one = if self.is_slow() { one.min(2_000) } else { one };
        // Connections share WAL flushes; beyond a few there is nothing left to share.
        let all = one * if cell.batch < 1_000 { cell.connections.min(4) } else { 1 };
        (all / cell.connections).div_ceil(cell.batch) * cell.batch
    }

    /// What each connection writes before the clock starts: emptying the tables made PostgreSQL forget its plans.
    pub fn warm_up(self, cell: Cell) -> usize {
        cell.batch.min(if self.is_slow() { 10 } else { 1_000 })
    }
}
