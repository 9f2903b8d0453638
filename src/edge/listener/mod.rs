//! How connections are taken in: so many at once and no more, none that stays without saying anything, each with small
//! buffers. The admin listener has a budget of its own, so that an operator can always look.

mod connection;
mod instead;
mod intake;
mod silent;

use axum::{
    Router,
    extract::ConnectInfo,
    http::{StatusCode, header},
};
use connection::Connection;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tower::ServiceBuilder;

pub use intake::Intake;

use crate::{
    metrics::{self, Listeners},
    settings::Cidr,
};
use silent::{Quiet, Silent};

/// A request's head must be here within this, counted from the moment at which the connection could send it: a browser
/// keeps idle connections beside its socket, and each is a file.
const HEAD_TIMEOUT: Duration = Duration::from_secs(8);
/// The same for a trusted proxy, which speaks for many and would meet a connection that ends as it asks: longer than the
/// 60 s for which balancers usually keep theirs.
const PROXY_HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Largest head, in bytes: two tokens and what proxies add.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// After an error of the listener itself, such as no file left.
const PAUSE: Duration = Duration::from_millis(50);
/// The log tells of refused connections at most so often.
const LOG_EVERY: usize = 1_000;

/// A listener and how many connections it may have.
pub struct Listener {
    /// Which it is.
    pub of: Listeners,
    /// Connections at once.
    pub connections_max: usize,
    /// Proxies whose idle connections are kept.
    pub proxies: Vec<Cidr>,
}

impl Listener {
    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener, router: Router) {
        let open = Arc::new(AtomicUsize::new(0));
        let silent = Silent::default();
        static FULL: AtomicUsize = AtomicUsize::new(0);
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    metrics::connections_refused("accept", 1);
                    tracing::warn!(listener = ?self.of, "a connection could not be taken in: {error}");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let free = Slot::take(&open, self.connections_max, self.of);
            let Some(slot) = free.or_else(|| self.make_room(&open, &silent)) else {
                metrics::connections_refused("full", 1);
                tell(&FULL, "all connections are in use; others get 503");
                refuse(&stream);
                continue;
            };
            let is_proxy = self.proxies.iter().any(|proxy| proxy.contains(peer.ip()));
            let patience = if is_proxy { PROXY_HEAD_TIMEOUT } else { HEAD_TIMEOUT };
            let served = |quiet| serve_one(stream, peer, router.clone(), slot, patience, quiet);
            match self.of {
                Listeners::Admin => silent.watch(|quiet| served(Some(Arc::new(quiet)))),
                Listeners::Public => drop(tokio::spawn(served(None))),
            }
        }
    }

    /// An operator must get in, whoever else holds connections: the one that has been silent for longest goes. Where everyone
    /// comes at once, none goes: who has not been heard yet may have spoken.
    fn make_room(&self, open: &Arc<AtomicUsize>, silent: &Silent) -> Option<Slot> {
        if self.of != Listeners::Admin || !silent.end_the_longest() {
            return None;
        }
        metrics::connections_refused("silent", 1);
        // One more than there may be, for the moment in which the other ends.
        Slot::take(open, usize::MAX, self.of)
    }
}

/// The log hears of the first refusal of a kind, and of every so many.
pub(super) fn tell(count: &AtomicUsize, why: &str) {
    let before = count.fetch_add(1, Ordering::Relaxed);
    if before.is_multiple_of(LOG_EVERY) {
        tracing::warn!(so_far = before + 1, "a connection was not served: {why}");
    }
}

/// One of the connections that a listener may have.
struct Slot(Arc<AtomicUsize>, Listeners);

impl Slot {
    fn take(open: &Arc<AtomicUsize>, max: usize, of: Listeners) -> Option<Self> {
        let more = |count: usize| (count < max).then_some(count + 1);
        let before = open.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        metrics::open_connections(of, before + 1);
        Some(Self(open.clone(), of))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let before = self.0.fetch_sub(1, Ordering::Relaxed);
        metrics::open_connections(self.1, before - 1);
    }
}

/// Says so, if that can be done without waiting, and closes.
fn refuse(stream: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
        Content-Type: application/json\r\nContent-Length: 100\r\n\r\n\
        {\"code\":\"unavailable\",\"message\":\"this server has all the connections that it can hold\",\"retry\":true}";
    let _ = stream.try_write(ANSWER);
}

/// Where `quiet` is watched, an answer ends the connection: one that rests would be in the way as well.
async fn serve_one(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    slot: Slot,
    patience: Duration,
    quiet: Option<Arc<Quiet>>,
) {
    // A rank is a small frame that nothing follows: it must not wait for more.
    let _ = stream.set_nodelay(true);
    let intake = Intake::default();
    // The slot lives as long as the connection, also as a WebSocket.
    let connection = Connection::new(stream, intake.clone(), slot);
    let asked = Arc::new(AtomicBool::new(false));
    let (has_asked, keeps) = (asked.clone(), quiet.is_none());
    let add = move |mut request: hyper::Request<hyper::body::Incoming>| {
        has_asked.store(true, Ordering::Relaxed);
        quiet.as_ref().inspect(|quiet| quiet.has_spoken());
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(intake.clone());
        request
    };
    let service = ServiceBuilder::new().map_request(add).map_response(without_length).service(router);
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(keeps)
        .header_read_timeout(patience)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(connection), TowerToHyperService::new(service))
        .with_upgrades()
        .await;
    // Who has asked and rests is a browser that keeps its connection for later: closed, but not refused.
    if served.is_err_and(|error| error.is_timeout()) && !asked.load(Ordering::Relaxed) {
        metrics::connections_refused("slow", 1);
        static SLOW: AtomicUsize = AtomicUsize::new(0);
        tell(&SLOW, "no request came within its time");
    }
}

/// The router takes the body that a 304 lacks for one of length 0, and says so to HEAD.
fn without_length<B>(mut response: hyper::Response<B>) -> hyper::Response<B> {
    if response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(header::CONTENT_LENGTH);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
            let slot = Slot::take(&Arc::default(), 1, Listeners::Admin).unwrap();
            serve_one(stream, peer, router.clone(), slot, Duration::from_millis(200), None).await;
        }
        let page = recorder.handle().render();
        assert!(page.contains("waitroom_connections_refused_total{reason=\"slow\"} 2"), "{page}");
    }

    async fn said_to(request: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(async || StatusCode::NOT_MODIFIED));
        let budget = Listener { of: Listeners::Public, connections_max: 1, proxies: Vec::new() };
        tokio::spawn(budget.serve(listener, router));
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
        let budget = Listener { of: Listeners::Admin, connections_max: 3, proxies: Vec::new() };
        tokio::spawn(budget.serve(listener, router));
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
        tokio::spawn(
            Listener { of: Listeners::Public, connections_max: 1, proxies: Vec::new() }
                .serve(listener, router),
        );
        const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
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
}
