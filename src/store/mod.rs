//! What is kept: Redis for the line, PostgreSQL for the bookings.

pub mod connect;
pub mod facts;
pub mod migrations;
pub mod tls;
