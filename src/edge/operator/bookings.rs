//! What an operator, or the shop, does with bookings.

use super::{access::Caller, asked::query, letters::is_seen, rows};
use crate::{
    edge::{Edge, accept::weight, error::HttpError},
    room::{errors::RoomError, rooms::Found},
};
use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use futures_util::Stream;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::{pin::Pin, sync::Arc};
use uuid::Uuid;
use wire::domain::{
    booking::{BookingFilter, BookingRecord, BookingStatus, Confirmation},
    ids::VisitorId,
    sale::Sale,
};

/// What the address may ask for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    since: Option<String>,
    visitor: Option<String>,
    status: Option<String>,
}

/// A time in an address.
pub(super) fn since(text: Option<String>) -> Result<Option<Timestamp>, HttpError> {
    let fault = |_| HttpError::invalid("since: give a time such as 2026-11-22T10:00:00Z");
    let since: Option<Timestamp> = text.map(|text| text.parse().map_err(fault)).transpose()?;
    // Nothing is older, and PostgreSQL knows no time of thousands of years before.
    Ok(since.map(|since| since.max(Timestamp::UNIX_EPOCH)))
}

impl Wanted {
    fn filter(self) -> Result<BookingFilter, HttpError> {
        let visitor = self.visitor.map(|visitor| {
            VisitorId::parse(&visitor).ok_or_else(|| HttpError::invalid("visitor: is no visitor's id"))
        });
        let status = self.status.map(|status| {
            let unknown = || HttpError::invalid("status: is held, confirmed or released");
            BookingStatus::parse(&status).ok_or_else(unknown)
        });
        Ok(BookingFilter {
            since: since(self.since)?,
            visitor: visitor.transpose()?,
            status: status.transpose()?,
        })
    }
}

pub(super) type Records = Pin<Box<dyn Stream<Item = Result<BookingRecord, RoomError>> + Send>>;

/// `GET /v1/admin/sales/{id}/bookings`: NDJSON, or CSV for who asks for it.
pub async fn export(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let filter = query(wanted)?.filter()?;
    let found = edge.find(&sale).await?;
    let slot = rows::slot()?;
    let records = records(&found, &filter).await?;
    if wants_csv(&headers) {
        let line = move |record| csv_line(&exported(found.sale(), &record));
        let head = COLUMNS.join(",") + "\r\n";
        return Ok(rows::streamed(slot, "text/csv; charset=utf-8", head, records, line));
    }
    let line = move |record| format!("{}\n", exported(found.sale(), &record));
    Ok(rows::streamed(slot, "application/x-ndjson", String::new(), records, line))
}

/// Whether CSV weighs more in `Accept` than NDJSON, or as much and is named (RFC 9110, 12.5.1).
fn wants_csv(headers: &HeaderMap) -> bool {
    let of = |kind: &str| weight(headers, header::ACCEPT, kind);
    let most = |kinds: [&str; 3]| kinds.into_iter().find_map(of).unwrap_or(0.0);
    let csv = most(["text/csv", "text/*", "*/*"]);
    let lines = most(["application/x-ndjson", "application/*", "*/*"]);
    csv > lines || csv > 0.0 && csv == lines && of("text/csv").is_some()
}

/// A sale's bookings that are wanted.
pub(super) async fn records(found: &Found, filter: &BookingFilter) -> Result<Records, HttpError> {
    Ok(match found {
        Found::Room(room) => Box::pin(room.seats.export(filter).await?),
        Found::Closed(closed) => Box::pin(closed.export(filter).await?),
    })
}

const COLUMNS: [&str; 7] = ["booking", "sale", "visitor", "seats", "status", "created_at", "hold_expires_at"];

/// A booking as the operator sees it.
pub(super) fn exported(sale: &Sale, record: &BookingRecord) -> Value {
    let booking = &record.booking;
    json!({
        "booking": booking.id, "sale": sale.id, "visitor": record.visitor.shown(),
        "seats": sale.plan.ids_of(&booking.seats), "status": booking.status, "created_at": record.created_at,
        "hold_expires_at": booking.hold_expires_at,
    })
}

fn csv_line(row: &Value) -> String {
    let cell = |name: &str| {
        let text = match &row[name] {
            Value::String(text) => text.clone(),
            Value::Array(seats) => seats.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(";"),
            _ => String::new(),
        };
        format!("\"{}\"", guarded(&text).replace('"', "\"\""))
    };
    COLUMNS.map(cell).join(",") + "\r\n"
}

/// A spreadsheet would run what begins so; a visitor's name comes from outside (OWASP, "CSV Injection"). Where it takes `;` for the
/// end of a cell, as in many countries, one may begin in the middle; and it may pass over what nobody sees.
fn guarded(text: &str) -> String {
    let runs =
        |c: char| matches!(c, '=' | '+' | '-' | '@' | '|' | '＝' | '＋' | '－' | '＠') || c.is_control();
    let parts = text.split_inclusive([';', ',']);
    let is_passed = |c: char| c == '"' || !is_seen(c) && !c.is_control();
    let guard = |part: &str| if part.trim_start_matches(is_passed).starts_with(runs) { "'" } else { "" };
    parts.flat_map(|part| [guard(part), part]).collect()
}

/// `GET /v1/admin/bookings/{id}`.
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(booking): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let (found, id) = found_of(&edge, &caller, &booking).await?;
    let record = match &found {
        Found::Room(room) => room.seats.booking(id).await?,
        Found::Closed(closed) => closed.booking(id).await?,
    };
    Ok(Json(exported(found.sale(), &record.ok_or_else(unknown_booking)?)))
}

/// `POST /v1/admin/bookings/{id}/confirm`: paid.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn confirm(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(booking): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let (found, id) = found_of(&edge, &caller, &booking).await?;
    // A client that hangs up must not stop it half-way.
    let confirming = tokio::spawn(async move {
        let confirmed = match &found {
            Found::Room(room) => room.seats.confirm(id, &caller.name).await,
            Found::Closed(closed) => closed.confirm(id, &caller.name).await,
        };
        confirmed.map(|confirmation| (found, confirmation))
    });
    let conflict = |code, message: &str| Err(HttpError::new(StatusCode::CONFLICT, code, message));
    let (found, confirmation) = confirming.await.map_err(|_| HttpError::unavailable("try again"))??;
    match confirmation {
        Some(Confirmation::Confirmed { record, .. }) => Ok(Json(exported(found.sale(), &record))),
        Some(Confirmation::SeatsGone) => {
            conflict("seats_gone", "the hold ended and someone else has a seat of it; pay the visitor back")
        }
        Some(Confirmation::GivenBack) => {
            conflict("released", "the booking was given back before it was paid; pay the visitor back")
        }
        None => Err(unknown_booking()),
    }
}

/// `DELETE /v1/admin/bookings/{id}`: released.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn release(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(booking): Path<String>,
) -> Result<Json<Value>, HttpError> {
    let (found, id) = found_of(&edge, &caller, &booking).await?;
    let releasing = tokio::spawn(async move {
        let released = match &found {
            Found::Room(room) => room.seats.release(id, &caller.name).await,
            Found::Closed(closed) => closed.release(id, &caller.name).await,
        };
        released.map(|record| (found, record))
    });
    let (found, record) = releasing.await.map_err(|_| HttpError::unavailable("try again"))??;
    Ok(Json(exported(found.sale(), &record.ok_or_else(unknown_booking)?)))
}

async fn found_of(edge: &Edge, caller: &Caller, booking: &str) -> Result<(Found, Uuid), HttpError> {
    let id: Uuid = booking.parse().map_err(|_| unknown_booking())?;
    let sale = edge.rooms.sale_of(id).await?.ok_or_else(unknown_booking)?;
    caller.must_know(sale.as_str())?;
    Ok((edge.find(sale.as_str()).await?, id))
}

fn unknown_booking() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "unknown_booking", "there is no such booking")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_spreadsheet_would_run_begins_a_cell_wherever_it_parts_them() {
        for (text, written) in [
            ("kim", "kim"),
            ("=1+1", "'=1+1"),
            ("  @x", "'  @x"),
            ("\u{feff}\u{a0}=1", "'\u{feff}\u{a0}=1"),
            ("\u{202e}+1", "'\u{202e}+1"),
            ("kim;=1+1;x", "kim;'=1+1;x"),
            ("a, \"+2", "a,' \"+2"),
            ("A-1;A-2", "A-1;A-2"),
        ] {
            assert_eq!(guarded(text), written);
        }
    }

    #[test]
    fn csv_is_asked_for_by_name_and_weight() {
        let asks = |accept: &'static str| {
            wants_csv(&HeaderMap::from_iter([(header::ACCEPT, header::HeaderValue::from_static(accept))]))
        };
        assert!(asks("text/csv") && asks("TEXT/CSV") && asks("application/json, Text/Csv; q=0.5"));
        assert!(asks("text/csv, */*;q=0.1") && asks("text/csv, application/x-ndjson"));
        assert!(asks("text/*") && asks("text/*;q=0.3, application/x-ndjson;q=0.2"));
        assert!(asks("application/x-ndjson;q=0, */*") && !asks("text/*, application/*"));
        assert!(!asks("*/*") && !asks("text/csv-schema") && !wants_csv(&HeaderMap::new()));
        assert!(
            !asks("text/csv;q=0, */*")
                && !asks("text/csv;q=0")
                && !asks("application/x-ndjson, text/csv;q=0.1")
        );
    }

    #[test]
    fn a_line_is_for_reading_and_runs_nothing() {
        let row = |visitor: &str| json!({"booking": "b", "visitor": visitor, "seats": ["A 1", "A 2"], "status": "held"});
        assert_eq!(csv_line(&row("kim")), "\"b\",\"\",\"kim\",\"A 1;A 2\",\"held\",\"\",\"\"\r\n");
        for evil in ["=HYPERLINK(1)", "+1", "-1", "@x", "\tx", "  =1", "＝1", "|cmd"] {
            assert!(csv_line(&row(evil)).contains(&format!("\"'{evil}\"")), "{evil}");
        }
        assert!(csv_line(&row("a\"b")).contains("\"a\"\"b\""));
    }
}
