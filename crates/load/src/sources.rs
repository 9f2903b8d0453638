//! Source addresses and ports of our connections.
//!
//! A connection is told from others by its four numbers: with one source address and one server port there
//! are no more than the system's range of ports, and looking for a free one gets slow long before it is used
//! up (measured: connects collapse beyond 18,000, and at 15,000, with the last run's ports not yet given back, the search was 80 % of what
//! the generator used). So a crowd on this machine says itself which port it wants, and a big one comes from many addresses.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::net::TcpSocket;

/// Connections from one address above which the system's search for a free port is the bottleneck.
pub const CONNECTIONS_AN_ADDRESS: usize = 18_000;
/// Ports that we take: above what services use, below the top, where some systems keep theirs.
const PORTS: std::ops::Range<u64> = 15_000..60_000;
/// Between the first ports of two processes: a prime, so that neighbours begin far apart.
const STRIDE: u64 = 7_919;
/// How many ports are tried for one connection before giving up.
const TRIES_MAX: u32 = 64;

/// Where connections may come from: a list of addresses, or a network such as `127.0.0.0/8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// These.
    List(Vec<IpAddr>),
    /// As many as are needed out of this network.
    Network(Ipv4Addr, u8),
}

impl SourceSpec {
    /// All of 127.0.0.0/8 is this machine.
    pub const LOOPBACK: Self = Self::Network(Ipv4Addr::new(127, 0, 0, 0), 8);

    /// The addresses for that many connections.
    fn addresses(&self, connections: usize) -> Vec<IpAddr> {
        match self {
            Self::List(list) => list.clone(),
            Self::Network(base, prefix) => {
                let size = 1u64 << (32 - u32::from(*prefix).min(32));
                let base = u64::from(u32::from(*base)) & !(size - 1);
                // The first address of a network is its name; the last is for everyone.
                let usable = size.saturating_sub(2).max(1);
                let first = if size > 2 { base + 1 } else { base };
                let needed = connections.div_ceil(CONNECTIONS_AN_ADDRESS).max(1) as u64;
                let address = |i| IpAddr::V4(Ipv4Addr::from((first + i) as u32));
                (0..needed.min(usable)).map(address).collect()
            }
        }
    }
}

impl FromStr for SourceSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is neither a list of addresses nor a network such as 127.0.0.0/8");
        if let Some((base, prefix)) = text.split_once('/') {
            let prefix = prefix.parse().ok().filter(|p| (1..=32).contains(p)).ok_or_else(fault)?;
            return Ok(Self::Network(base.parse().map_err(|_| fault())?, prefix));
        }
        let list: Result<Vec<IpAddr>, _> = text.split(',').map(|one| one.trim().parse()).collect();
        list.map(Self::List).map_err(|_| fault())
    }
}

/// Hands out a source address and port for each connection.
#[derive(Debug)]
pub struct Sources {
    addresses: Vec<IpAddr>,
    next: AtomicU64,
}

impl Sources {
    /// Sources for that many connections.
    pub fn new(spec: &SourceSpec, connections: usize) -> Self {
        // Not where the last run began, or another part of this crowd.
        let start = u64::from(std::process::id()).wrapping_mul(STRIDE);
        Self { addresses: spec.addresses(connections), next: AtomicU64::new(start) }
    }

    /// Connects to `to` from the next free source.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for _ in 0..TRIES_MAX {
            let from = self.next();
            if from == to {
                // While nobody listens there, it would be connected to itself.
                continue;
            }
            let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            // Without this a port stays shut for a minute after its last connection.
            socket.set_reuseaddr(true)?;
            let tried = match socket.bind(from) {
                Ok(()) => socket.connect(to).await,
                Err(error) => Err(error),
            };
            match tried {
                Err(e) if matches!(e.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) => {
                    last = e
                }
                done => return done,
            }
        }
        Err(last)
    }

    fn next(&self) -> SocketAddr {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let addresses = self.addresses.len().max(1) as u64;
        let address = self.addresses.get((n % addresses) as usize).copied();
        let port = PORTS.start + (n / addresses) % (PORTS.end - PORTS.start);
        SocketAddr::new(address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gives_as_many_addresses_as_are_needed() {
        let loopback: SourceSpec = "127.0.0.0/8".parse().unwrap();
        assert_eq!(loopback, SourceSpec::LOOPBACK);
        assert_eq!(loopback.addresses(18_001).len(), 2);
        assert_eq!(loopback.addresses(1)[0].to_string(), "127.0.0.1");
        let small: SourceSpec = "10.0.0.4/30".parse().unwrap();
        assert_eq!(small.addresses(1_000_000).len(), 2);
        let one: SourceSpec = "10.0.0.4/32".parse().unwrap();
        assert_eq!(one.addresses(5)[0].to_string(), "10.0.0.4");
    }

    #[test]
    fn lists_are_read_and_nonsense_refused() {
        let list: SourceSpec = "127.0.0.2, ::1".parse().unwrap();
        assert_eq!(list.addresses(1).len(), 2);
        for bad in ["", "x", "1.2.3.4/33", "1.2.3/8", "1.2.3.4,"] {
            assert!(bad.parse::<SourceSpec>().is_err(), "{bad}");
        }
    }

    #[test]
    fn every_source_is_another() {
        let sources = Sources::new(&SourceSpec::LOOPBACK, 40_000);
        let mut seen = std::collections::HashSet::new();
        assert!((0..40_000).all(|_| seen.insert(sources.next())));
    }
}
