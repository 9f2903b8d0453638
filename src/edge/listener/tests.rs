//! Who is let in, who is not, and what each is told.

use super::*;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Of a server that nobody asks to leave.
fn staying() -> watch::Receiver<Drain> {
    watch::channel(Drain::NotYet).1
}

pub(super) fn listening(of: Listeners, connections_max: usize) -> Listener {
    let (proxies, traffic, networks, bounds) = Default::default();
    let (drain, of_network_max, tls) = (staying(), 0, None);
    Listener { of, connections_max, proxies, traffic, drain, of_network_max, networks, tls, bounds }
}

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn answer(stream: &mut TcpStream) -> String {
    let mut words = vec![0; 1_000];
    let length = stream.read(&mut words).await.unwrap();
    String::from_utf8_lossy(&words[..length]).into_owned()
}

#[tokio::test]
async fn who_never_asks_is_counted_and_who_rests_is_not() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _here = ::metrics::set_default_local_recorder(&recorder);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "served"));
    for said in [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(), b"", b"GET / HT"] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(said).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let slot = Slot::take(&Gauge::default(), 1, Listeners::Admin).unwrap();
        let (patience, requests) = (Duration::from_millis(200), Gauge::default());
        let one = One { peer, slot, patience, drain: staying(), requests, bounds: Bounds::default() };
        one.take_in(stream, None, router.clone(), None).await;
    }
    let page = recorder.handle().render();
    assert!(page.contains("waitroom_connections_refused_total{reason=\"slow\"} 2"), "{page}");
}

async fn said_to(request: &[u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || StatusCode::NOT_MODIFIED));
    tokio::spawn(listening(Listeners::Public, 1).serve(listener, router));
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(request).await.unwrap();
    answer(&mut client).await
}

#[tokio::test]
async fn what_hyper_refuses_is_told_in_json() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
    let path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(2 * HEAD_BYTES_MAX));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(HEADERS_MAX + 1));
    for (request, status, code) in [
        ("GET / HTTP/1.1\r\nHost\r\n\r\n", "400", "bad_message"),
        ("what?\r\n\r\n", "400", "bad_message"),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "400", "bad_message"),
        (&long, "431", "too_large"),
        (&path, "431", "too_large"),
        (&many, "431", "too_large"),
    ] {
        let said = said_to(request.as_bytes()).await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{said}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(body).unwrap()["code"], code, "{said}");
    }
}

/// What a network holds open keeps nobody else out; without the limit it does.
#[tokio::test]
async fn a_network_has_so_many_connections() {
    for (of_network_max, got) in [(2, ["429", "served"]), (0, ["503", "503"])] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || "served"));
        let mut server = listening(Listeners::Public, 3);
        server.of_network_max = of_network_max;
        tokio::spawn(server.serve(listener, router));
        let ask = async |from: &str, request: &[u8]| {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
            let mut stream = socket.connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            (answer(&mut stream).await, stream)
        };
        let mut held = Vec::new();
        for _ in 0..if of_network_max == 0 { 3 } else { 2 } {
            held.push(ask("127.0.0.1", REQUEST).await);
        }
        assert!(held.iter().all(|(said, _)| said.ends_with("served")));
        for (from, wanted) in ["127.0.0.1", "127.0.0.2"].into_iter().zip(got) {
            // Who is refused is told so before he asks; a request that nobody reads would cut the words off.
            let (said, _stream) = ask(from, if wanted == "served" { REQUEST } else { b"" }).await;
            assert!(said.contains(wanted), "{from} with {of_network_max}: {said}");
            if let Some((head, body)) = said.split_once("\r\n\r\n").filter(|_| wanted == "429") {
                assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{said}");
            }
        }
    }
}

#[tokio::test]
async fn a_304_tells_no_length() {
    for method in ["GET", "HEAD"] {
        let said = said_to(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert!(
            said.starts_with("HTTP/1.1 304 ") && !said.to_lowercase().contains("content-length"),
            "{said}"
        );
    }
}

/// However many hold connections and say nothing, or half of something, an operator gets in.
#[tokio::test]
async fn the_silent_make_room_for_an_operator() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "served"));
    tokio::spawn(listening(Listeners::Admin, 3).serve(listener, router));
    let mut silent = Vec::new();
    for said in [b"GET / HT".as_slice(), b"", b"", b"", b"GET /", b""] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(said).await.unwrap();
        silent.push(stream);
    }
    for _ in 0..5 {
        let mut operator = TcpStream::connect(address).await.unwrap();
        operator.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut words = String::new();
        operator.read_to_string(&mut words).await.unwrap();
        assert!(words.ends_with("served"), "{words}");
    }
    assert_eq!(answer(&mut silent[0]).await, "", "the longest silent was let go");
}

/// Whoever only holds a connection counts, and gives his slot back when he goes.
#[tokio::test]
async fn a_full_listener_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "served"));
    tokio::spawn(listening(Listeners::Public, 1).serve(listener, router));
    let mut first = TcpStream::connect(address).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    assert!(answer(&mut first).await.ends_with("served"));
    let refused = answer(&mut TcpStream::connect(address).await.unwrap()).await;
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(head.ends_with(&format!("Content-Length: {}", body.len())), "{refused}");
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok(), "{body}");
    drop(first);
    loop {
        let mut next = TcpStream::connect(address).await.unwrap();
        next.write_all(REQUEST).await.unwrap();
        if answer(&mut next).await.ends_with("served") {
            break;
        }
    }
}

/// However many hold connections and say nothing, a server that may open few has room for a visitor.
#[tokio::test]
async fn the_silent_leave_room_for_visitors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", get(async || "served"));
    tokio::spawn(listening(Listeners::Public, 8).serve(listener, router));
    let silent = async || TcpStream::connect(address).await.unwrap();
    // Each time fewer than there may be in all, and all together more.
    let mut all = Vec::new();
    for _ in 0..3 {
        for _ in 0..5 {
            all.push(silent().await);
        }
        tokio::time::sleep(SILENT_WITHIN + Duration::from_millis(200)).await;
        let mut visitor = silent().await;
        visitor.write_all(REQUEST).await.unwrap();
        let said = answer(&mut visitor).await;
        assert!(said.ends_with("served"), "{said}");
    }
}
