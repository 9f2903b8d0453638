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
const AT_ONCE: usize = 300;

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
                let visitor = join(address).await;
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

/// A socket of a visitor who has his place.
async fn join(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET /v1/sales/{SALE}/ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
         Sec-WebSocket-Protocol: waitroom.v1\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    until(&mut stream, b"\r\n\r\n").await;
    // A text frame, masked with zeros.
    let join = br#"{"type":"join"}"#;
    let frame = [&[0x81, 0x80 | join.len() as u8, 0, 0, 0, 0], &join[..]].concat();
    stream.write_all(&frame).await.unwrap();
    until(&mut stream, br#""type":"joined""#).await;
    stream
}

async fn until(stream: &mut TcpStream, words: &[u8]) {
    let mut read = Vec::with_capacity(1024);
    while !read.windows(words.len()).any(|part| part == words) {
        assert!(
            stream.read_buf(&mut read).await.unwrap() > 0,
            "sent away: {}",
            String::from_utf8_lossy(&read)
        );
    }
}

async fn read_on(mut stream: TcpStream) {
    let mut buffer = [0; 256];
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
}
