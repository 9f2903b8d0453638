//! waitroom
pub mod store;
