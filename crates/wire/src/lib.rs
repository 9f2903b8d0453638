//! What server and clients share: the words and rules of a waiting room (`domain`) and the messages of its wire
//! (`protocol`). No I/O, no clock, no async: time is always an argument.

pub mod domain;
pub mod protocol;
