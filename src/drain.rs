//! How far a server is on its way out; `shutdown` takes it from one to the next.

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
