//! The way for clients without a WebSocket: join, poll, redeem, leave.

use super::{
    standing,
    who::{self, Known, Proofs, Who},
};
use crate::{
    edge::{Edge, caller::Call, error::HttpError, origin},
    room::{Room, closed::ClosedSale, rooms::Found},
};
use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use wire::{
    domain::{
        line::{Left, LineAnswer, Poll},
        phase::Phase,
        place::Stage,
        refusal::Refusal,
        sale::Sale,
    },
    protocol::{
        client::{RedeemMessage, object},
        server::{BookingMessage, Joined, PlaceState, Refused, ServerMessage},
    },
};

/// How often a visitor should ask, in seconds …
const REFRESH_S: u64 = 5;
/// … and when it is his turn.
const REFRESH_GRANTED_S: u64 = 2;
/// A poll counts as presence for so long.
const POLL_MS: u64 = 3 * REFRESH_S * 1000;

/// The body of a join; it may be left out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JoinBody {
    identity: Option<String>,
    place: Option<String>,
    again: Option<bool>,
    proof: Option<String>,
}

/// `POST …/places`: join.
pub async fn join(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    call: Call,
    body: Bytes,
) -> Result<Response, HttpError> {
    let room = open_room(&edge, &sale, &call).await?;
    let body: JoinBody = if body.is_empty() { JoinBody::default() } else { parse(&body)? };
    let mut proofs = Proofs::of_request(&edge, &room.sale.id, &call);
    proofs.identity = body.identity.or(proofs.identity);
    proofs.place = body.place.or(proofs.place);
    proofs.proof = body.proof;
    let who = who::identify_or_new(&edge, &room, &proofs)?;
    let stranger = who.stranger(&edge, call.caller);
    // Somebody who has just been made has no allowance, but his network has one.
    match who.known {
        Known::New => standing::may_draw(&edge, &room, &who, stranger)?,
        Known::Vouched | Known::Before => edge.allow(&who.visitor, edge.bounds.costly_message)?,
    }
    let answer =
        standing::join(&edge, &room, &who, stranger, None, POLL_MS, body.again == Some(true)).await?;
    let Some(joined) = standing::joined(&edge, &room, &who, &answer) else {
        return Err(HttpError::sale_closed());
    };
    let fresh = answer.standing.is_some_and(|standing| standing.fresh);
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    let cookie = who::set_cookie(&edge, &room, &who, call.caller);
    let joined = Json(ServerMessage::Joined(joined));
    Ok((status, [(header::SET_COOKIE, cookie), no_store()], joined).into_response())
}

/// `GET …/places/me`: one's standing.
pub async fn me(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    call: Call,
) -> Result<Response, HttpError> {
    let room = match edge.find(&sale).await? {
        Found::Room(room) => room,
        Found::Closed(closed) => return me_in_closed(&edge, &closed, &call).await,
    };
    let who = known(&edge, &room.sale, &call)?;
    let answer = poll(&room, &who).await?;
    let joined = standing::joined(&edge, &room, &who, &answer).ok_or_else(no_place)?;
    let mut body = standing_json(&edge, &room, &who, &answer, joined).await?;
    if answer.standing.is_some_and(|standing| standing.stage == Stage::Away) {
        // The place is kept, and comes back with the next join.
        body["lapsed"] = json!("missed");
    }
    Ok(([no_store()], Json(body)).into_response())
}

/// One's standing in a sale that is over: what one has booked.
async fn me_in_closed(edge: &Edge, closed: &ClosedSale, call: &Call) -> Result<Response, HttpError> {
    let who = known(edge, &closed.sale, call)?;
    let bookings = standing::to_tell(closed.bookings_of(&who.visitor).await?);
    let booking = bookings.last().ok_or_else(no_place)?;
    let booking = BookingMessage::new(booking, &closed.sale.plan, None, Timestamp::now());
    let body = json!({
        "place": null, "state": PlaceState::Booked, "rank": 0, "total": 0, "eta_s": null,
        "phase": Phase::Closed, "opens_at": closed.state.settings.opens_at, "now": Timestamp::now(),
        "epoch": closed.sale.first_epoch + 1, "granted": null, "booking": booking, "refresh_s": REFRESH_S,
    });
    Ok(([no_store()], Json(body)).into_response())
}

async fn standing_json(
    edge: &Edge,
    room: &Room,
    who: &Who,
    answer: &LineAnswer,
    joined: Joined,
) -> Result<Value, HttpError> {
    let grant = standing::live_grant(answer).map(|grant| standing::granted(edge, room, &who.visitor, &grant));
    let booked = answer.standing.is_some_and(|standing| standing.stage == Stage::Booked);
    let bookings = if booked { room.seats.bookings_of(&who.visitor).await? } else { Vec::new() };
    let booking = standing::to_tell(bookings)
        .last()
        .map(|booking| BookingMessage::new(booking, &room.sale.plan, None, Timestamp::now()));
    let refresh_s = if grant.is_some() { REFRESH_GRANTED_S } else { REFRESH_S };
    let mut body = serde_json::to_value(joined).unwrap_or_default();
    body["granted"] = json!(grant);
    body["booking"] = json!(booking);
    body["refresh_s"] = json!(refresh_s);
    let notice = room.line.state().notice;
    if !notice.is_empty() {
        body["notice"] = json!(notice);
    }
    if room.sockets.outage() {
        body["outage"] = json!(true);
    }
    Ok(body)
}

/// `GET …/places/me/seats`: the seat map; also the turn's first use.
pub async fn seats(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    call: Call,
) -> Result<Response, HttpError> {
    let Found::Room(room) = edge.find(&sale).await? else { return Err(no_place()) };
    let who = known(&edge, &room.sale, &call)?;
    let answer = poll(&room, &who).await?;
    answer.standing.filter(|standing| standing.stage != Stage::Ended).ok_or_else(no_place)?;
    if !room.line.claim(&who.visitor).await? {
        return Ok(refusal(&room, "seats", &Refusal::NotGranted));
    }
    Ok(([no_store()], Json(ServerMessage::SeatMap(room.seats.whole_map()))).into_response())
}

/// `POST …/places/me/redeem`: spend the booking token.
pub async fn redeem(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    call: Call,
    body: Bytes,
) -> Result<Response, HttpError> {
    let room = open_room(&edge, &sale, &call).await?;
    let who = known(&edge, &room.sale, &call)?;
    let message: RedeemMessage = parse(&body)?;
    message.check().map_err(HttpError::bad_message)?;
    let grant = standing::grant_of(&edge, &room, &who.visitor, &message.token);
    match standing::redeem(&room, &who.visitor, grant, &message).await {
        Ok(booking) => {
            let told =
                BookingMessage::new(&booking, &room.sale.plan, Some(message.request), Timestamp::now());
            Ok(([no_store()], Json(ServerMessage::Booking(told))).into_response())
        }
        Err(refused) => Ok(refusal(&room, &message.request, &refused)),
    }
}

/// `DELETE …/places/me`: leave.
pub async fn leave(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    call: Call,
) -> Result<Response, HttpError> {
    if !origin::is_allowed(&edge, &call) {
        return Err(HttpError::foreign_origin());
    }
    let Found::Room(room) = edge.find(&sale).await? else { return Err(no_place()) };
    let who = known(&edge, &room.sale, &call)?;
    match room.leave(&who.visitor).await? {
        Left::Ended => Ok(Json(json!({ "type": "lapsed", "reason": "left" })).into_response()),
        Left::Busy | Left::Unsettled(_) => Ok(refusal(&room, "leave", &Refusal::Busy)),
        Left::Nothing => Err(no_place()),
    }
}

/// The room of a sale that visitors may act in.
async fn open_room(edge: &Edge, sale: &str, call: &Call) -> Result<Arc<Room>, HttpError> {
    if !origin::is_allowed(edge, call) {
        return Err(HttpError::foreign_origin());
    }
    let room = edge.room(sale).await?;
    if room.line.phase() == Phase::Closed {
        return Err(HttpError::sale_closed());
    }
    Ok(room)
}

pub(super) fn known(edge: &Edge, sale: &Sale, call: &Call) -> Result<Who, HttpError> {
    // Who proves nothing is nobody yet, and nobody has no place.
    let who = who::identify(edge, sale, &Proofs::of_request(edge, &sale.id, call))?.ok_or_else(no_place)?;
    edge.allow(&who.visitor, 1)?;
    Ok(who)
}

pub(super) async fn poll(room: &Room, who: &Who) -> Result<LineAnswer, HttpError> {
    let answer = room.line.poll(Poll { visitor: who.visitor.clone(), poll_ms: POLL_MS }).await?;
    if answer.removed { Err(standing::removed().into()) } else { Ok(answer) }
}

fn refusal(room: &Room, request: &str, refusal: &Refusal) -> Response {
    let refused = Refused::new(request.to_owned(), refusal, &room.sale.plan);
    let message = format!("the request was refused: {}", refused.reason);
    let mut body = serde_json::to_value(ServerMessage::Refused(refused)).unwrap_or_default();
    body["code"] = json!(refusal.reason());
    body["message"] = json!(message);
    (StatusCode::CONFLICT, [no_store()], Json(body)).into_response()
}

pub(super) fn no_place() -> HttpError {
    HttpError::new(
        StatusCode::NOT_FOUND,
        "no_place",
        "you have no place in this line: POST …/places to join, then send the cookie or the place token",
    )
}

pub(super) fn no_store() -> (header::HeaderName, String) {
    (header::CACHE_CONTROL, "no-store".to_owned())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, HttpError> {
    object(body).map_err(HttpError::bad_message)?;
    serde_json::from_slice(body).map_err(|error| HttpError::bad_message(error.to_string()))
}
