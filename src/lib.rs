//! waitroom: a fair live line in front of a ticket sale.

pub mod domain;
pub mod protocol;
