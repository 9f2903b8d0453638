//! WebSocket frames, as far as visitors need them.

use rustix::{
    fd::OwnedFd,
    io::{Errno, Result},
    net::{SendFlags, send},
};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// What a server says.
pub enum Frame<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    /// With its code.
    Close(u16),
    Other,
}

impl<'a> Frame<'a> {
    /// The first frame and its length; nothing while a part of it is missing.
    pub fn first(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let (kind, short) = (*bytes.first()?, *bytes.get(1)? as usize);
        let (from, length) = match short {
            126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
            127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
            short => (2, short),
        };
        let body = bytes.get(from..from + length)?;
        let frame = match kind {
            TEXT => Self::Text(body),
            PING => Self::Ping(body),
            CLOSE => Self::Close(body.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]))),
            _ => Self::Other,
        };
        Some((frame, from + length))
    }
}

/// What stands behind these words in a message, up to that character.
pub fn after<'a>(message: &'a [u8], words: &[u8], end: u8) -> Option<&'a [u8]> {
    let from = message.windows(words.len()).position(|part| part == words)? + words.len();
    let length = message[from..].iter().position(|byte| *byte == end)?;
    Some(&message[from..from + length])
}

/// The number behind these words.
pub fn number(message: &[u8], words: &[u8]) -> Option<u32> {
    let from = message.windows(words.len()).position(|part| part == words)? + words.len();
    let digits = message[from..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(digits.fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// Asks for a WebSocket.
pub fn send_upgrade(fd: &OwnedFd, path: &str) -> Result<()> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: waitroom.v1\r\n\r\n"
    );
    whole(fd, head.as_bytes())
}

/// A message, masked with zeros.
pub fn send_text(fd: &OwnedFd, parts: &[&[u8]]) -> Result<()> {
    frame(fd, TEXT, parts)
}

/// The answer to a ping.
pub fn send_pong(fd: &OwnedFd, payload: &[u8]) -> Result<()> {
    frame(fd, PONG, &[payload])
}

fn frame(fd: &OwnedFd, kind: u8, parts: &[&[u8]]) -> Result<()> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = Vec::with_capacity(length + 8);
    match length {
        0..126 => bytes.extend([kind, 0x80 | length as u8]),
        _ => bytes.extend([kind, 0x80 | 126, (length >> 8) as u8, length as u8]),
    }
    bytes.extend([0; 4]);
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    whole(fd, &bytes)
}

/// So little always fits into what the kernel takes, or nothing of it does.
pub fn whole(fd: &OwnedFd, bytes: &[u8]) -> Result<()> {
    match send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)? {
        sent if sent == bytes.len() => Ok(()),
        _ => Err(Errno::MSGSIZE),
    }
}
