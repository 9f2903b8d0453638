//! A full room moves from one colour to the other and back, behind a real nginx, by deploy/blue-green; and stays where it is
//! when the other is broken. Each colour is a host of its own (a network namespace) where this machine lets us.
//! `make deploy-test` plays the long ones: docs/blue-green.md.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may fail its test")]

#[path = "../shared/clusters.rs"]
mod clusters;
#[allow(dead_code, reason = "the fault suite uses all of it")]
#[path = "../faults/hosts.rs"]
mod hosts;
#[allow(dead_code, unused_imports, reason = "the fault suite uses all of it")]
#[path = "../shared/redis/mod.rs"]
mod nodes;
#[allow(dead_code, reason = "the fault suite uses all of it")]
#[path = "../faults/told.rs"]
mod told;

mod crowd;
mod ground;
mod machine;
mod nginx;
mod stage;
mod tool;

mod broken;
mod interrupted;
mod long;
mod quick;
