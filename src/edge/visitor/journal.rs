//! What is on record: the head of a sale's chain for everyone, and a visitor's proof of his place for himself.

use super::places::{known, no_place, no_store, poll};
use crate::{
    edge::{
        Edge,
        caller::Call,
        error::{HttpError, shared},
    },
    room::rooms::Found,
};
use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::sync::Arc;

/// When to ask again for a receipt that is not there yet, in seconds.
const RETRY_S: u64 = 2;

/// `GET /v1/sales/{sale}/journal/head`.
pub async fn head(State(edge): State<Arc<Edge>>, Path(sale): Path<String>) -> Result<Response, HttpError> {
    let id = edge.find(&sale).await?.sale().id.clone();
    let records = edge.rooms.records(&id);
    let make = async { records.head().await.map_err(HttpError::from) };
    let head = edge.state.cache.head(id, make).await.map_err(shared)?;
    let nothing =
        || HttpError::new(StatusCode::NOT_FOUND, "no_journal", "nothing of this sale is journaled yet");
    let head = head.ok_or_else(nothing)?;
    Ok(([(header::CACHE_CONTROL, "public, max-age=1")], Json(head)).into_response())
}

/// `GET …/places/me/receipt`.
pub async fn receipt(
    State(edge): State<Arc<Edge>>,
    Path(sale): Path<String>,
    call: Call,
) -> Result<Response, HttpError> {
    let found = edge.find(&sale).await?;
    let who = known(&edge, found.sale(), &call)?;
    let seq = match (&found, who.token_seq) {
        (_, Some(seq)) => seq,
        (Found::Room(room), None) => poll(room, &who).await?.standing.ok_or_else(no_place)?.seq,
        (Found::Closed(_), None) => return Err(no_place()),
    };
    let records = edge.rooms.records(&found.sale().id);
    match records.receipt(&who.visitor, seq).await? {
        Some(receipt) => Ok(([no_store()], Json(receipt)).into_response()),
        None if records.is_forgotten(seq).await? => {
            let message =
                "whose place this was has been forgotten; a receipt that you have kept still proves it";
            Err(HttpError::new(StatusCode::GONE, "forgotten", message))
        }
        None if records.is_purged().await? => {
            let message = "the sale's journal has been deleted; a receipt that you have kept still proves your place in an export of it";
            Err(HttpError::new(StatusCode::GONE, "purged", message))
        }
        None => {
            let later = json!({ "code": "not_yet", "retry": true,
                "message": format!("the journal has not got to this place yet; ask again in {RETRY_S} s") });
            let retry = (header::RETRY_AFTER, RETRY_S.to_string());
            Ok((StatusCode::ACCEPTED, [no_store(), retry], Json(later)).into_response())
        }
    }
}
