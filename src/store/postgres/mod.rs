//! PostgreSQL: connections, what the server is, and the schema.

pub mod connect;
pub(super) mod copy;
pub mod facts;
pub mod migrations;
pub mod tls;

/// Connections to PostgreSQL; cheap to clone.
pub use deadpool_postgres::Pool;

/// PostgreSQL has no unsigned numbers.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    number.max(0).unsigned_abs()
}
