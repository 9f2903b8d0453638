//! Clients that are slow, silent or never stop: they are let go, and everyone else is served.

use crate::world::{Server, World};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};
use waitroom::limits::Bounds;

/// Longer than the server waits for anybody.
const PATIENCE: Duration = Duration::from_secs(120);

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.public).await.unwrap()
}

/// All that the server says before it closes.
async fn last_words(mut stream: TcpStream) -> String {
    let mut words = Vec::new();
    // A reset is an end too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut words)).await.expect("kept for ever");
    String::from_utf8_lossy(&words).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_ask_is_let_go() {
    let server = Server::start().await;
    let silent = connect(&server).await;
    let mut half = connect(&server).await;
    half.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX: ").await.unwrap();
    let mut idle = connect(&server).await;
    idle.write_all(b"GET /v1/sales HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut body = connect(&server).await;
    let head = b"POST /v1/sales/none/places HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{";
    body.write_all(head).await.unwrap();
    let (silent, half, idle, body) =
        tokio::join!(last_words(silent), last_words(half), last_words(idle), last_words(body));
    assert_eq!(silent, "");
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 408"), "{half}");
    assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
    assert!(body.starts_with("HTTP/1.1 408") && body.contains(r#""code":"too_slow""#), "{body}");
}

/// An operator sees who is turned away, and for what.
#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_is_counted() {
    let bounds = Bounds { join_within: Duration::from_millis(200), ..Bounds::default() };
    let server = Server::start_within(World::shared(), &[], bounds).await;
    let sale = server.sale(json!({})).await;
    let counted = async |series: &str| {
        let page = server.metrics().await;
        let value = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no {series}"))
    };
    for (what, reason) in [
        (Some(Message::text("{")), "bad_message"),
        (Some(Message::text("x".repeat(5_000))), "too_big"),
        (Some(Message::Frame(Frame::message(b"\xff".to_vec(), OpCode::Data(Data::Text), true))), "protocol"),
        (None, "no_join"),
    ] {
        let series = format!("waitroom_sockets_dropped_total{{reason=\"{reason}\"}}");
        let before = counted(&series).await;
        let mut visitor = server.connect(&sale).await;
        if let Some(message) = what {
            visitor.send(message).await;
        }
        visitor.closed().await;
        assert!(counted(&series).await > before, "{reason}");
    }
    let series = "waitroom_connections_refused_total{reason=\"malformed\"}";
    let before = counted(series).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"NO HTTP AT ALL\r\n\r\n").await.unwrap();
    last_words(stream).await;
    assert!(counted(series).await > before);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_is_refused() {
    let server = Server::start().await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n").await.unwrap();
    let line = [b"X: ".as_slice(), &[b'x'; 1_000], b"\r\n"].concat();
    for _ in 0..200 {
        if stream.write_all(&line).await.is_err() {
            break;
        }
    }
    let words = last_words(stream).await;
    assert!(words.is_empty() || words.starts_with("HTTP/1.1 431"), "{words}");
}

async fn upgraded(server: &Server, sale: &str) -> TcpStream {
    let mut stream = connect(server).await;
    let head = format!(
        "GET /v1/sales/{sale}/ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
    stream
}

/// A close frame's code stands behind its head in the last words.
async fn close_code(stream: TcpStream) -> Option<u16> {
    let words = {
        let mut stream = stream;
        let mut words = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut words)).await.expect("kept for ever");
        words
    };
    words.windows(4).rev().find(|w| w[0] == 0x88 && w[1] >= 2).map(|w| u16::from_be_bytes([w[2], w[3]]))
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_no_message_is_made_of_count_too() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let ping = [0x89, 0x80, 1, 2, 3, 4];
    let (first, next) = ([0x01, 0x80, 1, 2, 3, 4], [0x00, 0x80, 1, 2, 3, 4]);
    for (opening, frame) in [(ping, ping), (first, next)] {
        let mut stream = upgraded(&server, &sale).await;
        stream.write_all(&opening).await.unwrap();
        for _ in 0..200 {
            // The server may have hung up by now.
            let _ = stream.write_all(&frame).await;
        }
        assert_eq!(close_code(stream).await, Some(4429), "{frame:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_before_the_handshakes_answer_are_refused() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let mut stream = connect(&server).await;
    let head = format!(
        "GET /v1/sales/{sale}/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &[0x89, 0x80, 1, 2, 3, 4]].concat()).await.unwrap();
    let words = last_words(stream).await;
    assert!(words.starts_with("HTTP/1.1 400"), "{words}");
    // Behind a proxy a second answer would be somebody else's.
    assert_eq!(words.matches("HTTP/1.1 ").count(), 1, "{words}");
    // Also those that end as a head does: the frame would be counted from its middle, and none after it.
    let mut stream = connect(&server).await;
    stream.write_all(&[head.as_bytes(), b"\x89\xfd\0\0\0\0\r\n\r\n"].concat()).await.unwrap();
    let words = last_words(stream).await;
    assert!(!words.contains("no join came"), "it was let go for this, and not later: {words}");
}

/// An operator must get in, whoever sends what.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_who_may_not_send_one_is_not_waited_for() {
    let server = Server::start().await;
    for token in ["", "Authorization: Bearer no-token-of-ours\r\n"] {
        let mut stream = TcpStream::connect(server.admin).await.unwrap();
        let head = format!("POST /v1/admin/sales HTTP/1.1\r\nHost: a\r\n{token}Content-Length: 9\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let words = last_words(stream).await;
        assert!(words.starts_with("HTTP/1.1 401"), "{words}");
    }
}

/// The cookies of others on the same host, and what a visitor writes into a header that a proxy adds to, may be anything.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_text_takes_nothing_along() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let ask = async |method: &str, path: &str, cookie: &[u8]| {
        let mut stream = connect(&server).await;
        let head = format!(
            "{method} /v1/sales/{sale}/places{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: "
        );
        stream
            .write_all(&[head.as_bytes(), cookie, b"\r\nContent-Length: 0\r\n\r\n"].concat())
            .await
            .unwrap();
        last_words(stream).await
    };
    let joined = ask("POST", "", b"a=b").await;
    let ours = joined.split("set-cookie: ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
    let standing = ask("GET", "/me", &[b"name=M\xfcller; ", ours.as_bytes()].concat()).await;
    assert!(standing.starts_with("HTTP/1.1 200"), "{standing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_use_the_api_and_their_cookies_say_nothing() {
    let world = World::shared();
    let server = Server::start_with(world, &[("allowed_origins", "https://shop.example")]).await;
    let sale = server.sale(json!({})).await;
    let ask = async |method: &str, path: &str, headers: &str| {
        let mut stream = connect(&server).await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        last_words(stream).await
    };
    let path = format!("/v1/sales/{sale}/places");
    let preflight = "Origin: https://shop.example\r\nAccess-Control-Request-Method: POST\r\n\
                     Access-Control-Request-Headers: authorization\r\n";
    let answer = ask("OPTIONS", &path, preflight).await.to_lowercase();
    assert!(answer.contains("access-control-allow-origin: https://shop.example"), "{answer}");
    assert!(!answer.contains("allow-credentials"), "{answer}");
    let join = async |origin: &str, cookie: &str| {
        let answer = ask("POST", &path, &format!("Origin: {origin}\r\n{cookie}Content-Length: 0\r\n")).await;
        let cookie = answer.split("set-cookie: ").nth(1).and_then(|rest| rest.split(';').next());
        (answer[9..12].to_owned(), cookie.unwrap_or_default().to_owned())
    };
    let (status, cookie) = join("https://shop.example", "").await;
    assert_eq!(status, "201");
    let cookie = format!("Cookie: {cookie}\r\n");
    assert_eq!(join("http://a", &cookie).await.0, "200", "his own place");
    assert_eq!(join("https://shop.example", &cookie).await.0, "201", "a new visitor");
    assert_eq!(join("https://evil.example", "").await.0, "403");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_is_as_the_rfc_wants_it() {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
    let server = Server::start().await;
    let sale = server.sale(serde_json::json!({})).await;
    let answered = async |method: &str, http: &str, headers: &str| {
        let mut stream = connect(&server).await;
        let request = format!(
            "{method} /v1/sales/{sale}/ws HTTP/{http}\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        String::from_utf8_lossy(&head[9..]).into_owned()
    };
    let good = [KEY, VERSION].concat();
    assert_eq!(answered("GET", "1.1", &good).await, "101");
    assert_eq!(answered("HEAD", "1.1", &good).await, "426");
    assert_eq!(answered("GET", "1.0", &good).await, "426");
    let keys = ["abc", "", "YWJj"].map(|key| format!("{VERSION}Sec-WebSocket-Key: {key}\r\n"));
    for headers in [&[KEY, &good].concat(), &[VERSION, &good].concat(), KEY, VERSION]
        .into_iter()
        .chain(keys.iter().map(String::as_str))
    {
        assert_eq!(answered("GET", "1.1", headers).await, "426", "{headers}");
    }
}
