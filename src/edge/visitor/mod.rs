//! The public listener: pages, what anyone may know of a sale, and the ways into the line.

mod frames;
mod journal;
mod places;
mod sales;
mod session;
mod standing;
mod upgrade;
mod who;
mod work;

use super::{
    Edge,
    checks::{BodyLimits, check_head, read_body},
    error::HttpError,
    headers, origin, pages,
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use std::sync::Arc;
use tower_http::catch_panic::CatchPanicLayer;

pub(super) use who::cookie_of;

/// How large a body a visitor may send.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The routes.
pub(super) fn router(edge: Arc<Edge>) -> Router {
    let body = BodyLimits { bytes_max: BODY_BYTES_MAX, within: edge.bounds.body_within };
    Router::new()
        .route("/", get(pages::index))
        .route("/sales/{sale}", get(pages::room))
        .route("/sales/{sale}/", get(pages::room_slash))
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
        .layer(from_fn_with_state(body, read_body))
        .layer(from_fn(check_head))
        .layer(origin::cors(&edge))
        .layer(from_fn_with_state(edge.clone(), headers::add))
        .with_state(edge)
}

async fn not_found() -> HttpError {
    HttpError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here; sales are at /v1/sales")
}

async fn not_allowed() -> HttpError {
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address knows other methods")
}
