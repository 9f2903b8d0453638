//! Where the waiting room is.

use super::{LoadError, stream::Tls};
use std::{net::SocketAddr, path::Path};
use tokio::net::{TcpStream, lookup_host};
use wire::domain::ids::SaleId;

/// A waiting room's address and one of its sales.
#[derive(Clone)]
pub struct Target {
    /// `host:port`, as in the `Host` header.
    authority: String,
    /// The sale.
    pub sale: SaleId,
    /// Where it is spoken to over TLS.
    pub(super) tls: Option<Tls>,
}

impl Target {
    /// From an address such as `http://127.0.0.1:8080` or `wss://room.example`.
    pub fn parse(url: &str, sale: SaleId) -> Result<Self, LoadError> {
        Self::with(url, sale, None)
    }

    /// The same; over TLS it believes the authorities in that file alone.
    pub fn with(url: &str, sale: SaleId, ca_file: Option<&Path>) -> Result<Self, LoadError> {
        let usage = |fault: &str| LoadError::Usage(format!("--url {url:?}: {fault}"));
        let schemes = [("http://", false), ("ws://", false), ("https://", true), ("wss://", true)];
        let known = schemes.iter().find_map(|(scheme, tls)| Some((url.strip_prefix(scheme)?, *tls)));
        let (rest, tls) = known.ok_or_else(|| usage("must look like http://127.0.0.1:8080"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
        if authority.is_empty() || !authority.chars().all(plain) {
            return Err(usage("must be a host and a port without a path"));
        }
        let port = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
        let host = port.map_or(authority, |(host, _)| host);
        let port = port.map_or(if tls { "443" } else { "80" }, |(_, port)| port);
        let tls = tls.then(|| Tls::with(host, ca_file)).transpose();
        Ok(Self { authority: format!("{host}:{port}"), sale, tls: tls.map_err(|fault| usage(&fault))? })
    }

    /// The HTTP address of `path` under the sale.
    pub fn http(&self, path: &str) -> String {
        self.url("http", path)
    }

    /// Whether it is reached over TLS.
    pub fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    /// The WebSocket's address.
    pub fn ws(&self) -> String {
        self.url("ws", "/ws")
    }

    fn url(&self, scheme: &str, path: &str) -> String {
        let secure = if self.is_secure() { "s" } else { "" };
        format!("{scheme}{secure}://{}/v1/sales/{}{path}", self.authority, self.sale)
    }

    /// The first of the host's addresses at which someone answers: looked up once, so that the crowd does
    /// not measure the resolver.
    pub async fn resolve(&self) -> Result<SocketAddr, LoadError> {
        let fail = |why: String| LoadError::Unreachable(format!("{}: {why}", self.authority));
        let mut last = "the name has no address".to_owned();
        for address in lookup_host(&self.authority).await.map_err(|e| fail(e.to_string()))? {
            match TcpStream::connect(address).await {
                Ok(_) => return Ok(address),
                Err(error) => last = error.to_string(),
            }
        }
        Err(fail(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        let sale = SaleId::parse("demo").unwrap();
        let parse = |url: &str| Target::parse(url, sale.clone());
        let target = parse("http://127.0.0.1:8080/").unwrap();
        assert_eq!(target.ws(), "ws://127.0.0.1:8080/v1/sales/demo/ws");
        assert_eq!(target.http("/plan"), "http://127.0.0.1:8080/v1/sales/demo/plan");
        assert_eq!(parse("http://[::1]").unwrap().authority, "[::1]:80");
        assert_eq!(parse("https://room.example").unwrap().ws(), "wss://room.example:443/v1/sales/demo/ws");
        assert_eq!(parse("wss://[::1]:8443/").unwrap().http(""), "https://[::1]:8443/v1/sales/demo");
        for bad in [
            "",
            "127.0.0.1:8080",
            "wss://",
            "https://a_b:x",
            "http://",
            "http://a/b",
            "ftp://a",
            "http://u@h",
        ] {
            assert!(matches!(parse(bad), Err(LoadError::Usage(_))), "{bad}");
        }
    }
}
