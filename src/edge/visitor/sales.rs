//! What anyone may know of the sales: list, summary, seating plan. Cached, for everyone asks.

use crate::{
    edge::{
        Edge,
        cache::Summary,
        error::{HttpError, shared},
        packed::Packed,
    },
    room::{Room, closed::ClosedSale, rooms::Found},
};
use axum::{
    extract::{Path, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::{sync::Arc, time::Instant};
use wire::domain::{phase::Phase, sale::Sale};

/// `GET /v1/sales`.
pub async fn list(State(edge): State<Arc<Edge>>) -> Result<Response, HttpError> {
    let make = async {
        let mut rooms = edge.rooms.all();
        rooms.sort_by(|a, b| a.sale.id.cmp(&b.sale.id));
        Ok::<_, HttpError>(rooms.iter().map(|room| summary(room)).collect())
    };
    let revision = edge.rooms.revision.now();
    let sales = edge.state.cache.summaries((None, revision), make).await.map_err(shared)?;
    let mut body = br#"{"sales":["#.to_vec();
    for (i, sale) in sales.iter().enumerate() {
        body.extend_from_slice(if i == 0 { b"" } else { b"," });
        sale.write(&mut body);
    }
    body.extend_from_slice(b"]}");
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `GET /v1/sales/{sale}`.
pub async fn show(State(edge): State<Arc<Edge>>, Path(sale): Path<String>) -> Result<Response, HttpError> {
    let found = edge.find(&sale).await?;
    let id = found.sale().id.clone();
    let make = async {
        Ok::<_, HttpError>(Arc::from([match &found {
            Found::Room(room) => summary(room),
            Found::Closed(closed) => summary_of_closed(closed).await?,
        }]))
    };
    let revision = edge.rooms.revision.now();
    let sale = edge.state.cache.summaries((Some(id), revision), make).await.map_err(shared)?;
    let mut body = Vec::new();
    sale.iter().for_each(|sale| sale.write(&mut body));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn summary_of_closed(closed: &ClosedSale) -> Result<Summary, HttpError> {
    let json = json!({
        "id": closed.sale.id, "name": closed.state.name, "phase": Phase::Closed,
        "opens_at": closed.state.settings.opens_at, "seats": closed.sale.plan.seats.len(),
        "seats_left": closed.seats_left().await?, "waiting": 0,
    });
    Ok(Summary { json: json.to_string().into(), as_of: Instant::now() })
}

fn summary(room: &Room) -> Summary {
    let (glance, state) = (room.glance(), room.line.state());
    let json = json!({
        "id": room.sale.id, "name": state.name, "phase": glance.phase, "opens_at": state.settings.opens_at,
        "seats": room.sale.plan.seats.len(), "seats_left": glance.seats_left, "waiting": glance.waiting,
    });
    Summary { json: json.to_string().into(), as_of: glance.as_of }
}

/// `GET /v1/sales/{sale}/plan`.
pub async fn plan(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let found = edge.find(&sale).await?;
    let sale = found.sale();
    let cached = edge
        .state
        .cache
        .plan(sale.id.clone(), sale.first_epoch, read_plan(&edge, sale))
        .await
        .map_err(shared)?;
    Ok(cached.answer(&headers, "public, max-age=300"))
}

/// The plan as it was uploaded, and the ids of all its seats in plan order, which is what bitmaps count by.
async fn read_plan(edge: &Edge, sale: &Sale) -> Result<Packed, HttpError> {
    let json = edge.rooms.plan_json(&sale.id).await?.ok_or_else(HttpError::unknown_sale)?;
    let plan = sale.plan.clone();
    // A hall of 100,000 seats takes longer than a task may keep its thread.
    let pack = tokio::task::spawn_blocking(move || {
        let seats: Vec<&str> = plan.seats.iter().map(|seat| seat.id.as_str()).collect();
        Packed::new("application/json", with_seats(json, &json!(seats).to_string()).into())
    });
    pack.await.map_err(|_| HttpError::unavailable("the plan could not be made ready; try again"))
}

/// The text of an object, with `seats` at its end, where it counts whatever the object has of that name. What else is in it is
/// nobody's to judge: a number beyond all bounds, or half of a letter, in a field that is passed over.
fn with_seats(mut json: Vec<u8>, seats: &str) -> Vec<u8> {
    let end = json.iter().rposition(|byte| *byte == b'}').unwrap_or(json.len());
    json.truncate(end);
    let is_empty = json.trim_ascii_end().ends_with(b"{");
    json.extend_from_slice(if is_empty { b"" } else { b"," });
    json.extend_from_slice(format!("\"seats\":{seats}}}").as_bytes());
    json
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_plan_is_published_as_it_was_given_whatever_else_is_in_it() {
        let strange = r#"{"zones":[{"name":"VIP \ud83d"}],"odd":1e400,"deep":"}" } "#;
        let published = String::from_utf8(with_seats(strange.into(), r#"["A-1"]"#)).unwrap();
        assert_eq!(published, r#"{"zones":[{"name":"VIP \ud83d"}],"odd":1e400,"deep":"}" ,"seats":["A-1"]}"#);
        assert_eq!(with_seats(b"{ }".to_vec(), "[]"), br#"{ "seats":[]}"#);
        let twice: Value = serde_json::from_slice(&with_seats(br#"{"seats":1}"#.to_vec(), "[]")).unwrap();
        assert_eq!(twice["seats"], json!([]));
    }
}
