//! From an HTTP request to a WebSocket: everything that is refused before it is one.

use super::{frames::Frames, session, who};
use crate::{
    edge::{Edge, caller::Call, error::HttpError, listener::Intake, origin},
    metrics::{self, Refused},
    room::sockets::Socket,
};
use axum::{
    extract::{FromRequestParts, Path, Request, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use wire::{domain::phase::Phase, protocol::SUBPROTOCOL};

/// tungstenite allocates its read buffer a socket, and zeroes it on each read.
const READ_BUFFER_BYTES: usize = 512;
/// When to come again after a network's sockets were all in use.
const AGAIN: Duration = Duration::from_secs(10);
/// A frame above this is refused by tungstenite: the seat map of the largest hall must fit. No allocation.
const WRITE_BUFFER_BYTES_MAX: usize = 4 << 20;

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
    if !is_upgrade(&call.headers) {
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
        return Err(HttpError::bad_message(
            "frames may be sent once the handshake was answered (RFC 6455, 4.1)",
        ));
    }
    let cookie = who::cookie_of(&room.sale.id, &call);
    // Headers and address are not kept alive past the upgrade.
    let caller = call.caller;
    drop(call);
    let (mut parts, _body) = request.into_parts();
    // The extractor looks at the first line of a header alone; there may be more of them.
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let upgrade =
        WebSocketUpgrade::from_request_parts(&mut parts, &()).await.map_err(|_| upgrade_required())?;
    drop(parts);
    let socket = Socket::new(edge.state.next_socket.fetch_add(1, Ordering::Relaxed));
    let response = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(edge.bounds.frame_bytes_max)
        .max_frame_size(edge.bounds.frame_bytes_max)
        .on_upgrade(move |websocket| async move {
            let frames = Frames::new(websocket, socket.clone(), intake);
            session::run(edge, room, frames, socket, caller, cookie).await;
            drop((connection, seat));
        });
    Ok(response)
}

fn is_upgrade(headers: &HeaderMap) -> bool {
    let has = |name: header::HeaderName, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    has(header::CONNECTION, "upgrade")
        && has(header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13")
        && headers.get(header::SEC_WEBSOCKET_KEY).is_some_and(is_key)
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
