//! What holds for every request, whatever it asks for: it names one host, its body is here within the time, and what it is
//! told when it fails is JSON.

use super::error::HttpError;
use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

/// How large a body may be, and how long it may take.
#[derive(Clone, Copy)]
pub struct BodyLimits {
    /// In bytes.
    pub bytes_max: usize,
    /// From the request's head to its last byte.
    pub within: Duration,
}

/// Before anything else sees the request, and after it was answered.
pub async fn check_head(request: Request, next: Next) -> Response {
    let answer = match check(&request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    as_json(answer)
}

fn check(request: &Request) -> Result<(), HttpError> {
    if !names_one_host(request.headers(), request.version()) {
        return Err(HttpError::bad_message("a request names its host in one Host header (RFC 9112, 3.2)"));
    }
    if request.headers().get_all(header::TRANSFER_ENCODING).iter().any(|coding| !is_chunked(coding)) {
        let message = "a body may be sent in chunks, and in no other transfer coding (RFC 9112, 6.1)";
        let error = HttpError::new(StatusCode::NOT_IMPLEMENTED, "not_implemented", message);
        return Err(error.header(header::CONNECTION, "close"));
    }
    if request.headers().get_all(header::CONTENT_ENCODING).iter().any(|coding| !is_identity(coding)) {
        let message = "a body is sent as it is, in no content coding (RFC 9110, 8.4)";
        let error = HttpError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "coding_unknown", message);
        return Err(error.header(header::ACCEPT_ENCODING, "identity"));
    }
    Ok(())
}

/// Before a handler sees the request: the whole body.
pub async fn read_body(State(limits): State<BodyLimits>, request: Request, next: Next) -> Response {
    match with_body(request, limits).await {
        Ok(request) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

async fn with_body(request: Request, limits: BodyLimits) -> Result<Request, HttpError> {
    let (parts, body) = request.into_parts();
    let too_large = || {
        let message = format!("the body has more than {} bytes", limits.bytes_max);
        HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    let announced =
        parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > limits.bytes_max) {
        return Err(too_large());
    }
    let body = match timeout(limits.within, whole(body, limits.bytes_max)).await {
        Ok(Ok(Some(body))) => body,
        Ok(Ok(None)) => return Err(too_large()),
        Ok(Err(_)) => {
            return Err(HttpError::bad_message("the body broke off, or is not sent as RFC 9112 says"));
        }
        Err(_) => {
            let message = format!("the body did not come within {} s", limits.within.as_secs());
            let error = HttpError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message);
            return Err(error.header(header::CONNECTION, "close"));
        }
    };
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// A body in one piece, nothing if it is larger than that. Each part is copied and let go: it is a slice of the buffer that it was read
/// into, so that parts of a byte that are kept would be as many buffers.
async fn whole(mut body: Body, bytes_max: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(part) = frame?.into_data() else { continue };
        if all.len() + part.len() > bytes_max {
            return Ok(None);
        }
        all.extend_from_slice(&part);
    }
    Ok(Some(all))
}

fn is_chunked(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn is_identity(coding: &HeaderValue) -> bool {
    coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")
}

fn names_one_host(headers: &HeaderMap, version: Version) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().is_ok_and(is_host),
        (None, _) => version < Version::HTTP_11,
        _ => false,
    }
}

/// A name or address, and perhaps a port (RFC 3986, 3.2.2).
fn is_host(host: &str) -> bool {
    !host.is_empty() && !host.contains(['@', ',', '/']) && host.parse::<Authority>().is_ok()
}

/// A framework's own words become ours: code, message, retry.
fn as_json(answer: Response) -> Response {
    let status = answer.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = answer.headers().get(header::CONTENT_TYPE);
    if !is_error || kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json")) {
        return answer;
    }
    let (code, message) = match status {
        StatusCode::NOT_FOUND => ("not_found", "there is nothing here"),
        StatusCode::METHOD_NOT_ALLOWED => ("method_not_allowed", "this address knows other methods"),
        status if status.is_server_error() => {
            ("internal", "this request could not be served; that is our fault")
        }
        _ => ("bad_message", "this request is not understood"),
    };
    let mut ours = HttpError::new(status, code, message).into_response();
    if let Some(allow) = answer.headers().get(header::ALLOW) {
        ours.headers_mut().insert(header::ALLOW, allow.clone());
    }
    ours
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{
        Router,
        body::to_bytes,
        middleware::{from_fn, from_fn_with_state},
        routing::post,
    };
    use tower::ServiceExt;

    const LIMITS: BodyLimits = BodyLimits { bytes_max: 8, within: Duration::from_secs(5) };

    async fn ask(request: Request) -> (StatusCode, serde_json::Value) {
        let router = Router::new()
            .route("/", post(async |body: String| body))
            .route("/panics", post(async || (StatusCode::BAD_REQUEST, "in words")))
            .layer(from_fn_with_state(LIMITS, read_body))
            .layer(from_fn(check_head));
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn request(path: &str, hosts: &[&str], body: Body) -> Request {
        let mut request = Request::post(path);
        for host in hosts {
            request = request.header("host", *host);
        }
        request.body(body).unwrap()
    }

    #[tokio::test]
    async fn one_host_and_no_other_number() {
        assert_eq!(ask(request("/", &["a"], Body::from("12345678"))).await.0, StatusCode::OK);
        for hosts in [&[][..], &["a", "a"], &["a", "b"], &[""], &["a b"], &["a/b@c"], &["a, b"]] {
            let (status, error) = ask(request("/", hosts, Body::empty())).await;
            assert_eq!(
                (status, &error["code"]),
                (StatusCode::BAD_REQUEST, &"bad_message".into()),
                "{hosts:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_fails_says_so_in_json() {
        let (status, error) = ask(request("/", &["a"], Body::from("123456789"))).await;
        assert_eq!((status, &error["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &"too_large".into()));
        for path in ["/nowhere", "/panics"] {
            let (status, error) = ask(request(path, &["a"], Body::empty())).await;
            assert!(status.is_client_error() && error["message"].is_string(), "{path}: {error}");
        }
    }

    #[tokio::test]
    async fn a_coding_that_is_not_undone_is_not_taken() {
        for (coding, status) in [("Chunked", StatusCode::OK), ("gzip, chunked", StatusCode::NOT_IMPLEMENTED)]
        {
            let mut request = request("/", &["a"], Body::from("1"));
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static(coding));
            assert_eq!(ask(request).await.0, status, "{coding}");
        }
        for (coding, status) in [("Identity", StatusCode::OK), ("gzip", StatusCode::UNSUPPORTED_MEDIA_TYPE)] {
            let mut request = request("/", &["a"], Body::from("1"));
            request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            assert_eq!(ask(request).await.0, status, "{coding}");
        }
    }

    #[tokio::test]
    async fn parts_of_a_body_are_not_kept() {
        let buffer = bytes::BytesMut::zeroed(8_192).freeze();
        let parts = (0..8).map(|at| Ok::<_, std::io::Error>(buffer.slice(at..=at)));
        let body = Body::from_stream(futures_util::stream::iter(parts.collect::<Vec<_>>()));
        assert_eq!(whole(body, 8).await.unwrap().unwrap(), [0; 8]);
        assert!(buffer.is_unique(), "the whole body is no part of what was read");
        assert!(whole(Body::from("123456789"), 8).await.unwrap().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_not_waited_for() {
        let never =
            Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
        assert_eq!(ask(request("/", &["a"], never)).await.0, StatusCode::REQUEST_TIMEOUT);
    }
}
