//! What the release before this one left in Redis and PostgreSQL, and what its visitors hold, read by this one: README.md.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may fail its test")]

#[allow(dead_code, unused_imports, reason = "the fault suite uses all of it")]
#[path = "../shared/redis/mod.rs"]
mod nodes;

mod fixture;
mod reads;
mod record;
mod server;
