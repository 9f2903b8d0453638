//! One visitor's story, for whoever answers his complaint.

use super::bookings::{exported, rows};
use crate::edge::{Edge, error::HttpError};
use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;
use wire::domain::{
    booking::BookingFilter,
    ids::VisitorId,
    journal::{Event, Story},
};

/// Visitors looked up at once, each on a connection of its own: PostgreSQL goes over the sale's journal for each.
const STORIES_MAX: usize = 2;
static STORIES: Semaphore = Semaphore::const_new(STORIES_MAX);

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
    let _slot = STORIES.try_acquire().map_err(|_| {
        HttpError::unavailable(format!(
            "{STORIES_MAX} visitors are being looked up already; try again in a moment"
        ))
    })?;
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
