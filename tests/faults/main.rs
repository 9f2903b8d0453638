//! No place is ever lost: a real crowd at real servers, a fault (or three) while it is there, and the proof that whoever
//! was told a place or a booking still has it. What is broken and how, what the proof is: docs/faults.md.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may fail its test")]

#[path = "../shared/clusters.rs"]
mod clusters;
#[allow(dead_code, reason = "chaos uses all of it")]
#[path = "../chaos/frames.rs"]
mod frames;
#[allow(dead_code, reason = "chaos uses all of it")]
#[path = "../chaos/proxy.rs"]
mod proxy;

#[allow(dead_code, unused_imports, reason = "tests/it uses all of it")]
#[path = "../shared/redis/mod.rs"]
mod nodes;

mod clock;
mod crowd;
mod door;
mod guests;
mod hosts;
mod instance;
mod kinds;
mod proof;
mod redises;
mod report;
mod run;
mod schedule;
mod stage;
mod standby;
mod told;

mod chaos;
mod guards;
mod quick;
