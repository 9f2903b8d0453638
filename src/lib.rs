//! waitroom: a fair live line in front of a ticket sale.

pub mod domain;
pub mod metrics;
pub mod protocol;
pub mod settings;
pub mod store;
