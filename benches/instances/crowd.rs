//! Visitors by hand, who join and are seen off.

use crate::stage::SALE;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A socket of a visitor who has his place, and what he was told of it; a new one, unless he has a `place`.
pub async fn join(address: SocketAddr, place: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /v1/sales/{SALE}/ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: waitroom.v1\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    said(&mut stream, b"\r\n\r\n").await;
    let join = match place {
        "" => r#"{"type":"join"}"#.to_owned(),
        place => format!(r#"{{"type":"join","place":"{place}"}}"#),
    };
    // A text frame, masked with zeros.
    let [high, low] = (join.len() as u16).to_be_bytes();
    let frame = [&[0x81, 0x80 | 126, high, low, 0, 0, 0, 0], join.as_bytes()].concat();
    let short = [&[0x81, 0x80 | join.len() as u8, 0, 0, 0, 0], join.as_bytes()].concat();
    stream.write_all(if join.len() < 126 { &short } else { &frame }).await.unwrap();
    let joined = said(&mut stream, b"\"epoch\":").await;
    (stream, joined)
}

/// What stands behind these words, up to that character.
pub fn text<'a>(said: &'a str, words: &str, end: char) -> &'a str {
    said.split(words).nth(1).and_then(|rest| rest.split(end).next()).unwrap_or_default()
}

/// Reads until these bytes have come, and as much as came with them; nothing if the connection ends before.
pub async fn until(stream: &mut TcpStream, words: &[u8]) -> Option<String> {
    let mut read = Vec::with_capacity(512);
    while !read.windows(words.len()).any(|part| part == words) {
        if stream.read_buf(&mut read).await.is_ok_and(|length| length > 0) {
            continue;
        }
        eprintln!("sent away: {}", String::from_utf8_lossy(&read));
        return None;
    }
    Some(String::from_utf8_lossy(&read).into_owned())
}

async fn said(stream: &mut TcpStream, words: &[u8]) -> String {
    until(stream, words).await.expect("who comes is let in")
}
