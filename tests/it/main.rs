//! The server as a whole, against a real Redis and a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may fail its test")]

#[path = "../shared/clusters.rs"]
mod clusters;
#[allow(dead_code, unused_imports, reason = "tests/faults uses all of it")]
#[path = "../shared/redis/mod.rs"]
mod nodes;
mod visitor;
mod world;

mod backup;
mod bookings;
mod cache;
mod check;
mod closing;
mod commit_rules;
mod conversation;
mod faults;
mod fences;
mod forgeries;
mod ghosts;
mod guards;
mod hostile;
mod journal;
mod journal_guards;
mod keys;
mod large_line;
mod leaving;
mod limits;
mod line;
mod line_lives;
mod line_rules;
mod line_times;
mod migrations;
mod odd_names;
mod parked;
mod proof;
mod redeem_rules;
mod removal;
mod restore;
mod roles;
mod sales;
mod seat_map;
mod starts;
mod stores;
mod tls;
mod topologies;
mod witness;
