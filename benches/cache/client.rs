//! Asks the same again and again over connections that stay open, and prints how many answers came.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Runs in a process of its own.
pub fn run(address: &str, path: &str, connections: usize, time: Duration) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answers = Cell::new(0u64);
    runtime.block_on(async {
        let end = Instant::now() + time;
        let connection = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let mut buffer = Vec::with_capacity(64 << 10);
            while Instant::now() < end {
                stream.write_all(request.as_bytes()).await.unwrap();
                answer(&mut stream, &mut buffer).await;
                answers.set(answers.get() + 1);
            }
        };
        futures_util::future::join_all((0..connections).map(|_| connection())).await;
    });
    println!("{}", answers.get());
}

/// Reads one answer.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    let head = loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "cut");
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
    let length = text.split("content-length: ").nth(1).unwrap().lines().next().unwrap();
    let whole = head + length.parse::<usize>().unwrap();
    while buffer.len() < whole {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "cut");
    }
}
