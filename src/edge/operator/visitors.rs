//! One visitor's story, for whoever answers his complaint.

use super::bookings::{export_slot, exported, rows};
use crate::edge::{Edge, error::HttpError};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use wire::domain::{
    booking::BookingFilter,
    ids::VisitorId,
    journal::{Event, Story},
};

/// `GET /v1/admin/sales/{id}/visitors/{visitor}`.
pub async fn show(
    State(edge): State<Arc<Edge>>,
    Path((sale, visitor)): Path<(String, String)>,
) -> Result<Json<Value>, HttpError> {
    let found = edge.find(&sale).await?;
    let unknown = || {
        let message = "this sale knows nothing of such a visitor; the journal is about a second behind";
        HttpError::new(StatusCode::NOT_FOUND, "unknown_visitor", message)
    };
    let visitor = VisitorId::parse(&visitor).ok_or_else(unknown)?;
    // Its connection is its own, as an export's.
    let _slot = export_slot()?;
    let filter = BookingFilter { visitor: Some(visitor.clone()), ..BookingFilter::default() };
    let bookings: Vec<_> = rows(&found, &filter).await?.try_collect().await?;
    let ids: Vec<_> = bookings.iter().map(|record| record.booking.id).collect();
    let stories = edge.rooms.records(&found.sale().id).stories(&visitor, &ids).await?;
    if stories.is_empty() && bookings.is_empty() {
        return Err(unknown());
    }
    let bookings: Vec<_> = bookings.iter().map(|record| exported(found.sale(), record)).collect();
    Ok(Json(json!({
        "visitor": visitor, "sale": found.sale().id, "places": stories.iter().map(place).collect::<Vec<_>>(),
        "events": events(&stories), "bookings": bookings,
    })))
}

fn place(story: &Story) -> Value {
    json!({ "seq": story.seq, "epoch": story.epoch, "stage": story.stage.as_str(), "bookings": story.bookings })
}

/// What happened to all his places, in order of time.
fn events(stories: &[Story]) -> Vec<Value> {
    let all = stories.iter().flat_map(|story| story.events.iter().map(|event| (story.seq, event)));
    let mut all: Vec<(u64, &Event)> = all.collect();
    all.sort_by_key(|(_, event)| event.at);
    let told = |(seq, event): (u64, &Event)| json!({ "at": event.at, "seq": seq, "what": event.what, "words": event.words });
    all.into_iter().map(told).collect()
}
