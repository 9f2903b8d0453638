//! One visitor's story, for whoever answers his complaint.

use super::{
    access::Caller,
    asked::query,
    bookings::{exported, records},
};
use crate::edge::{Edge, error::HttpError};
use axum::{
    Extension, Json,
    extract::{Path, Query, State, rejection::QueryRejection},
    http::StatusCode,
};
use futures_util::TryStreamExt;
use serde::Deserialize;
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
    let bookings: Vec<_> = records(&found, &filter).await?.try_collect().await?;
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

/// How a visitor is removed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    #[serde(default)]
    ban: bool,
}

/// `DELETE /v1/admin/sales/{id}/visitors/{visitor}`: ends his place and grant, and closes his sockets.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn remove(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path((sale, visitor)): Path<(String, String)>,
    removal: Result<Query<Removal>, QueryRejection>,
) -> Result<Json<Value>, HttpError> {
    let Removal { ban } = query(removal)?;
    let found = edge.find(&sale).await?;
    let visitor = parse(&visitor)?;
    // A client that hangs up must not stop it half-way.
    let removing = tokio::spawn(async move {
        let sale = &found.sale().id;
        if !edge.rooms.record_removal(sale, &visitor, ban, &caller.name).await? {
            return Err(HttpError::unknown_sale());
        }
        let recorded =
            || "the removal is recorded, a ban comes into force, and it is to be asked for again".to_owned();
        let ended = edge.rooms.remove_visitor(&found, &visitor).await;
        let ended = ended.map_err(|error| HttpError::from(error).although(recorded()))?;
        Ok(json!({ "visitor": visitor, "sale": sale, "ended": ended, "banned": ban }))
    });
    let removed = removing.await.map_err(|_| HttpError::unavailable("try again"))??;
    if removed["ended"].is_null() { Err(books_now()) } else { Ok(Json(removed)) }
}

/// `DELETE /v1/admin/visitors/{visitor}`: a person is forgotten.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn forget(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    Path(visitor): Path<String>,
) -> Result<Json<Value>, HttpError> {
    caller.must_know_all()?;
    let visitor = parse(&visitor)?;
    let forgetting = tokio::spawn(async move { edge.rooms.forget_visitor(&visitor, &caller.name).await });
    let forgotten = forgetting.await.map_err(|_| HttpError::unavailable("try again"))??;
    let forgotten = forgotten.ok_or_else(books_now)?;
    Ok(Json(json!({ "places": forgotten.places, "bookings": forgotten.bookings })))
}

fn parse(visitor: &str) -> Result<VisitorId, HttpError> {
    VisitorId::parse(visitor).ok_or_else(|| HttpError::invalid("visitor: is no visitor's id"))
}

fn books_now() -> HttpError {
    HttpError::unavailable("this visitor is booking just now; ask again in a moment")
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
