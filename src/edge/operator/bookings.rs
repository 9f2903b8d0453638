//! What an operator, or the shop, does with bookings.

use crate::{
    edge::{Edge, error::HttpError},
    room::{Room, errors::RoomError},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::Uuid;
use wire::domain::booking::{BookingRecord, Confirmation};

/// `GET /v1/admin/sales/{id}/bookings`: NDJSON, or CSV for who asks for it.
pub async fn export(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let room = edge.room(&sale).await?;
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let csv = accept.contains("text/csv");
    let rows = room.seats.export().await?;
    let head = if csv { "booking,sale,visitor,seats,status,created_at,hold_expires_at\r\n" } else { "" };
    let head = futures_util::stream::iter([Ok(Bytes::from(head))]);
    let rows = rows.map(move |row| {
        let row = exported(&room, &row?);
        Ok::<_, RoomError>(Bytes::from(if csv { csv_line(&row) } else { format!("{row}\n") }))
    });
    let kind = if csv { "text/csv; charset=utf-8" } else { "application/x-ndjson" };
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(head.chain(rows))).into_response())
}

fn exported(room: &Room, record: &BookingRecord) -> Value {
    let booking = &record.booking;
    json!({
        "booking": booking.id, "sale": room.sale.id, "visitor": record.visitor.as_str(),
        "seats": room.sale.plan.ids_of(&booking.seats), "status": booking.status, "created_at": record.created_at,
        "hold_expires_at": booking.hold_expires_at,
    })
}

fn csv_line(row: &Value) -> String {
    let cell = |name: &str| {
        let text = match &row[name] {
            Value::String(text) => text.clone(),
            Value::Array(seats) => seats.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
            _ => String::new(),
        };
        format!("\"{}\"", text.replace('"', "\"\""))
    };
    let names = ["booking", "sale", "visitor", "seats", "status", "created_at", "hold_expires_at"];
    names.map(cell).join(",") + "\r\n"
}

/// `POST /v1/admin/bookings/{id}/confirm`: paid.
#[tracing::instrument(level = "debug", skip_all, fields(booking))]
pub async fn confirm(
    State(edge): State<Arc<Edge>>,
    Path(booking): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let (room, id) = room_of(&edge, &booking).await?;
    // A client that hangs up must not stop it half-way.
    let confirmed = tokio::spawn({
        let room = room.clone();
        async move { room.seats.confirm(id).await }
    });
    match confirmed.await.map_err(|_| HttpError::unavailable("try again"))?? {
        Some(Confirmation::Confirmed { record, .. }) => Ok(Json(exported(&room, &record))),
        Some(Confirmation::SeatsGone) => {
            let message = "the hold ended and someone else has a seat of it; pay the visitor back";
            Err(HttpError::new(StatusCode::CONFLICT, "seats_gone", message))
        }
        None => Err(unknown_booking()),
    }
}

/// `DELETE /v1/admin/bookings/{id}`: released.
#[tracing::instrument(level = "debug", skip_all, fields(booking))]
pub async fn release(
    State(edge): State<Arc<Edge>>,
    Path(booking): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let (room, id) = room_of(&edge, &booking).await?;
    let released = tokio::spawn({
        let room = room.clone();
        async move { room.seats.release(id).await }
    });
    let record =
        released.await.map_err(|_| HttpError::unavailable("try again"))??.ok_or_else(unknown_booking)?;
    Ok(Json(exported(&room, &record)))
}

async fn room_of(edge: &Edge, booking: &str) -> Result<(Arc<Room>, Uuid), HttpError> {
    let id: Uuid = booking.parse().map_err(|_| unknown_booking())?;
    let sale = edge.rooms.sale_of(id).await?.ok_or_else(unknown_booking)?;
    Ok((edge.room(sale.as_str()).await?, id))
}

fn unknown_booking() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "unknown_booking", "there is no such booking")
}
