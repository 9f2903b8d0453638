//! What the release before this one left in Redis and PostgreSQL, and what its visitors hold, read by this one: README.md.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may fail its test")]

#[allow(dead_code, reason = "the fault suite uses all of it")]
#[path = "../faults/clock.rs"]
mod clock;
#[allow(dead_code, reason = "the fault suite uses all of it")]
#[path = "../faults/node.rs"]
mod node;

mod fixture;
mod reads;
mod record;
mod server;
