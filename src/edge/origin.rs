//! Which pages may speak for a visitor: those of our own host, or those that the settings name.

use super::Edge;
use axum::http::{HeaderMap, header};
use std::net::IpAddr;

/// Whether the request comes from a page that may speak for its visitor. Programs send no `Origin`.
pub fn is_allowed(edge: &Edge, headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    if edge.allowed_origins.is_empty() {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        return is_own(origin, host);
    }
    edge.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

fn is_own(origin: &str, host: Option<&str>) -> bool {
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    matches!((authority, host), (Some(a), Some(h)) if a.eq_ignore_ascii_case(h))
}

/// Whether the visitor came over TLS, by the word of a trusted proxy: then cookies are for TLS alone.
pub fn is_secure(edge: &Edge, headers: &HeaderMap, peer: IpAddr) -> bool {
    let trusted = edge.trusted_proxies.iter().any(|proxy| proxy.contains(peer));
    trusted && headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn only_the_same_host_and_port_is_one_s_own() {
        assert!(is_own("http://localhost:8080", Some("localhost:8080")));
        assert!(is_own("https://Tickets.example", Some("tickets.example")));
        for foreign in ["http://evil.example", "http://localhost", "http://localhost:8081", "null", ""] {
            assert!(!is_own(foreign, Some("localhost:8080")), "{foreign}");
        }
        assert!(!is_own("http://localhost:8080", None));
    }
}
