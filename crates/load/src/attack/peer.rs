//! A connection that says whatever it is told to, and reads just enough to know what it is answered.

use serde_json::Value;
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

/// Longest answer that is looked at, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// What masks each frame of ours: a client must, and with zeros nothing changes.
const MASK: [u8; 4] = [0; 4];

/// One end of a connection.
pub struct Peer {
    /// Its socket.
    pub stream: TcpStream,
    heard: Vec<u8>,
}

impl Peer {
    /// From that address, if one is given.
    pub async fn connect(from: Option<IpAddr>, to: SocketAddr) -> io::Result<Self> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = from {
            socket.set_reuseaddr(true)?;
            socket.bind(SocketAddr::new(from, 0))?;
        }
        Ok(Self { stream: socket.connect(to).await?, heard: Vec::new() })
    }

    /// Says it, whatever it is.
    pub async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// One request; the status and the body of what it is answered.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &str) -> io::Result<(u16, Vec<u8>)> {
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: waitroom\r\nContent-Length: 0\r\n{headers}\r\n");
        self.say(request.as_bytes()).await?;
        self.answer().await
    }

    /// Becomes a WebSocket; or the status of what it is answered instead.
    pub async fn upgrade(&mut self, path: &str) -> io::Result<Result<(), u16>> {
        let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: waitroom.v1\r\n";
        let request = format!("GET {path}/ws HTTP/1.1\r\nHost: waitroom\r\n{headers}\r\n");
        self.say(request.as_bytes()).await?;
        let (status, _) = self.answer().await?;
        Ok(if status == 101 { Ok(()) } else { Err(status) })
    }

    async fn answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        loop {
            if let Some(end) = self.heard.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.heard[..end]).to_ascii_lowercase();
                let length =
                    head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
                let whole = (end + 4).saturating_add(length.unwrap_or(0));
                if self.heard.len() >= whole {
                    let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
                    let rest = self.heard.split_off(whole);
                    let answer = std::mem::replace(&mut self.heard, rest);
                    return Ok((status, answer[end + 4..].to_vec()));
                }
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> io::Result<()> {
        if self.heard.len() > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        match self.stream.read_buf(&mut self.heard).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next message or close over the WebSocket: its type, an error's or a close's code in words.
    pub async fn hear(&mut self) -> io::Result<Heard> {
        loop {
            if let Some((opcode, payload)) = self.frame() {
                match opcode {
                    1 => return Ok(Heard::Message(serde_json::from_slice(&payload).unwrap_or_default())),
                    8 => {
                        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                        return Ok(Heard::Close(code.unwrap_or(1005)));
                    }
                    _ => continue,
                }
            }
            self.read().await?;
        }
    }

    /// The next frame that has come whole; servers mask none.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (first, second) = (*self.heard.first()?, *self.heard.get(1)?);
        let (start, length): (usize, usize) = match second & 0x7f {
            126 => (4, usize::from(u16::from_be_bytes(*self.heard.get(2..4)?.first_chunk()?))),
            127 => (10, usize::try_from(u64::from_be_bytes(*self.heard.get(2..10)?.first_chunk()?)).ok()?),
            short => (2, usize::from(short)),
        };
        let payload = self.heard.get(start..start.checked_add(length)?)?.to_vec();
        self.heard.drain(..start + length);
        Some((first & 0x0f, payload))
    }

    /// Until the other side closes: its close code, where it says one.
    pub async fn end(&mut self) -> io::Result<String> {
        loop {
            match self.hear().await? {
                Heard::Close(code) => return Ok(format!("close {code}")),
                Heard::Message(_) => {}
            }
        }
    }
}

/// What came over a WebSocket.
pub enum Heard {
    /// A message.
    Message(Value),
    /// The end, with its code.
    Close(u16),
}

/// A frame of a client.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..126 => frame.push(0x80 | short as u8),
        long => {
            frame.push(0x80 | 126);
            frame.extend((long as u16).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend_from_slice(payload);
    frame
}

/// A message of a client.
pub fn message(message: &Value) -> Vec<u8> {
    frame(0x81, message.to_string().as_bytes())
}
