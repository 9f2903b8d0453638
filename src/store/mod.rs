//! What is kept, cut as the rooms are: `line` is a sale's line in Redis, `bookings` its bookings in PostgreSQL, `sales`
//! the operator's word there, `audit` who said it, `visitors` what is done about one of them. Only `redis` and `postgres` know how either is reached.

pub mod audit;
pub mod bookings;
pub mod errors;
pub mod journal;
pub mod line;
pub mod postgres;
pub mod redis;
pub mod sales;
pub mod visitors;
