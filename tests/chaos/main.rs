//! Faults between the server and its stores: whatever breaks, and whenever, the sale comes right. And each guard
//! switched off: the sale goes wrong, and the proof says so.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may fail its test")]

#[path = "../shared/clusters.rs"]
mod clusters;
mod frames;
mod proof;
mod proxy;
mod serve;
mod stage;

mod commits;
mod deaths;
mod guards;
mod holds;
mod keeper;
mod paused;
mod planted;
mod pressure;
mod writer;
