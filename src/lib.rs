//! waitroom: a fair live line in front of a ticket sale.

pub mod app;
pub mod commands;
pub mod drain;
pub mod edge;
pub mod embedded;
pub mod limits;
pub mod metrics;
pub mod room;
pub mod settings;
pub mod shutdown;
pub mod store;
