//! How a server leaves, step by step, and what it reports at the end.

use std::{fmt, time::Duration};

/// How far the server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// It stays.
    NotYet,
    /// The balancer is told that it is not ready any more; all else goes on.
    Announced,
    /// No more joins or ticks from here; sockets are sent away.
    Leaving,
    /// All that was to be finished is.
    Done,
}

/// What was still open when the server stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sockets that were open when the drain began.
    pub sockets: usize,
    /// Sockets that had to be cut.
    pub cut: usize,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drained {} sockets in {:.1} s, {} cut", self.sockets, self.took.as_secs_f64(), self.cut)
    }
}
