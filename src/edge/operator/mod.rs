//! The admin listener: metrics and health are open, all else wants the operator's token.

mod bookings;
mod sales;
mod visitors;
mod warnings;

use super::{
    Edge, bearer,
    checks::{BodyLimits, check},
    error::HttpError,
    headers,
};
use crate::{drain::Drain, metrics};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{sync::Arc, time::Duration};
use tower_http::catch_panic::CatchPanicLayer;

/// Largest body: a plan of 32 MiB and the rest of the sale. What is a little above is answered by the plan's own check.
const BODY: BodyLimits = BodyLimits { bytes_max: 48 << 20, within: Duration::from_secs(120) };

/// The routes.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    let admin = Router::new()
        .route("/v1/admin/sales", get(sales::list).post(sales::create))
        .route("/v1/admin/sales/{sale}", get(sales::show).patch(sales::change).delete(sales::delete))
        .route("/v1/admin/sales/{sale}/bookings", get(bookings::export))
        .route("/v1/admin/sales/{sale}/visitors/{visitor}", get(visitors::show))
        .route("/v1/admin/bookings/{booking}/confirm", post(bookings::confirm))
        .route("/v1/admin/bookings/{booking}", get(bookings::show).delete(bookings::release))
        .fallback(not_found)
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(edge.clone(), authorize));
    Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .merge(admin)
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(BODY, check))
        .layer(from_fn_with_state(edge.clone(), headers::add))
        .with_state(edge)
}

async fn not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; sales are at /v1/admin/sales")
}

async fn authorize(
    State(edge): State<Arc<Edge>>,
    request: Request,
    next: Next,
) -> Result<Response, HttpError> {
    let token = bearer(request.headers()).unwrap_or_default();
    // Hashes are compared, so that the time taken tells nothing of the token.
    if Sha256::digest(token) != Sha256::digest(&edge.admin_token) {
        let message = "send the admin token: Authorization: Bearer <token>";
        return Err(HttpError::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .header(header::WWW_AUTHENTICATE, "Bearer realm=\"waitroom admin\""));
    }
    Ok(next.run(request).await)
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
