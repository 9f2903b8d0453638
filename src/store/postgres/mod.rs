//! PostgreSQL: connections, what the server is, and the schema.

pub mod connect;
pub mod facts;
pub mod migrations;
pub mod tls;

/// Connections to PostgreSQL; cheap to clone.
pub use deadpool_postgres::Pool;
