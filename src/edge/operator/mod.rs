//! The admin listener: metrics and health are open, all else wants the operator's token.

pub mod access;
mod asked;
mod audit;
mod bookings;
mod guesses;
mod letters;
mod rows;
mod sales;
mod visitors;
mod warnings;

use super::{
    Edge,
    checks::{BodyLimits, check_head, read_body},
    error::HttpError,
    headers,
};
use crate::{drain::Drain, metrics};
use access::{Right, authenticate, permit};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tower_http::catch_panic::CatchPanicLayer;

/// Largest body: a plan of 32 MiB and the rest of the sale. What is a little above is answered by the plan's own check.
const BODY: BodyLimits = BodyLimits { bytes_max: 48 << 20, within: Duration::from_secs(120) };

/// The routes, by the right that each needs.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    let read = Router::new()
        .route("/v1/admin/sales", get(sales::list))
        .route("/v1/admin/sales/{sale}", get(sales::show))
        .route("/v1/admin/sales/{sale}/visitors/{visitor}", get(visitors::show))
        .route("/v1/admin/audit", get(audit::export));
    let read_bookings = Router::new()
        .route("/v1/admin/sales/{sale}/bookings", get(bookings::export))
        .route("/v1/admin/bookings/{booking}", get(bookings::show));
    let change_bookings = Router::new()
        .route("/v1/admin/bookings/{booking}", delete(bookings::release))
        .route("/v1/admin/bookings/{booking}/confirm", post(bookings::confirm));
    let operate = Router::new()
        .route("/v1/admin/sales", post(sales::create))
        .route("/v1/admin/sales/{sale}", delete(sales::delete).patch(sales::change))
        .route("/v1/admin/sales/{sale}/visitors/{visitor}", delete(visitors::remove))
        .route("/v1/admin/visitors/{visitor}", delete(visitors::forget));
    let checks = edge.bounds.checks_rights;
    let allowed = |routes: Router<Arc<Edge>>, right: Right| {
        routes.route_layer(from_fn_with_state((right, checks), permit))
    };
    let admin = allowed(read, Right::Read)
        .merge(allowed(read_bookings, Right::ReadBookings))
        .merge(allowed(change_bookings, Right::Bookings))
        .merge(allowed(operate, Right::Operate))
        .fallback(not_found)
        .layer(DefaultBodyLimit::disable())
        // What a slow body or a slowed guess takes is not PostgreSQL's.
        .layer(from_fn_with_state(edge.clone(), give_up))
        // Of those alone who may send one: it may be large, and take its time.
        .layer(from_fn_with_state(BODY, read_body))
        .layer(from_fn_with_state(edge.clone(), authenticate));
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .merge(admin)
        .layer(CatchPanicLayer::new())
        .layer(from_fn(check_head))
        .layer(from_fn_with_state(edge.clone(), headers::add))
        .with_state(edge)
}

/// A call ends when PostgreSQL leaves it without an answer, and not because it takes long: a sale has a million rows.
async fn give_up(State(edge): State<Arc<Edge>>, request: Request, next: Next) -> Response {
    tokio::select! {
        answer = next.run(request) => answer,
        () = edge.rooms.postgres_hangs() => {
            let words = "PostgreSQL does not answer; it may have done what was asked, so look, or ask again: both are safe";
            HttpError::unavailable(words).into_response()
        }
    }
}

async fn not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; sales are at /v1/admin/sales")
}

async fn metrics_page(State(edge): State<Arc<Edge>>) -> Response {
    edge.rooms.sample();
    edge.state.cache.sample().await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::render()).into_response()
}

/// Whether a balancer should send visitors here.
async fn readyz(State(edge): State<Arc<Edge>>) -> Response {
    let mut reasons = edge.rooms.troubles();
    if edge.rooms.drain() > Drain::NotYet {
        reasons.push("the server is draining".into());
    }
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}
