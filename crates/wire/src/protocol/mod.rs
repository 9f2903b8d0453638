//! The wire, subprotocol `waitroom.v1`: one file a direction, and the close codes.

pub mod client;
pub mod close;
pub mod server;

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "waitroom.v1";
/// Largest frame that a client may send, in bytes.
pub const CLIENT_FRAME_BYTES_MAX: usize = 4096;
