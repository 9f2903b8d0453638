//! The values that settings are made of: how each is read, and what it may be.

use std::fmt;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use tracing_subscriber::{EnvFilter, filter::ParseError};

use super::secrets::{KEY_BYTES_MIN, weakness};

/// An HMAC-SHA-256 key should have so many bytes (RFC 7518 §3.2).
pub const KEY_BYTES: usize = 32;

/// More bits may take a slow telephone longer than a challenge lives.
const WORK_BITS_MAX: u8 = 22;

/// Access to the text of a secret, for code that works on both kinds of it.
pub(super) trait Expose: From<String> + Clone {
    fn exposed(&self) -> &str;
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself: for comparing and sending, not for showing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Expose for Secret {
    fn exposed(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// A URL that may carry a password; it prints without.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The whole URL: for connecting, not for showing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretUrl {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Expose for SecretUrl {
    fn exposed(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_password(&self.0))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretUrl({self})")
    }
}

/// The URL with `***` for its password, before the `@` and in the query. What is no URL is not shown at all.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    let (base, query) = rest.split_once('?').map_or((rest, None), |(base, query)| (base, Some(query)));
    // The last `@`: a password that was not encoded may hold one itself.
    let base = match base.rsplit_once('@') {
        Some((credentials, host)) => match credentials.split_once(':') {
            Some((user, _)) => format!("{user}:***@{host}"),
            None => base.to_owned(),
        },
        None => base.to_owned(),
    };
    let Some(query) = query else { return format!("{scheme}://{base}") };
    let hidden: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key @ ("password" | "pass" | "sentinel_password"), _)) => format!("{key}=***"),
            _ => pair.to_owned(),
        })
        .collect();
    format!("{scheme}://{base}?{}", hidden.join("&"))
}

/// A key of place and booking tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    /// Its name, which the tokens carry.
    pub kid: String,
    /// The bytes.
    pub secret: Vec<u8>,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, ***)", self.kid)
    }
}

/// Reads `kid:base64,kid2:base64`.
pub fn signing_keys(text: &str) -> Result<Vec<SigningKey>, String> {
    let mut keys: Vec<SigningKey> = Vec::new();
    for (index, entry) in text.split(',').map(str::trim).enumerate() {
        let nth = index + 1;
        let (kid, encoded) = entry
            .split_once(':')
            .ok_or_else(|| format!("key {nth} is not kid:base64; write k1:<32 bytes in base64>"))?;
        let letters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if kid.is_empty() || kid.len() > 16 || !kid.bytes().all(letters) {
            return Err(format!("key {nth}'s kid must be 1 to 16 of A-Z a-z 0-9 _ -"));
        }
        if keys.iter().any(|key| key.kid == kid) {
            return Err(format!("kid {kid} is there twice; give each key its own"));
        }
        let secret = decode(encoded).ok_or_else(|| format!("the key of kid {kid} is not base64"))?;
        if let Some(why) = weakness(&secret, KEY_BYTES_MIN) {
            return Err(format!(
                "the key of kid {kid} {why}; make one of {KEY_BYTES} with `openssl rand -base64 32`"
            ));
        }
        if keys.iter().any(|key| key.secret == secret) {
            return Err(format!("the key of kid {kid} is there under another kid; give each its own bytes"));
        }
        keys.push(SigningKey { kid: kid.to_owned(), secret });
    }
    Ok(keys)
}

/// Standard or URL alphabet, padded or not: tools differ, and no text means different bytes in the two.
fn decode(text: &str) -> Option<Vec<u8>> {
    let plain = text.trim().trim_end_matches('=').replace('-', "+").replace('_', "/");
    STANDARD_NO_PAD.decode(plain).ok()
}

/// The shop's HS256 key.
#[derive(Clone, PartialEq, Eq)]
pub struct IdentityKey(Vec<u8>);

impl IdentityKey {
    /// Reads the key: the text's own bytes, as JWT libraries take a text key, or `base64:…` for any bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix("base64:") {
            Some(encoded) => decode(encoded).ok_or("is not base64 after `base64:`")?,
            None => text.as_bytes().to_vec(),
        };
        match weakness(&bytes, KEY_BYTES_MIN) {
            Some(why) => Err(format!("{why}; HS256 wants {KEY_BYTES} that nobody can guess (RFC 7518, 3.2)")),
            None => Ok(Self(bytes)),
        }
    }

    /// The key's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdentityKey(***)")
    }
}

/// An address, or a block of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// Whether `address` is in the block. An IPv4 address that came in over IPv6 is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                (block.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                (block.to_bits() ^ address.to_bits()).leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// Work that is asked for before an anonymous place is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProofOfWork {
    /// None.
    Off,
    /// As much as there are who come.
    Auto,
    /// So much, always: a hash with so many leading zero bits.
    Bits(u8),
}

/// Reads `off`, `auto` or a number of bits.
pub fn proof_of_work(text: &str) -> Result<ProofOfWork, String> {
    match (text, text.parse()) {
        ("off", _) => Ok(ProofOfWork::Off),
        ("auto", _) => Ok(ProofOfWork::Auto),
        (_, Ok(bits @ 1..=WORK_BITS_MAX)) => Ok(ProofOfWork::Bits(bits)),
        _ => Err(format!("is neither off nor auto nor a number of bits from 1 to {WORK_BITS_MAX}")),
    }
}

/// Reads an address or `address/prefix`.
pub fn cidr(text: &str) -> Result<Cidr, String> {
    let fault = || "is neither an address nor a block such as 10.0.0.0/8".to_owned();
    let (address, prefix) = text.trim().split_once('/').map_or((text.trim(), None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().map_err(|_| fault())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| fault())?;
    if prefix > bits { Err(fault()) } else { Ok(Cidr { address, prefix }) }
}

/// Reads `address:port`; a name such as `localhost:8080` is looked up, IPv4 first.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let fault = || "is no address and port, such as 0.0.0.0:8080".to_owned();
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found: Vec<_> = text.to_socket_addrs().map_err(|_| fault())?.collect();
    found.iter().find(|address| address.is_ipv4()).or(found.first()).copied().ok_or_else(fault)
}

/// What a URL of Redis may begin with; `store/redis/site.rs` reads the rest.
const REDIS_SCHEMES: [&str; 7] =
    ["redis", "rediss", "redis+unix", "redis-sentinel", "rediss-sentinel", "redis-cluster", "rediss-cluster"];

/// Whether the URL is one of Redis, by its beginning.
pub fn redis_scheme(url: &str) -> Result<(), String> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme {
        Some(scheme) if REDIS_SCHEMES.contains(&scheme.as_str()) => Ok(()),
        _ => Err(format!("give a URL that begins with {}://", REDIS_SCHEMES.join("://, "))),
    }
}

/// Reads `announced=reachable`.
pub fn addresses(text: &str) -> Result<(String, String), String> {
    let (announced, reachable) =
        text.split_once('=').ok_or("is not announced=reachable, such as 10.0.0.5:6379=localhost:7000")?;
    Ok((announced.trim().to_owned(), reachable.trim().to_owned()))
}

/// Reads an origin as browsers write it: no path, no default port, lower case.
pub fn origin(text: &str) -> Result<String, String> {
    let fault = || "is no origin; write scheme://host or scheme://host:port, without a path".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(fault)?;
    let default_port = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return Err(fault()),
    };
    // The bracket ends an IPv6 host, whose colons are no port.
    let (host, port) = match authority
        .rfind(']')
        .map_or(authority.rfind(':'), |end| authority[end..].find(':').map(|at| at + end))
    {
        Some(colon) => (&authority[..colon], Some(&authority[colon + 1..])),
        None => (authority, None),
    };
    let name =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if !name && literal.is_none_or(|host| host.parse::<std::net::Ipv6Addr>().is_err()) {
        return Err(fault());
    }
    match port {
        Some(port) if port.parse::<u16>().is_err() => Err(fault()),
        Some(port) if port != default_port => Ok(format!("{scheme}://{host}:{port}")),
        _ => Ok(format!("{scheme}://{host}")),
    }
}

/// Reads a log filter. A field's value is compared as text: as a pattern, a hundred letters could take minutes to be read.
pub fn env_filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_regex(false).parse(text)
}

/// Checks a log filter, and keeps the text.
pub fn log_filter(text: &str) -> Result<String, String> {
    // Whoever reads filters breaks on other letters.
    if !text.is_ascii() {
        return Err(
            "is no log filter (it has letters beyond ASCII); write a level, or target=level".to_owned()
        );
    }
    env_filter(text).map(|_| text.to_owned()).map_err(|error| {
        format!("is no log filter ({error}); write a level, or target=level, comma-separated")
    })
}
