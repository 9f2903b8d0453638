//! TLS that ends in the server, and TLS that ends at a proxy it trusts.

use crate::world::{Server, World};
use futures_util::{SinkExt, StreamExt};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use wire::domain::ids::SaleId;

const CERT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/one.cert.pem");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates/one.key.pem");

async fn server() -> Server {
    Server::start_with(World::shared(), &[("tls_cert_file", CERT), ("tls_key_file", KEY)]).await
}

async fn over_tls(server: &Server) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(CERT).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let stream = TcpStream::connect(server.public).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// One request and the whole answer to it.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, line: &str, headers: &str) -> String {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A header of an answer.
fn said<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)))
        .map(|(_, v)| v)
}

fn place_in(answer: &str) -> Value {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    serde_json::from_str::<Value>(body).unwrap_or_default()["place"].clone()
}

/// What is said over TLS, whoever ends it.
async fn assert_secure(join: impl AsyncFn(&str) -> String, sale: &str) {
    let first = join("").await;
    assert!(first.starts_with("HTTP/1.1 201"), "{first}");
    assert_eq!(said(&first, "strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(said(&first, "x-content-type-options"), Some("nosniff"));
    let cookie = said(&first, "set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("__Host-waitroom-{sale}=")), "{cookie}");
    assert!(cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=604800"), "{cookie}");
    let (pair, token) = (cookie.split(';').next().unwrap(), cookie.split(['=', ';']).nth(1).unwrap());
    let again = join(&format!("Cookie: {pair}\r\n")).await;
    assert!(again.starts_with("HTTP/1.1 200"), "{again}");
    assert_eq!(place_in(&again), place_in(&first));
    // Who came before there was TLS is known by the cookie of then; where there are both, the new one counts.
    let old = join(&format!("Cookie: waitroom_visitor={token}\r\n")).await;
    assert_eq!(place_in(&old), place_in(&first));
    let both = join(&format!("Cookie: waitroom_visitor=other; {pair}\r\n")).await;
    assert_eq!(place_in(&both), place_in(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_ends_here() {
    let server = server().await;
    let sale = server.sale(json!({})).await;
    let path = format!("POST /v1/sales/{sale}/places");
    assert_secure(async |headers| ask(over_tls(&server).await, &path, headers).await, &sale).await;
    let page = ask(over_tls(&server).await, &format!("GET /sales/{sale}"), "").await;
    let policy = said(&page, "content-security-policy").unwrap();
    assert!(policy.contains("connect-src 'self' wss://a.example;"), "{policy}");
    // A page that came without TLS is another's.
    for (origin, status) in [("https://a.example", "201"), ("http://a.example", "403")] {
        let answer = ask(over_tls(&server).await, &path, &format!("Origin: {origin}\r\n")).await;
        assert_eq!(&answer[9..12], status, "{origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_ends_at_a_trusted_proxy() {
    let trusting = Server::start_with(World::shared(), &[("trusted_proxies", "127.0.0.1")]).await;
    let sale = trusting.sale(json!({})).await;
    let path = format!("POST /v1/sales/{sale}/places");
    let join = async |server: &Server, headers: &str| {
        let headers = format!("X-Forwarded-Proto: https\r\n{headers}");
        ask(TcpStream::connect(server.public).await.unwrap(), &path, &headers).await
    };
    assert_secure(async |headers| join(&trusting, headers).await, &sale).await;
    assert_eq!(&join(&trusting, "Origin: http://a.example\r\n").await[9..12], "403");
    // The same words of anyone else say nothing.
    let alone = Server::start().await;
    let answer = join(&alone, "").await;
    assert_eq!(said(&answer, "strict-transport-security"), None);
    let cookie = said(&answer, "set-cookie").unwrap();
    assert!(cookie.starts_with("waitroom_visitor=") && !cookie.contains("Secure"), "{cookie}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_over_tls_has_the_same_bounds() {
    let server = server().await;
    let sale = server.sale(json!({})).await;
    let mut request = format!("wss://localhost/v1/sales/{sale}/ws").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "waitroom.v1".parse().unwrap());
    let (mut socket, _) = client_async(request, over_tls(&server).await).await.unwrap();
    socket.send(Message::Text(r#"{"type":"join"}"#.into())).await.unwrap();
    let Some(Ok(Message::Text(joined))) = socket.next().await else { panic!("no answer") };
    assert!(joined.contains(r#""type":"joined""#), "{joined}");
    for _ in 0..200 {
        // The server may have hung up by now.
        let _ = socket.send(Message::Text(r#"{"type":"ping"}"#.into())).await;
    }
    let code = loop {
        match socket.next().await {
            Some(Ok(Message::Close(frame))) => break frame.map(|frame| u16::from(frame.code)),
            Some(Ok(_)) => {}
            other => panic!("cut without a close: {other:?}"),
        }
    };
    assert_eq!(code, Some(4429));
    // A frame that came with the head was not counted: nobody may go on from its middle.
    let mut stream = over_tls(&server).await;
    let head = format!(
        "GET /v1/sales/{sale}/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), b"\x89\xfd\0\0\0\0\r\n\r\n"].concat()).await.unwrap();
    let mut words = Vec::new();
    let _ = stream.read_to_end(&mut words).await;
    let words = String::from_utf8_lossy(&words);
    assert!(!words.contains("no join came"), "{words}");
    // What is too big by far is refused with words that arrive, though more is on its way.
    let mut stream = over_tls(&server).await;
    let head = format!("POST /v1/sales/{sale}/places HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let _ = stream.write_all(&vec![b'x'; 1 << 20]).await;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 413");
}

/// The load generator comes over TLS as well, and believes the authorities that it is told to, and no others.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_comes_over_tls() {
    let server = server().await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let crowd = async |ca_file: Option<&str>| {
        let url = format!("https://localhost:{}", server.public.port());
        let target = load::Target::with(&url, SaleId::parse(&sale).unwrap(), ca_file.map(Path::new)).unwrap();
        let options = load::Options {
            target,
            scenario: "tls".into(),
            visitors: 5,
            arrivals: load::arrivals::ramp(Duration::from_millis(200)),
            part: (1, 1),
            run: None,
            start_at: None,
            history: None,
            behaviour: load::Behaviour { think: Default::default(), ..Default::default() },
            attackers: Default::default(),
            timeout: Duration::from_secs(60),
            seed: 1,
            identity_key: None,
            sources: None,
            admin: None,
            thresholds: Vec::new(),
            require_drain: true,
            quiet: true,
        };
        load::run(options).await
    };
    let report = crowd(Some(CERT)).await.unwrap();
    assert!(report.joined == 5 && !report.broken(), "{report}");
    assert!(crowd(None).await.is_err(), "nobody vouches for this certificate");
}
