//! The pages, in the binary. They set no cookie and may be cached.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "static/"]
struct Assets;

/// Nothing is loaded from elsewhere, and nobody frames the page to steer a visitor's clicks.
const CSP: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; frame-ancestors 'none'; \
                   base-uri 'none'; form-action 'none'";

/// The list of sales.
pub async fn index(headers: HeaderMap) -> Response {
    asset("index.html", &headers)
}

/// The waiting-room page.
pub async fn room(headers: HeaderMap) -> Response {
    asset("room.html", &headers)
}

/// Any other file of the pages.
pub async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    asset(&name, &headers)
}

fn asset(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Assets::get(name) else { return StatusCode::NOT_FOUND.into_response() };
    let etag = format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(&file.metadata.sha256_hash()[..12]));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|tag| tag == etag.as_str()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    let kind = if name.ends_with(".mjs") { "text/javascript" } else { file.metadata.mimetype() };
    let charset = if kind.starts_with("text/") { "; charset=utf-8" } else { "" };
    let headers = [
        (header::CONTENT_TYPE, format!("{kind}{charset}")),
        (header::ETAG, etag),
        // Cached, but asked for again: a new version must reach everyone at once, and a 304 costs little.
        (header::CACHE_CONTROL, "public, max-age=0, must-revalidate".to_owned()),
        (header::CONTENT_SECURITY_POLICY, CSP.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "same-origin".to_owned()),
    ];
    (headers, file.data).into_response()
}
