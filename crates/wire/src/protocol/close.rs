//! Error codes and the WebSocket close codes that follow them.

use serde::{Deserialize, Serialize};

/// The code of an `error`, after which the socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A message that the protocol does not know, or out of turn.
    BadMessage,
    /// No, or no good, proof of who the visitor is.
    IdentityInvalid,
    /// No `join` within its time.
    JoinTimeout,
    /// The visitor's newer socket took over.
    Replaced,
    /// The sale is over.
    SaleClosed,
    /// Too many messages or connections.
    TooMany,
    /// A store that is needed does not answer.
    Unavailable,
    /// The visitor has booked all the seats that one may.
    LimitReached,
    /// Work is to be done before a place is drawn.
    ProofNeeded,
    /// The operator has sent the visitor away.
    Removed,
}

impl ErrorCode {
    /// The close code that follows.
    pub fn close_code(self) -> u16 {
        match self {
            Self::BadMessage => 4400,
            Self::IdentityInvalid => 4401,
            Self::LimitReached | Self::Removed => 4403,
            Self::JoinTimeout => 4408,
            Self::Replaced => 4409,
            Self::SaleClosed => 4410,
            // Who does not know this code yet shall not come back at once.
            Self::TooMany | Self::ProofNeeded => 4429,
            Self::Unavailable => 4503,
        }
    }

    /// Whether a client should connect again.
    pub fn retry(self) -> bool {
        matches!(self, Self::JoinTimeout | Self::TooMany | Self::Unavailable | Self::ProofNeeded)
    }
}

/// RFC 6455: what came breaks the protocol of frames.
pub const PROTOCOL: u16 = 1002;
/// RFC 6455: a text that is not UTF-8.
pub const NOT_UTF8: u16 = 1007;
/// RFC 6455: the frame was too big.
pub const TOO_BIG: u16 = 1009;
/// The server restarts: come back.
pub const RESTART: u16 = 1012;
