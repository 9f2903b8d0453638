//! waitroom
pub mod embedded;
pub mod settings;
pub mod store;
