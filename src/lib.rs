//! waitroom
pub mod settings;
pub mod store;
