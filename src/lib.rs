//! waitroom
