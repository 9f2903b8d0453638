//! From an HTTP request to a WebSocket: everything that is refused before it is one.

use super::{frames::Frames, session, who};
use crate::{
    edge::{Edge, caller::Call, error::HttpError, listener::Intake, origin},
    metrics::{self, Refused},
    room::sockets::Socket,
};
use axum::{
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use wire::{domain::phase::Phase, protocol::SUBPROTOCOL};

/// When to come again after a network's sockets were all in use.
const AGAIN: Duration = Duration::from_secs(10);

/// `GET …/ws`.
pub async fn upgrade(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    call: Call,
    request: Request,
) -> Result<Response, HttpError> {
    if !origin::is_allowed(&edge, &call) {
        return Err(HttpError::foreign_origin());
    }
    let room = edge.room(&sale).await?;
    if room.line.phase() == Phase::Closed {
        return Err(HttpError::sale_closed());
    }
    let may_be = request.method() == Method::GET && request.version() == Version::HTTP_11;
    if !may_be || !is_upgrade(&call.headers) {
        return Err(upgrade_required());
    }
    let seat =
        edge.state.sockets.take(call.caller.network, edge.strangers.address_sockets).ok_or_else(|| {
            metrics::visitor_refused(Refused::AddressSockets);
            HttpError::too_many("your network has as many sockets as it may; close one", AGAIN)
        })?;
    let too_many =
        || HttpError::unavailable("this server has all the connections that it can hold; connect again");
    let connection = edge.rooms.connect(edge.connections_max).ok_or_else(too_many)?;
    let intake = request.extensions().get::<Intake>().cloned().unwrap_or_default();
    if request.extensions().get::<Intake>().is_some() && !intake.upgrade() {
        let message = "frames may be sent once the handshake was answered (RFC 6455, 4.1)";
        // What came already would be read as the next request.
        return Err(HttpError::bad_message(message).header(header::CONNECTION, "close"));
    }
    let cookie = who::cookie_of(&room.sale.id, &call);
    let (caller, response) = (call.caller, switching(&call.headers));
    let upgrading = hyper::upgrade::on(request);
    let socket = Socket::new(edge.state.next_socket.fetch_add(1, Ordering::Relaxed));
    // Headers and address are not kept alive past the upgrade.
    tokio::spawn(async move {
        let Ok(upgraded) = upgrading.await else { return };
        let Some(frames) = Frames::begin(upgraded, socket.clone(), intake, &edge.bounds).await else {
            return;
        };
        session::run(edge, room, frames, socket, caller, cookie, (connection, seat)).await;
    });
    Ok(response)
}

/// The handshake's answer (RFC 6455, 4.2.2).
fn switching(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept = headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()));
    if let Some(accept) = accept.and_then(|accept| HeaderValue::try_from(accept).ok()) {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if has(headers, header::SEC_WEBSOCKET_PROTOCOL, |wanted| wanted == SUBPROTOCOL) {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    has(headers, header::CONNECTION, |value| value.eq_ignore_ascii_case("upgrade"))
        && has(headers, header::UPGRADE, |value| value.eq_ignore_ascii_case("websocket"))
        && only(headers, header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && only(headers, header::SEC_WEBSOCKET_KEY).is_some_and(is_key)
}

/// What stands there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a list says so; it may stand in several lines.
fn has(headers: &HeaderMap, name: HeaderName, is_wanted: impl Fn(&str) -> bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|value| is_wanted(value.trim()))
}

/// 16 bytes in base64 (RFC 6455, 4.1).
fn is_key(key: &HeaderValue) -> bool {
    BASE64_STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16)
}

fn upgrade_required() -> HttpError {
    let message =
        "this address speaks WebSocket, version 13, subprotocol waitroom.v1; without one use …/places";
    HttpError::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", message)
        .header(header::UPGRADE, "websocket")
        .header(header::CONNECTION, "upgrade")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
}
