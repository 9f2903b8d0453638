//! What server and clients share: the words and rules of a waiting room (`domain`) and the messages of its wire
//! (`protocol`). No I/O, no clock, no async: time is always an argument. It knows nobody who uses it:
//!
//! ```compile_fail
//! use load::scenario::Scenario;
//! ```
//! ```compile_fail
//! use waitroom::room::Room;
//! ```
//! ```compile_fail
//! use tokio::net::TcpStream;
//! ```

#![forbid(unsafe_code)]

pub mod domain;
pub mod protocol;
