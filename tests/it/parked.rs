//! Who waits is parked: a connection without a task. Whatever happens to it then must look to the visitor as if it had one: each
//! story here is told twice, and what was heard must be the same to the byte, but for what differs by nature.

use crate::world::{Server, World};
use serde_json::{Value, json};
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use waitroom::limits::{Bounds, QUIET_S};

const PATIENCE: Duration = Duration::from_secs(120);
/// Long enough that a socket is parked in, on most days; on others the story is the same.
const PAUSE: Duration = Duration::from_millis(200);
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
const TEXT: u8 = 0x81;

/// A visitor who speaks in bytes.
struct Bare {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Bare {
    async fn connect(server: &Server, sale: &str) -> Self {
        // Whatever is not read stays with the server.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let mut stream = socket.connect(server.public).await.unwrap();
        let head = format!(
            "GET /v1/sales/{sale}/ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            server.public
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101"));
        Self { stream, read: Vec::new() }
    }

    /// In the line, and parked if sockets are.
    async fn waiting(server: &Server, sale: &str) -> Self {
        let visitor = Self::in_line(server, sale).await;
        sleep(PAUSE).await;
        visitor
    }

    async fn in_line(server: &Server, sale: &str) -> Self {
        let mut visitor = Self::connect(server, sale).await;
        visitor.say(&frame(TEXT, br#"{"type":"join"}"#)).await;
        assert!(visitor.next().await.contains("joined"));
        visitor
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next frame, its first byte before what it says; `end` at the end. On a slow day he is asked whether he is there.
    async fn next(&mut self) -> String {
        loop {
            if let Some((length, from)) = length(&self.read)
                && self.read.len() >= from + length
            {
                let words = String::from_utf8_lossy(&self.read[from..from + length]);
                let frame = format!("{:x} {words}", self.read[0]);
                self.read.drain(..from + length);
                if frame != "89 " {
                    return frame;
                }
                let _ = self.stream.write_all(&self::frame(PONG, b"")).await;
                continue;
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await.expect("it is silent");
            if read.unwrap_or(0) == 0 {
                assert!(self.read.is_empty(), "cut in a frame");
                return "end".into();
            }
        }
    }

    /// All frames to the end.
    async fn rest(mut self) -> Vec<String> {
        let mut frames = Vec::new();
        while frames.last().is_none_or(|last| last != "end") {
            frames.push(self.next().await);
        }
        frames
    }
}

/// A frame of a client, masked with nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// How long the payload of the first frame is, and where it begins.
fn length(read: &[u8]) -> Option<(usize, usize)> {
    match *read.get(1)? {
        126 => Some((u16::from_be_bytes(*read[2..].first_chunk()?).into(), 4)),
        127 => Some((u64::from_be_bytes(*read[2..].first_chunk()?) as usize, 10)),
        short => Some((short.into(), 2)),
    }
}

/// Tells a story with parked sockets, and with none: what was heard.
async fn twice<F: Future<Output = Vec<String>>>(story: impl Fn(Server, String) -> F) -> Vec<String> {
    let mut heard = Vec::new();
    for parks in [true, false] {
        let bounds = Bounds { parks, ..Bounds::default() };
        let server = Server::start_within(World::shared(), &[], bounds).await;
        let sale = server.sale(json!({})).await;
        heard.push(story(server, sale).await);
    }
    assert_eq!(heard[0], heard[1], "parked, and not");
    heard.remove(0)
}

/// Says these, a moment apart, and hears what comes of it.
async fn says(parts: &[&[u8]]) -> Vec<String> {
    twice(|server, sale| async move {
        let mut visitor = Bare::waiting(&server, &sale).await;
        for part in parts {
            visitor.say(part).await;
            sleep(PAUSE).await;
        }
        // Whoever is still here says goodbye.
        let _ = visitor.stream.write_all(&frame(0x88, &1000u16.to_be_bytes())).await;
        visitor.rest().await
    })
    .await
}

const GOODBYE: &str = "88 \u{3}\u{fffd}";

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_with_what_they_say() {
    let (ping, empty) = (frame(PING, b"are you there"), frame(PING, b""));
    let masked = [&[PING, 0x82, 1, 2, 3, 4][..], &[b'a' ^ 1, b'b' ^ 2]].concat();
    let pong = frame(PONG, b"unasked");
    let heard = says(&[&ping, &[&empty[..], &pong[..]].concat(), &masked, &pong]).await;
    assert_eq!(heard, ["8a are you there", "8a ", "8a ab", GOODBYE, "end"]);
    let longest = frame(PING, &[b'x'; 125]);
    assert_eq!(says(&[&longest]).await, [format!("8a {}", "x".repeat(125)), GOODBYE.into(), "end".into()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_pieces_is_put_together() {
    let ping = frame(TEXT, br#"{"type":"ping"}"#);
    let pong = r#"81 {"type":"pong"}"#;
    assert_eq!(says(&[&ping[..1], &ping[1..9], &ping[9..]]).await, [pong, GOODBYE, "end"]);
    // A message in fragments, with a ping between them.
    let (first, last) = (frame(0x01, br#"{"type":"#), frame(0x80, br#""ping"}"#));
    let heard = says(&[&first, &frame(PING, b"1"), &last, &ping]).await;
    assert_eq!(heard, ["8a 1", pong, pong, GOODBYE, "end"]);
    // A ping, and the beginning of something.
    let both = [&frame(PING, b"2")[..], &ping[..4]].concat();
    assert_eq!(says(&[&both, &ping[4..]]).await, ["8a 2", pong, GOODBYE, "end"]);
    // Half a ping.
    let half = frame(PING, b"half");
    assert_eq!(says(&[&half[..7], &half[7..]]).await, ["8a half", GOODBYE, "end"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_peer_may_send_ends_it_alike() {
    let unmasked = [PING, 1, b'x'];
    let long_ping = [&[PING, 0x80 | 126, 0, 126, 0, 0, 0, 0][..], &[0; 126]].concat();
    let fragmented_ping = frame(0x09, b"");
    let reserved = frame(0xc9, b"");
    for bad in [&unmasked[..], &long_ping, &fragmented_ping, &reserved, &frame(0x83, b"")] {
        let heard = says(&[bad]).await;
        assert!(heard[0].starts_with("88 \u{3}\u{fffd}"), "{heard:?}");
    }
    // Binary; too many.
    assert!(says(&[&frame(0x82, b"x")]).await[0].contains("bad_message"));
    let flood = frame(0x8a, b"").repeat(200);
    assert!(says(&[&flood]).await[0].contains("too_many"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_is_gone() {
    for says_goodbye in [true, false] {
        let gone = twice(|server, sale| async move {
            let mut visitor = Bare::waiting(&server, &sale).await;
            if says_goodbye {
                visitor.say(&frame(0x88, &1001u16.to_be_bytes())).await;
                assert!(visitor.next().await.starts_with("88"));
            }
            drop(visitor);
            timeout(PATIENCE, async {
                while server.show(&sale).await["connections"] != 0 {
                    sleep(PAUSE / 10).await;
                }
            })
            .await
            .expect("he is gone");
            Vec::new()
        });
        gone.await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_all_hear_comes_in_its_order_and_before_the_turn() {
    let heard = twice(|server, sale| async move {
        let mut visitor = Bare::waiting(&server, &sale).await;
        for notice in ["one", "two"] {
            server.patch(&sale, json!({ "notice": notice })).await;
        }
        server.open(&sale).await;
        let mut heard = Vec::new();
        loop {
            let frame = visitor.next().await;
            let message: Value = serde_json::from_str(&frame[3..]).unwrap();
            let kind = message["type"].as_str().unwrap().to_owned();
            let more = message["text"].as_str().or(message["phase"].as_str()).unwrap_or_default();
            heard.push(format!("{kind} {more}"));
            if kind == "granted" {
                break;
            }
        }
        // It is a conversation again.
        visitor.say(&frame(TEXT, br#"{"type":"leave"}"#)).await;
        heard.push(visitor.next().await);
        heard
    })
    .await;
    assert_eq!(heard[..3], ["notice one", "notice two", "phase open"]);
    assert!(heard[3..].iter().any(|heard| heard.starts_with("granted")), "{heard:?}");
    assert!(heard.last().unwrap().contains(r#""lapsed""#), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_sale_is_said_and_ends_it() {
    let heard = twice(|server, sale| async move {
        let visitor = Bare::waiting(&server, &sale).await;
        server.patch(&sale, json!({ "phase": "closed" })).await;
        let mut heard = visitor.rest().await;
        // When it was to open is not the same.
        heard[0].truncate(30);
        heard
    })
    .await;
    assert!(heard[0].contains(r#""phase""#) && heard[1].contains("sale_closed"), "{heard:?}");
}

/// More than the kernel takes for who does not read: what is left of a frame comes first when he does.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_for_a_while_gets_all_of_it_in_order() {
    twice(|server, sale| async move {
        let mut visitor = Bare::waiting(&server, &sale).await;
        let notice = |number: usize| format!("{number:04} {}", "x".repeat(490));
        let (mut told, mut behind, mut said) = (0, 0, Instant::now());
        let mut stuck = None;
        // Whoever is stuck for 20 s is cut.
        while told < NOTICES_MAX && behind < 20 && stuck.is_none_or(|since: Instant| since.elapsed() < STUCK)
        {
            told += 1;
            // He is there, on a slow day too, though he does not hear that he is asked.
            if said.elapsed() > Duration::from_secs(5) {
                visitor.say(&frame(PONG, b"")).await;
                said = Instant::now();
            }
            server.patch(&sale, json!({ "notice": notice(told) })).await;
            if metric(&server, "waitroom_sends_waiting").await > 0.0 {
                stuck.get_or_insert_with(Instant::now);
                behind += 1;
            }
        }
        // One that another overtook is not told.
        let mut heard = 0;
        while heard < told {
            let frame = visitor.next().await;
            let number = (heard + 1..=told).find(|number| frame.contains(&notice(*number)));
            heard = number.unwrap_or_else(|| panic!("after {heard}: {frame}"));
        }
        // And it goes on.
        server.patch(&sale, json!({ "notice": "over" })).await;
        assert!(visitor.next().await.contains("over"));
        Vec::new()
    })
    .await;
}

/// How long he reads nothing after that, at most.
const STUCK: Duration = Duration::from_secs(5);
/// Notices of 500 bytes that fill what two kernels hold, and not yet the lane behind them.
const NOTICES_MAX: usize = 400;

async fn metric(server: &Server, name: &str) -> f64 {
    let metrics = server.metrics().await;
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// What a frame says, in a message.
fn told(frame: &str) -> Value {
    serde_json::from_str(frame.get(3..).unwrap_or_default()).unwrap_or_else(|_| panic!("{frame:?}"))
}

/// Who is before him comes back to a place that Redis had forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_rank_that_rises_is_told_as_another_standing() {
    let heard = twice(|server, sale| async move {
        let (mut first, joined) = server.join(&sale).await;
        let mut visitor = Bare::waiting(&server, &sale).await;
        first.say(json!({ "type": "leave" })).await;
        first.hear("lapsed").await;
        let mut heard = vec![told(&visitor.next().await)];
        sleep(PAUSE).await;
        forget_who_left(&sale).await;
        let mut first = server.connect(&sale).await;
        first.say(json!({ "type": "join", "place": joined["place"] })).await;
        assert_eq!(first.hear("joined").await["rank"], 0);
        while heard.last().unwrap()["rank"] != 1 {
            heard.push(told(&visitor.next().await));
        }
        heard.iter().map(|said| format!("{} {} of {}", said["type"], said["rank"], said["total"])).collect()
    })
    .await;
    assert_eq!(heard, [r#""rank" 0 of 1"#, r#""joined" 1 of 2"#]);
}

async fn forget_who_left(sale: &str) {
    let mut redis = World::shared().connect_redis().await;
    let key = format!("waitroom:{{{sale}}}:places");
    let places: Vec<(String, String)> =
        redis::cmd("HGETALL").arg(&key).query_async(&mut redis).await.unwrap();
    let (left, _) = places.iter().find(|(_, place)| place.starts_with("x:")).unwrap();
    redis::cmd("HDEL").arg(&key).arg(left).query_async::<()>(&mut redis).await.unwrap();
}

/// He is sent something all the time, so that it is his own silence for which he is asked.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_asked_whether_he_is_there_while_ranks_come() {
    const OFTEN: Duration = Duration::from_millis(400);
    let seldom = Duration::from_secs(u64::from(QUIET_S) / 3);
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let mut ahead = Vec::new();
    for _ in 0..15 {
        ahead.push(Bare::in_line(&server, &sale).await);
    }
    let mut visitor = Bare::in_line(&server, &sale).await;
    tokio::spawn(async move {
        for (n, one) in ahead.iter_mut().enumerate() {
            sleep(if n < 3 { seldom } else { OFTEN }).await;
            one.say(&frame(TEXT, br#"{"type":"leave"}"#)).await;
        }
        std::future::pending::<()>().await;
    });
    // All that is told is ASCII.
    while !visitor.read.contains(&PING) {
        let read = timeout(PATIENCE, visitor.stream.read_buf(&mut visitor.read)).await.expect("it is silent");
        assert!(read.unwrap() > 0, "he was given up, and never asked");
    }
    assert!(String::from_utf8_lossy(&visitor.read).contains(r#""type":"rank""#));
}

/// Turns come while ranks are told, to some of those who are told theirs just now: none hears of a rank after it, nor of one that is
/// higher than the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_that_comes_in_the_midst_of_ranks_is_the_last_word() {
    const VISITORS: usize = 15;
    twice(|server, sale| async move {
        server.patch(&sale, json!({ "rate": 20, "grant_ttl_s": 3600, "claim_s": 3600 })).await;
        let mut visitors = Vec::new();
        for _ in 0..VISITORS {
            visitors.push(Bare::in_line(&server, &sale).await);
        }
        server.open(&sale).await;
        for (place, visitor) in visitors.iter_mut().enumerate() {
            let (mut rank, mut said) = (place as u64, Value::Null);
            while said["type"] != "granted" {
                said = told(&visitor.next().await);
                if let Some(now) = said["rank"].as_u64() {
                    assert!(now <= rank && said["type"] == "rank", "after {rank}: {said}");
                    rank = now;
                }
            }
        }
        // A ping's answer comes behind whatever was on its way.
        for mut visitor in visitors {
            visitor.say(&frame(PING, b"last")).await;
            assert_eq!(visitor.next().await, "8a last");
        }
        Vec::new()
    })
    .await;
}
