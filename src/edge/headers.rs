//! What every answer says beside its own: nothing is taken for what it is not, and who came over TLS comes that way again.

use super::{Edge, caller::Caller};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::Response,
};
use std::sync::Arc;

/// A year, and this host alone: what else is under its name is not ours to decide.
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Finds out who calls, and adds the headers.
pub async fn add(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let caller = Caller::of(&edge, &request);
    request.extensions_mut().insert(caller);
    let mut answer = next.run(request).await;
    let headers = answer.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if caller.is_secure() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    answer
}

/// What a page may load and whom it may speak to: this host alone, and the page's own scripts by their hashes. Browsers before 2022 do
/// not take `'self'` for a socket.
pub fn page_policy(caller: Caller, headers: &HeaderMap, own_scripts: &str) -> String {
    let plain = |host: &&str| host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).filter(plain);
    let sockets = match host {
        Some(host) if caller.is_secure() => format!(" wss://{host}"),
        Some(host) => format!(" ws://{host} wss://{host}"),
        None => String::new(),
    };
    format!(
        "default-src 'self'; script-src 'self'{own_scripts}; connect-src 'self'{sockets}; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; \
         base-uri 'none'; form-action 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::caller::{Network, Scheme};

    #[test]
    fn a_page_speaks_to_its_own_host() {
        let policy = |scheme, host: &'static str| {
            let caller = Caller { network: Network::of([192, 0, 2, 1].into()), scheme };
            page_policy(caller, &HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]), "")
        };
        assert!(policy(Scheme::Https, "a.example").contains("connect-src 'self' wss://a.example;"));
        let plain = policy(Scheme::Unsaid, "a.example:8080");
        assert!(plain.contains("connect-src 'self' ws://a.example:8080 wss://a.example:8080;"));
        // No host can write a policy of its own.
        for host in ["a;script-src *", "a' 'unsafe-inline", "a b", "a*"] {
            assert!(policy(Scheme::Https, host).contains("connect-src 'self';"), "{host}");
        }
    }
}
