//! What is kept: Redis holds the line, PostgreSQL the sales and the bookings.

pub mod bookings;
mod commit;
pub mod connect;
pub mod errors;
pub mod events;
mod export;
pub mod facts;
pub mod line;
pub mod migrations;
pub mod redis;
pub mod sales;
mod scripts;
pub mod shop;
pub mod tls;
