//! Where a request comes from: which network, and over which scheme, as far as it can be known. What proxies say is believed of
//! those that the settings name, and of nobody else.

use super::{Edge, rarely::Rarely};
use crate::settings::Cidr;
use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderMap, HeaderName, request::Parts},
};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

pub(super) const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What the listener knows of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// Whether TLS ends here.
    pub tls: bool,
}

/// How a visitor's browser speaks to the first of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS: a trusted proxy says so.
    Http,
    /// Over TLS.
    Https,
    /// Without TLS here, and nobody who is believed says more.
    Unsaid,
}

/// A household, as far as addresses tell: an IPv4 address, or the 64 bits of an IPv6 address that a line has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// That an address is in.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        })
    }

    /// As bytes: the same for the same network, and for no other.
    pub fn bytes(self) -> Vec<u8> {
        match self.0 {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets()[..8].to_vec(),
        }
    }
}

/// What a handler gets to know of a request: its headers, and who makes it.
pub struct Call {
    /// Who.
    pub caller: Caller,
    /// What he says.
    pub headers: HeaderMap,
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let caller = parts.extensions.get::<Caller>().copied().unwrap_or(NOBODY);
        Ok(Self { caller, headers: parts.headers.clone() })
    }
}

/// Of a request that no listener has seen.
const NOBODY: Caller = Caller { network: Network(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), scheme: Scheme::Unsaid };

/// Who asks, before he has said who he is.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// From where.
    pub network: Network,
    /// How.
    pub scheme: Scheme,
}

impl Caller {
    /// Of a request.
    pub(super) fn of(edge: &Edge, request: &Request) -> Self {
        match request.extensions().get::<Arrival>() {
            Some(arrival) => Self::at(*arrival, request.headers(), &edge.trusted_proxies),
            None => NOBODY,
        }
    }

    pub(super) fn at(arrival: Arrival, headers: &HeaderMap, proxies: &[Cidr]) -> Self {
        let is_proxy = |address: IpAddr| proxies.iter().any(|proxy| proxy.contains(address));
        let (mut address, trusted) = (arrival.peer.ip(), is_proxy(arrival.peer.ip()));
        if trusted {
            address = behind(address, headers, is_proxy);
        } else if headers.contains_key(FORWARDED_FOR) {
            warn_of(address);
        }
        let said = headers.get(FORWARDED_PROTO).filter(|_| trusted);
        let scheme = match said.map(|proto| proto.as_bytes()) {
            _ if arrival.tls => Scheme::Https,
            Some(said) if said.eq_ignore_ascii_case(b"https") => Scheme::Https,
            Some(said) if said.eq_ignore_ascii_case(b"http") => Scheme::Http,
            _ => Scheme::Unsaid,
        };
        Self { network: Network::of(address), scheme }
    }

    /// Whether the visitor came over TLS: then cookies are for TLS alone.
    pub fn is_secure(self) -> bool {
        self.scheme == Scheme::Https
    }
}

/// The nearest address that no trusted proxy has. Each adds the one that spoke to it, so what stands further to the left is what
/// a visitor may have written himself.
fn behind(peer: IpAddr, headers: &HeaderMap, is_proxy: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut nearest = peer;
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        // What a visitor wrote there that is no text says nothing of what a proxy has put behind it.
        for said in String::from_utf8_lossy(line.as_bytes()).rsplit(',') {
            let Some(address) = address(said.trim()) else { return nearest };
            nearest = address;
            if !is_proxy(address) {
                return nearest;
            }
        }
    }
    nearest
}

/// An address; some proxies add a port.
fn address(said: &str) -> Option<IpAddr> {
    let bare = said.strip_prefix('[').and_then(|said| said.strip_suffix(']')).unwrap_or(said);
    bare.parse().ok().or_else(|| said.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// All who come through a proxy that is not trusted have one address, and its limits.
fn warn_of(proxy: IpAddr) {
    static SEEN: Rarely = Rarely::new();
    if SEEN.happens().is_some() {
        tracing::warn!(
            "requests with X-Forwarded-For come from {proxy}, which is not in trusted_proxies: whoever comes through it counts as \
             one address (address_places, address_sockets)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn called(peer: &str, tls: bool, headers: &[(HeaderName, &'static str)]) -> Caller {
        let peer = SocketAddr::new(peer.parse().unwrap(), 1);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        let proxies = [cidr("10.0.0.0/8"), cidr("::1")];
        Caller::at(Arrival { peer, tls }, &map, &proxies)
    }

    fn cidr(text: &str) -> Cidr {
        crate::settings::values::cidr(text).unwrap()
    }

    fn network(of: &str) -> Network {
        Network::of(of.parse().unwrap())
    }

    #[test]
    fn an_ipv6_address_counts_by_its_line() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
        assert_ne!(network("192.0.2.1").bytes(), network("192.0.2.2").bytes());
    }

    #[test]
    fn only_trusted_proxies_say_who_is_behind_them() {
        let of = |peer, said: &[&'static str]| {
            let said: Vec<_> = said.iter().map(|said| (FORWARDED_FOR, *said)).collect();
            called(peer, false, &said).network
        };
        assert_eq!(of("192.0.2.1", &["198.51.100.1"]), network("192.0.2.1"));
        assert_eq!(of("10.0.0.1", &["198.51.100.1"]), network("198.51.100.1"));
        // What stands left of it he may have written himself.
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 198.51.100.1"]), network("198.51.100.1"));
        assert_eq!(of("10.0.0.1", &["203.0.113.9, 198.51.100.1, 10.2.2.2"]), network("198.51.100.1"));
        assert_eq!(of("10.0.0.1", &["203.0.113.9", "198.51.100.1"]), network("198.51.100.1"));
        assert_eq!(of("10.0.0.1", &["198.51.100.1:1234"]), network("198.51.100.1"));
        assert_eq!(of("::1", &["[2001:db8::1]:99"]), network("2001:db8::2"));
        assert_eq!(of("::1", &["[2001:db8::1]"]), network("2001:db8::2"));
        // Nobody, or what is no address: the proxy's own.
        assert_eq!(of("10.0.0.1", &[]), network("10.0.0.1"));
        assert_eq!(of("10.0.0.1", &["198.51.100.1, unknown"]), network("10.0.0.1"));
    }

    #[test]
    fn tls_is_what_ends_here_or_what_a_trusted_proxy_says() {
        let of = |peer, tls, said| called(peer, tls, &[(FORWARDED_PROTO, said)]).scheme;
        let secure = |peer, said| called(peer, false, &[(FORWARDED_PROTO, said)]).is_secure();
        assert!(secure("10.0.0.1", "https") && !secure("10.0.0.1", "http") && !secure("192.0.2.1", "https"));
        assert_eq!(of("192.0.2.1", true, "http"), Scheme::Https);
        assert_eq!(of("192.0.2.1", false, "https"), Scheme::Unsaid);
        assert_eq!(of("10.0.0.1", false, "https"), Scheme::Https);
        assert_eq!(of("10.0.0.1", false, "HTTPS"), Scheme::Https);
        assert_eq!(of("10.0.0.1", false, "http"), Scheme::Http);
        assert_eq!(of("10.0.0.1", false, "gopher"), Scheme::Unsaid);
    }
}
