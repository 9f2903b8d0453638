//! The load generator: a crowd of simulated visitors at a waiting room's door, who also check what they see.
//!
//! It is a foreign client. It knows the crate `wire` and nothing of the server's inside, so it can be pointed at any
//! deployment, and what it finds is what visitors find.
//!
//! ```compile_fail
//! use waitroom::room::Room;
//! ```
//!
//! **What it does.** Each visitor opens a WebSocket, joins, follows his rank, and when his turn comes asks for
//! the seat map, thinks, and redeems: the best seats, or seats that he picks among those free in his map,
//! others when they were taken meanwhile. He comes back with his place token when the connection is lost, as
//! the table of close codes says. At the end the run prints percentiles and checks what all visitors saw
//! together (`verify`): who came first was served first, no seat was sold twice, every booking that was
//! answered exists, no rank rose, no place was lost.
//!
//! **Open model.** When a visitor arrives is drawn before the run starts and depends on nothing that the
//! server does: a slow server does not slow the crowd down. `connect` and `join` count from the moment at
//! which the visitor was *meant* to arrive, `redeem` from the moment at which he was meant to click, so the
//! time that a request spent waiting inside the generator counts against the answer instead of vanishing
//! (coordinated omission). How late the generator itself was is measured and reported as `start_lag` and
//! `loop_lag`; when it was the bottleneck, the report says so. Times are kept to the microsecond, but the
//! runtime's timers fire up to a millisecond late, and so do the visitors.
//!
//! **What it does not measure.** How old a rank is on the visitor's screen, and how long a grant took from its
//! tick to the socket: the messages carry no clock, and the generator does not guess at one (the server's
//! own histograms say it). It does not run a page's scripts, and it does not poll.

#![forbid(unsafe_code)]

pub mod arrivals;
pub mod attack;
pub mod behaviour;
mod bot;
pub mod checker;
mod clicks;
mod connect;
mod crowd;
mod facts;
mod hangup;
pub mod history;
mod http;
pub mod journal;
mod meters;
mod outcome;
mod progress;
mod random;
mod record;
mod report;
mod run;
mod scenario;
mod scene;
mod session;
mod sources;
mod stream;
pub mod summary;
mod target;
mod threshold;
mod turn;
mod verify;
mod visitor;
mod whim;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

pub use behaviour::{Behaviour, WishKind};
pub use crowd::crowd;
pub use hangup::hangup;
pub use http::{Admin, create_sale};
pub use report::Report;
pub use run::{Options, run};
pub use scenario::{SaleWanted, Scenario};
pub use sources::SourceSpec;
pub use target::Target;
pub use threshold::{Threshold, parse_threshold};

/// Why a run could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A flag makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The server is not there, or what answers is not a waiting room.
    #[error("{0}")]
    Unreachable(String),
    /// The report could not be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}
