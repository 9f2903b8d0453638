//! Which pages may speak for a visitor: those of our own host, or those that the settings name.

use super::{
    Edge,
    caller::{Call, Scheme},
    rarely::{Rarely, excerpt},
};
use crate::metrics::{self, Refused};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use std::time::Duration;
use tower_http::cors::CorsLayer;

/// How long a browser may keep what it was told of other origins.
const CORS_MAX_AGE: Duration = Duration::from_secs(600);

/// Whether the request comes from a page that may speak for its visitor. Programs send no `Origin`.
pub fn is_allowed(edge: &Edge, call: &Call) -> bool {
    let headers = &call.headers;
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let is_one = headers.get_all(header::ORIGIN).iter().nth(1).is_none();
    let named = |origin: &str| edge.allowed_origins.iter().any(|allowed| same(allowed, origin));
    let is_known = || is_own(call.caller.scheme, headers) || origin.to_str().is_ok_and(named);
    let allowed = !edge.bounds.checks_origin || is_one && is_known();
    if !allowed {
        metrics::visitor_refused(Refused::Origin);
        static FOREIGN: Rarely = Rarely::new();
        if let Some(so_far) = FOREIGN.happens() {
            let (origin, host) = (excerpt(Some(origin)), excerpt(headers.get(header::HOST)));
            tracing::info!(
                origin,
                host,
                so_far,
                "a page of a foreign origin was refused; see the setting allowed_origins"
            );
        }
    }
    allowed
}

/// Whether the request comes from no page, or from one of our own host. Over TLS a page that came without is another's: anyone on
/// its way may have written it.
pub fn is_own(scheme: Scheme, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let (Ok(origin), Some(Ok(host))) = (origin.to_str(), headers.get(header::HOST).map(HeaderValue::to_str))
    else {
        return false;
    };
    // TLS may end at a proxy that nobody has named here: then the scheme is the origin's.
    let schemes: &[&str] = match scheme {
        Scheme::Https => &["https"],
        Scheme::Http => &["http"],
        Scheme::Unsaid => &["http", "https"],
    };
    schemes.iter().any(|scheme| same(origin, &format!("{scheme}://{host}")))
}

/// The same scheme, host and port; a port that is the scheme's own may be left out (RFC 6454, 4).
fn same(a: &str, b: &str) -> bool {
    let plain = |origin: &str| {
        let origin = origin.to_ascii_lowercase();
        let port = [("http://", ":80"), ("https://", ":443")]
            .into_iter()
            .find_map(|(scheme, port)| origin.starts_with(scheme).then_some(port));
        let origin = origin.strip_suffix(':').unwrap_or(&origin);
        port.and_then(|port| origin.strip_suffix(port)).unwrap_or(origin).to_owned()
    };
    plain(a) == plain(b)
}

/// Pages of the origins that the settings name may use the API, without credentials: they send the place token.
pub fn cors(edge: &Edge) -> CorsLayer {
    let origins = edge.allowed_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(origins.collect::<Vec<_>>())
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, header::IF_NONE_MATCH])
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(CORS_MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(origin: &str, host: &str) -> bool {
        own_over(Scheme::Unsaid, origin, host)
    }

    fn own_over(scheme: Scheme, origin: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        is_own(scheme, &headers)
    }

    #[test]
    fn the_scheme_counts_where_it_is_known() {
        assert!(own_over(Scheme::Https, "https://a.example", "a.example"));
        assert!(!own_over(Scheme::Https, "http://a.example", "a.example"));
        assert!(own_over(Scheme::Http, "http://a.example", "a.example"));
        assert!(!own_over(Scheme::Http, "https://a.example", "a.example"));
    }

    #[test]
    fn the_port_of_the_scheme_may_be_left_out() {
        for (origin, host) in [
            ("https://a.example", "a.example"),
            ("https://a.example", "a.example:443"),
            ("https://a.example:443", "A.example"),
            ("http://a.example", "a.example:80"),
            ("http://a.example:8080", "a.example:8080"),
            ("http://[::1]:8080", "[::1]:8080"),
            ("https://a.example", "a.example:"),
        ] {
            assert!(own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("https://a.example", "b.example"),
            ("https://a.example", "a.example:80"),
            ("http://a.example", "a.example:443"),
            ("https://a.example:8443", "a.example"),
            ("https://a.example.evil", "a.example"),
            ("null", "a.example"),
            ("file://a.example", "a.example"),
            ("ws://a.example", "a.example"),
        ] {
            assert!(!own(origin, host), "{origin} {host}");
        }
    }
}
