//! Doors to what strangers' bytes meet first, for the fuzzer (`crates/fuzz`): nobody else outside calls it by itself.

use super::{
    caller::{Arrival, Call, Caller, FORWARDED_FOR, FORWARDED_PROTO, Network, Scheme},
    listener::{Intake, intake::Counter},
    origin, visitor,
};
use crate::{limits::Bounds, settings::Cidr};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use std::net::SocketAddr;
use wire::domain::ids::SaleId;

/// How many of a WebSocket's bytes are handed on, and whether one said a length that it may not, when they come in pieces of
/// at most `piece` bytes, of which each may have as many frames as it likes.
pub fn frames(bytes: &[u8], piece: usize) -> (usize, bool) {
    let intake = Intake::default();
    let bounds = Bounds { messages_burst: f64::INFINITY, ..Bounds::default() };
    let mut counter = Counter::new(intake.clone(), bounds);
    counter.take(b"GET / HTTP/1.1\r\n\r\n");
    intake.upgrade();
    let mut taken = 0;
    for piece in bytes.chunks(piece.max(1)) {
        taken += counter.take(piece);
        if counter.is_over() {
            break;
        }
    }
    (taken, intake.is_misframed())
}

/// Which network a request is of, and whether it came over TLS; nothing where a header cannot be one.
pub fn caller(
    peer: SocketAddr,
    proxies: &[Cidr],
    forwarded: &[&[u8]],
    proto: &[u8],
) -> Option<(Network, bool)> {
    let mut headers = HeaderMap::new();
    for line in forwarded {
        headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).ok()?);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_bytes(proto).ok()?);
    let caller = Caller::at(Arrival { peer, tls: false }, &headers, proxies);
    Some((caller.network, caller.is_secure()))
}

/// Whether a page of this origin is one of that host; nothing where one of the two can be no header.
pub fn is_own(origin: &[u8], host: &[u8]) -> Option<bool> {
    Some(origin::is_own(Scheme::Unsaid, &headers(&[(header::ORIGIN, origin), (header::HOST, host)])?))
}

/// What of these cookies says who a visitor of the sale is.
pub fn cookie(sale: &SaleId, cookies: &[u8]) -> Option<String> {
    let peer = SocketAddr::from(([127, 0, 0, 1], 1));
    let headers = headers(&[(header::COOKIE, cookies)])?;
    let caller = Caller::at(Arrival { peer, tls: true }, &headers, &[]);
    visitor::cookie_of(sale, &Call { caller, headers })
}

fn headers(all: &[(HeaderName, &[u8])]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.insert(name.clone(), HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}
