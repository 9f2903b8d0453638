//! What a visitor finds around him: the hall, the others' ways, the clock, and paper to write on.

use super::{
    behaviour::Behaviour,
    bot::Pot,
    facts::{Micros, NEVER, VisitorFacts},
    history::Recorder,
    meters::Meters,
};
use tokio::time::Instant;
use wire::domain::plan::Plan;

/// What all visitors of a run share.
pub struct Scene {
    /// The hall.
    pub plan: Plan,
    /// How visitors behave.
    pub behaviour: Behaviour,
    /// What is measured.
    pub meters: Meters,
    /// When the run began.
    pub start: Instant,
    /// Where the history is written, if it is.
    pub recorder: Option<Recorder>,
    /// Tokens that bots got hold of.
    pub pot: Pot,
}

impl Scene {
    /// A scene that begins now, without a history.
    pub fn new(plan: Plan, behaviour: Behaviour) -> Self {
        let (meters, start) = (Meters::default(), Instant::now());
        Self { plan, behaviour, meters, start, recorder: None, pot: Pot::default() }
    }

    /// When all sockets are cut at once.
    pub fn herd(&self) -> Option<Instant> {
        self.behaviour.herd.map(|after| self.start + after)
    }

    /// A moment on the run's clock.
    pub fn micros(&self, at: Instant) -> Micros {
        u64::try_from(at.saturating_duration_since(self.start).as_micros()).unwrap_or(NEVER)
    }
}

/// One thing that happens to a visitor: where, when, and where it is written down.
pub struct Moment<'a> {
    /// What all share.
    pub scene: &'a Scene,
    /// What he has seen so far.
    pub facts: &'a mut VisitorFacts,
    /// Now.
    pub now: Instant,
}

impl Moment<'_> {
    /// Now, on the run's clock.
    pub fn micros(&self) -> Micros {
        self.scene.micros(self.now)
    }
}
