//! A host and a port, as people write them, as nodes announce them, and as they are reached from here.

use std::fmt;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name, or an IP address without brackets.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl Address {
    /// Reads `host:port`, `[v6]:port`, or a host alone, which gets the default port.
    pub fn parse(text: &str, default_port: u16) -> Option<Self> {
        let (host, rest) = match text.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match rest.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None if rest.is_empty() => default_port,
            None => return None,
        };
        (!host.is_empty() && port > 0).then(|| Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// What nodes announce, and where that is reached from here: the setting `redis_addresses`.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Vec<(String, Address)>);

impl Addresses {
    /// Of `announced=reachable` each. A host alone, on either side, stands for all its ports.
    pub fn parse(pairs: &[(String, String)]) -> Option<Self> {
        let pair = |(announced, reachable): &(String, String)| {
            let announced = match whole(announced) {
                Some(address) => address.to_string(),
                None => Address::parse(announced, 1)?.host,
            };
            // Port 0 is none of its own: the announced one.
            let reachable = match whole(reachable) {
                Some(address) => address,
                None => Address { port: 0, ..Address::parse(reachable, 1)? },
            };
            Some((announced, reachable))
        };
        pairs.iter().map(pair).collect::<Option<_>>().map(Self)
    }

    /// Where what is announced so is reached.
    pub fn reachable(&self, announced: &Address) -> Address {
        let of = |name: &str| self.0.iter().find(|(known, _)| known == name).map(|(_, reachable)| reachable);
        match of(&announced.to_string()).or_else(|| of(&announced.host)) {
            None => announced.clone(),
            Some(Address { host, port: 0 }) => Address { host: host.clone(), port: announced.port },
            Some(address) => address.clone(),
        }
    }
}

/// With a port of its own.
fn whole(text: &str) -> Option<Address> {
    let (one, other) = (Address::parse(text, 1)?, Address::parse(text, 2)?);
    (one == other).then_some(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, 6379).unwrap()
    }

    #[test]
    fn read_and_written() {
        for (text, written) in
            [("h", "h:6379"), ("h:1", "h:1"), ("[::1]:2", "[::1]:2"), ("[::1]", "[::1]:6379")]
        {
            assert_eq!(address(text).to_string(), written);
        }
        for text in ["", ":1", "h:", "h:x", "h:0", "h:70000", "[::1", "[::1]x", "[]:1"] {
            assert_eq!(Address::parse(text, 6379), None, "{text}");
        }
    }

    #[test]
    fn what_is_announced_is_reached_elsewhere() {
        let pairs = [("10.0.0.1:7000", "gate:1"), ("10.0.0.2", "gate"), ("[fd::1]:5", "[::1]:6")];
        let pairs = pairs.map(|(a, b)| (a.to_owned(), b.to_owned()));
        let known = Addresses::parse(&pairs).unwrap();
        for (announced, reachable) in [
            ("10.0.0.1:7000", "gate:1"),
            ("10.0.0.1:7001", "10.0.0.1:7001"),
            ("10.0.0.2:9", "gate:9"),
            ("[fd::1]:5", "[::1]:6"),
        ] {
            assert_eq!(known.reachable(&address(announced)).to_string(), reachable);
        }
        assert!(Addresses::parse(&[("a:b".to_owned(), "c".to_owned())]).is_none());
    }
}
