//! A crowd that costs little: it joins, and throws away what it reads.

use crate::stage::{SALE, Stage};
use futures_util::future::join_all;
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
    time::sleep,
};

/// Visitors that are on their way in at once.
const AT_ONCE: usize = 1_000;

/// Visitors who wait.
pub struct Crowd(Vec<JoinHandle<()>>);

impl Crowd {
    /// As fast as the instances let them in, each in turn at another one; and how long that took.
    pub async fn come(stage: &Stage, count: usize) -> (Self, Duration) {
        let (door, began) = (Arc::new(Semaphore::new(AT_ONCE)), Instant::now());
        let mut coming = Vec::with_capacity(count);
        for n in 0..count {
            let instance = &stage.instances[n % stage.instances.len()];
            let (address, permit) = (instance.address(n), door.clone().acquire_owned().await.unwrap());
            coming.push(tokio::spawn(async move {
                let visitor = join(address, "").await.0;
                drop(permit);
                visitor
            }));
        }
        let visitors = join_all(coming).await;
        let took = began.elapsed();
        let reads = |visitor: Result<TcpStream, _>| tokio::spawn(read_on(visitor.unwrap()));
        (Self(visitors.into_iter().map(reads).collect()), took)
    }

    /// Reads for so long.
    pub async fn wait(&self, time: Duration) {
        sleep(time).await;
        assert!(self.0.iter().all(|visitor| !visitor.is_finished()), "somebody was sent away");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

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

async fn read_on(mut stream: TcpStream) {
    let mut buffer = [0; 256];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
