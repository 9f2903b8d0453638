//! waitroom: a fair live line in front of a ticket sale.

pub mod app;
pub mod commands;
pub mod domain;
pub mod edge;
pub mod embedded;
pub mod limits;
pub mod load;
pub mod metrics;
pub mod protocol;
pub mod room;
pub mod settings;
pub mod shutdown;
pub mod store;
