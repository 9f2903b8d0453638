//! Where the waiting room is.

use super::LoadError;
use std::net::SocketAddr;
use tokio::net::{TcpStream, lookup_host};
use wire::domain::ids::SaleId;

/// A waiting room's address and one of its sales.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port`, as in the `Host` header.
    authority: String,
    /// The sale.
    pub sale: SaleId,
}

impl Target {
    /// From an address such as `http://127.0.0.1:8080`.
    pub fn parse(url: &str, sale: SaleId) -> Result<Self, LoadError> {
        let usage = |fault: &str| LoadError::Usage(format!("--url {url:?}: {fault}"));
        if url.starts_with("https:") || url.starts_with("wss:") {
            return Err(usage("the generator speaks no TLS; aim it at the server behind the balancer"));
        }
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"));
        let rest = rest.ok_or_else(|| usage("must look like http://127.0.0.1:8080"))?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-.:[]_".contains(c);
        if authority.is_empty() || !authority.chars().all(plain) {
            return Err(usage("must be a host and a port without a path"));
        }
        let with_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if with_port { authority.into() } else { format!("{authority}:80") };
        Ok(Self { authority, sale })
    }

    /// The HTTP address of `path` under the sale.
    pub fn http(&self, path: &str) -> String {
        format!("http://{}/v1/sales/{}{path}", self.authority, self.sale)
    }

    /// The WebSocket's address.
    pub fn ws(&self) -> String {
        format!("ws://{}/v1/sales/{}/ws", self.authority, self.sale)
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
        for bad in ["", "127.0.0.1:8080", "https://x", "http://", "http://a/b", "ftp://a", "http://u@h"] {
            assert!(matches!(parse(bad), Err(LoadError::Usage(_))), "{bad}");
        }
    }
}
