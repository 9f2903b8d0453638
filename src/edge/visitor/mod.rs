//! The public listener: pages, what anyone may know of a sale, and the ways into the line.

mod frames;
mod journal;
mod places;
mod sales;
mod session;
mod standing;
mod upgrade;
mod who;

use super::{
    Edge,
    checks::{BodyLimits, check},
    error::HttpError,
    origin, pages,
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use std::{sync::Arc, time::Duration};
use tower_http::catch_panic::CatchPanicLayer;

/// What a visitor may send.
const BODY: BodyLimits = BodyLimits { bytes_max: 64 << 10, within: Duration::from_secs(10) };

/// The routes.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/sales/{sale}", get(pages::room))
        .route("/static/{release}/{file}", get(pages::file))
        .route("/v1/sales", get(sales::list))
        .route("/v1/sales/{sale}", get(sales::show))
        .route("/v1/sales/{sale}/plan", get(sales::plan))
        .route("/v1/sales/{sale}/places", post(places::join))
        .route("/v1/sales/{sale}/places/me", get(places::me).delete(places::leave))
        .route("/v1/sales/{sale}/places/me/seats", get(places::seats))
        .route("/v1/sales/{sale}/places/me/redeem", post(places::redeem))
        .route("/v1/sales/{sale}/places/me/receipt", get(journal::receipt))
        .route("/v1/sales/{sale}/journal/head", get(journal::head))
        .route("/v1/sales/{sale}/ws", get(upgrade::upgrade))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(BODY, check))
        .layer(origin::cors(&edge))
        .with_state(edge)
}

async fn not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; sales are at /v1/sales")
}

async fn not_allowed() -> HttpError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address knows other methods")
}
