//! What an instance knows of its sales without asking anyone, how old that is, and whether it has changed.

use super::Room;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use wire::domain::phase::Phase;

/// A sale's standing, for those who only look.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// The phase.
    pub phase: Phase,
    /// Places in the line.
    pub waiting: u64,
    /// Free seats.
    pub seats_left: usize,
    /// When this was last known to be true: when the stream was last heard.
    pub as_of: Instant,
}

/// Rises with every change of what an operator said of any sale of this instance, with every change of a phase and
/// with every new sale. Whoever keeps answers keeps them for one revision only.
#[derive(Clone, Default)]
pub struct Revision(Arc<AtomicU64>);

impl Revision {
    /// Something changed; to be called when the change can be seen already.
    pub(super) fn rise(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    /// The revision now; to be read before what is kept under it.
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

impl Room {
    /// What this instance knows, without asking anyone.
    pub fn glance(&self) -> Glance {
        let as_of = self.line.heard_at();
        let (phase, waiting) = self.line.phase_and_waiting();
        Glance {
            phase,
            waiting,
            seats_left: self.sale.plan.seats.len() - self.seats.map().taken().len(),
            as_of,
        }
    }
}
