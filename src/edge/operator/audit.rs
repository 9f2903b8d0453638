//! Who changed what, for whoever asks later.

use super::{access::Caller, asked::query, bookings::since, rows};
use crate::edge::{Edge, error::HttpError};
use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use serde::Deserialize;
use std::sync::Arc;
use wire::domain::audit::{AuditFilter, AuditRecord};

/// What the address may ask for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    since: Option<String>,
}

/// `GET /v1/admin/audit?since=`: NDJSON, oldest first; of a token that is for some sales, theirs alone.
pub async fn export(
    State(edge): State<Arc<Edge>>,
    Extension(caller): Extension<Arc<Caller>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, HttpError> {
    let wanted = query(wanted)?;
    let filter = AuditFilter { since: since(wanted.since)?, sales: caller.sales().to_vec() };
    let slot = rows::slot()?;
    let changes = edge.rooms.audit(&filter).await?;
    let line = |change: AuditRecord| serde_json::to_string(&change).unwrap_or_default() + "\n";
    Ok(rows::streamed(slot, "application/x-ndjson", String::new(), changes, line))
}
