//! How connections are taken in: so many at once and no more, none that stays without saying anything, each with small
//! buffers. The admin listener has a budget of its own, so that an operator can always look.

mod connection;
mod instead;
pub(super) mod intake;
mod refuse;
mod silent;
pub mod tls;

use super::{
    caller::{Arrival, Network},
    networks::{Networks, Seat},
};
use axum::{
    Router,
    http::{StatusCode, header},
};
use connection::Stream;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    net::SocketAddr,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::sleep,
};
use tower::ServiceBuilder;

pub use connection::{Connection, Resting};
pub use intake::{Balance, Intake};

use crate::{
    drain::{Counted, Drain, Gauge, Traffic, reached},
    edge::rarely::Rarely,
    limits::{Bounds, SILENT_SHARE, SILENT_WITHIN},
    metrics::{self, Listeners},
    settings::Cidr,
};
use refuse::{Refusal, refuse};
use silent::{Quiet, Silent};
use tls::Tls;

/// How long a request's head may take of a trusted proxy, which speaks for many and would meet a connection that ends as it asks: longer than the
/// 60 s for which balancers usually keep theirs.
const PROXY_HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Largest head, in bytes: two tokens and what proxies add.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 100;
/// Connections that the kernel keeps for a listener which has not taken them in.
pub const QUEUE: u32 = 4096;
/// Who has connected to a server that leaves, and has not asked for anything, may do so within this.
const LAST_ASKED: Duration = Duration::from_secs(2);
/// After an error of the listener itself, such as no file left.
const PAUSE: Duration = Duration::from_millis(50);

/// A listener and how many connections it may have.
pub struct Listener {
    /// Which it is.
    pub of: Listeners,
    /// Connections at once.
    pub connections_max: usize,
    /// Proxies whose idle connections are kept.
    pub proxies: Vec<Cidr>,
    /// What goes on here.
    pub traffic: Traffic,
    /// Whether the server leaves: then nobody new is let in, and who is served already is the last time. The admin
    /// listener takes no notice: it is there to the end.
    pub drain: watch::Receiver<Drain>,
    /// Connections of one network, where it is no proxy's; 0: as many as it likes.
    pub of_network_max: u32,
    /// Those that each network has.
    pub networks: Networks,
    /// Where TLS ends here.
    pub tls: Option<Arc<Tls>>,
    /// The bounds on whoever connects.
    pub bounds: Bounds,
}

impl Listener {
    /// Serves until the server leaves; then the port is closed, so that whoever connects is told so at once, and a balancer goes
    /// to the next server with the same request. The connections go on by themselves.
    pub async fn serve(self, listener: TcpListener, router: Router) {
        let silent = Silent::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.leaves(Duration::ZERO) => break,
            };
            match accepted {
                Ok((stream, peer)) => self.take_in(stream, peer, &router, &silent),
                Err(error) => {
                    metrics::connections_refused("accept", 1);
                    tracing::warn!(listener = ?self.of, "a connection could not be taken in: {error}");
                    sleep(PAUSE).await;
                }
            }
        }
        self.take_in_the_last(listener, &router, &silent);
    }

    /// Who stands in the queue already would be cut off with it.
    fn take_in_the_last(&self, listener: TcpListener, router: &Router, silent: &Silent) {
        let Ok(listener) = listener.into_std() else { return };
        // As many as there may be: others may come faster than they are taken in.
        for (stream, peer) in (0..QUEUE).map_while(|_| listener.accept().ok()) {
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.take_in(stream, peer, router, silent);
            }
        }
    }

    fn take_in(&self, stream: TcpStream, peer: SocketAddr, router: &Router, silent: &Silent) {
        static FULL: Rarely = Rarely::new();
        let is_proxy = self.proxies.iter().any(|proxy| proxy.contains(peer.ip()));
        let of_network_max = if is_proxy { 0 } else { self.of_network_max };
        let Some(seat) = self.networks.take(Network::of(peer.ip()), of_network_max) else {
            metrics::connections_refused("address", 1);
            return refuse(&stream, self.tls.is_some(), Refusal::OfNetwork);
        };
        let free = Slot::take(&self.traffic.connections, self.connections_max, self.of);
        let Some(slot) = free.or_else(|| self.make_room(silent)) else {
            metrics::connections_refused("full", 1);
            tell(&FULL, "all connections are in use; others get 503");
            return refuse(&stream, self.tls.is_some(), Refusal::OfAll);
        };
        let (slot, bounds) = (slot.of_network(seat), self.bounds);
        let patience = if is_proxy { PROXY_HEAD_TIMEOUT } else { bounds.head_within };
        let (drain, requests) = (self.drain.clone(), self.traffic.requests.clone());
        let one = One { peer, slot, patience, drain, requests, bounds };
        let (router, tls) = (router.clone(), self.tls.clone());
        if is_proxy {
            // It keeps connections for visitors who are to come.
            drop(tokio::spawn(one.take_in(stream, tls, router, None)));
        } else {
            silent.watch(|quiet| one.take_in(stream, tls, router, Some(Arc::new(quiet))));
            let silent_max = (bounds.silent_max as usize).min(self.connections_max / SILENT_SHARE);
            let ended = silent.end_the_many(silent_max, SILENT_WITHIN);
            metrics::connections_refused("silent", ended);
        }
    }

    /// Waits until the server leaves, if that matters here.
    async fn leaves(&self, and: Duration) {
        match self.of {
            Listeners::Public => reached(&self.drain, Drain::Leaving, and).await,
            Listeners::Admin => std::future::pending().await,
        }
    }

    /// An operator must get in, whoever else holds connections: the one that has been silent for longest goes. Where everyone
    /// comes at once, none goes: who has not been heard yet may have spoken.
    fn make_room(&self, silent: &Silent) -> Option<Slot> {
        if self.of != Listeners::Admin || !silent.end_the_longest() {
            return None;
        }
        metrics::connections_refused("silent", 1);
        // One more than there may be, for the moment in which the other ends.
        Slot::take(&self.traffic.connections, usize::MAX, self.of)
    }
}

/// The log hears of refusals of a kind, rarely.
pub(super) fn tell(count: &Rarely, why: &str) {
    if let Some(so_far) = count.happens() {
        tracing::warn!(so_far, "a connection was not served: {why}");
    }
}

/// One of the connections that a listener may have, and that its network may.
struct Slot {
    of: Listeners,
    open: Gauge,
    counted: Option<Counted>,
    seat: Option<Seat>,
}

impl Slot {
    fn take(open: &Gauge, max: usize, of: Listeners) -> Option<Self> {
        let counted = open.take(max)?;
        metrics::open_connections(of, open.get());
        Some(Self { of, open: open.clone(), counted: Some(counted), seat: None })
    }

    fn of_network(mut self, seat: Seat) -> Self {
        self.seat = Some(seat);
        self
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        (self.counted, self.seat) = (None, None);
        metrics::open_connections(self.of, self.open.get());
    }
}

/// One connection.
struct One {
    peer: SocketAddr,
    slot: Slot,
    patience: Duration,
    drain: watch::Receiver<Drain>,
    requests: Gauge,
    bounds: Bounds,
}

impl One {
    async fn take_in(
        self,
        stream: TcpStream,
        tls: Option<Arc<Tls>>,
        router: Router,
        quiet: Option<Arc<Quiet>>,
    ) {
        // A rank is a small frame that nothing follows: it must not wait for more.
        let _ = stream.set_nodelay(true);
        let Some(tls) = tls else { return self.serve(stream, false, router, quiet).await };
        // The slot is taken already: who does not come to an end with his handshake is one of those that there may be.
        if let Some(stream) = Box::pin(tls.accept(stream, self.bounds.handshake_within)).await {
            drop(tls);
            self.serve(stream, true, router, quiet).await;
        }
    }

    /// `quiet` is told of the first request. On the admin listener an answer ends the connection: one that rests would be in the
    /// way as well.
    async fn serve(self, stream: impl Stream, tls: bool, router: Router, quiet: Option<Arc<Quiet>>) {
        let Self { peer, slot, patience, drain, requests, bounds } = self;
        let intake = Intake::default();
        // Counted from its first request to its end: after that it rests, which only a server that stays allows.
        let asked = Arc::new(OnceLock::new());
        let (has_asked, is_public) = (asked.clone(), slot.of == Listeners::Public);
        // The slot lives as long as the connection, also as a WebSocket.
        let connection = Connection::new(stream, intake.clone(), bounds, slot);
        let add = move |mut request: hyper::Request<hyper::body::Incoming>| {
            has_asked.get_or_init(|| requests.take(usize::MAX));
            quiet.as_ref().inspect(|quiet| quiet.has_spoken());
            request.extensions_mut().insert(Arrival { peer, tls });
            request.extensions_mut().insert(intake.clone());
            request
        };
        let service = ServiceBuilder::new().map_request(add).map_response(without_length).service(router);
        let mut served = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .keep_alive(is_public)
                .header_read_timeout(patience)
                .max_buf_size(HEAD_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                .serve_connection(TokioIo::new(connection), TowerToHyperService::new(service))
                .with_upgrades()
        );
        let last = async {
            reached(&drain, Drain::Leaving, Duration::ZERO).await;
            if asked.get().is_none() {
                sleep(LAST_ASKED).await;
            }
        };
        let served = tokio::select! {
            served = &mut served => served,
            () = last, if is_public => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        let Err(error) = served else { return };
        if error.is_parse() {
            metrics::connections_refused("malformed", 1);
        } else if error.is_timeout() && asked.get().is_none() {
            // Who has asked and rests is a browser that keeps its connection for later: closed, but not refused.
            metrics::connections_refused("slow", 1);
            static SLOW: Rarely = Rarely::new();
            tell(&SLOW, "no request came within its time");
        }
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
mod tests;
