//! What connections and headers bring, and what the operator sets.

use super::{files::with_file, text};
use clap::{Args, Command};
use std::net::{IpAddr, SocketAddr};
use waitroom::{
    edge::doors,
    settings::{IdentityKey, ServeArgs, layers, values},
    store::redis::Site,
};
use wire::domain::ids::SaleId;

/// However frames are cut into pieces, the same bytes of them are handed on.
pub fn frames(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let whole = doors::frames(bytes, usize::MAX);
    let (pieces, single) = (doors::frames(bytes, usize::from(*piece)), doors::frames(bytes, 1));
    assert_eq!(whole, pieces);
    assert_eq!(whole, single);
    assert!(whole.1 || whole.0 == bytes.len());
}

/// Only a trusted proxy is believed, and of what it passes on nothing that stands left of the nearest stranger.
pub fn forwarded(bytes: &[u8]) {
    let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let (Some(proto), forwarded) = (lines.first().copied(), &lines[1..]) else { return };
    let proxies = [values::cidr("10.0.0.0/8").unwrap(), values::cidr("fd00::/8").unwrap()];
    let stranger: SocketAddr = "192.0.2.1:1".parse().unwrap();
    let proxy: SocketAddr = "10.0.0.1:1".parse().unwrap();
    let plain = doors::caller(stranger, &proxies, &[], b"").unwrap();
    if let Some(told) = doors::caller(stranger, &proxies, forwarded, proto) {
        assert_eq!(told, plain);
    }
    let Some(told) = doors::caller(proxy, &proxies, forwarded, proto) else { return };
    assert_eq!(told.1, proto.eq_ignore_ascii_case(b"https"));
    let nearest = doors::caller(proxy, &proxies, &[b"203.0.113.9", b"198.51.100.7"], proto).unwrap();
    let left = [b"198.51.100.7", &b"garbage, 10.1.2.3, 203.0.113.9, 198.51.100.7"[..]];
    assert!(left.iter().all(|left| doors::caller(proxy, &proxies, &[left], proto) == Some(nearest)));
    if let Some(first) = forwarded.first() {
        let more = [b"198.51.100.99, 203.0.113.1, ", *first].concat();
        let mut all = forwarded.to_vec();
        all[0] = &more;
        let with_more = doors::caller(proxy, &proxies, &all, proto).unwrap();
        let changed = with_more.0.bytes() == [203, 0, 113, 1];
        // Only where all that follows is proxies may what stands left be looked at.
        assert!(with_more == told || changed && are_proxies(forwarded, &proxies), "{told:?} {with_more:?}");
    }
}

fn are_proxies(lines: &[&[u8]], proxies: &[values::Cidr]) -> bool {
    lines.iter().filter_map(|line| text(line)).flat_map(|line| line.split(',')).all(|said| {
        let bare = said.trim().trim_start_matches('[').split(']').next().unwrap_or_default();
        let address: Option<IpAddr> = bare.parse().ok();
        let address = address.or_else(|| Some(said.trim().parse::<SocketAddr>().ok()?.ip()));
        address.is_some_and(|address| proxies.iter().any(|proxy| proxy.contains(address)))
    })
}

/// A page that is our own has our host's name and nothing else in its origin; an origin of the settings is read to itself.
pub fn origin(bytes: &[u8]) {
    let (origin, host) = halves(bytes);
    if doors::is_own(origin, host) == Some(true) {
        let (origin, host) =
            (text(origin).unwrap().to_ascii_lowercase(), text(host).unwrap().to_ascii_lowercase());
        let bare = origin.strip_prefix("https://").or(origin.strip_prefix("http://")).unwrap();
        let without = |name: &str| {
            let name = name.strip_suffix(':').unwrap_or(name);
            name.strip_suffix(":80").or(name.strip_suffix(":443")).unwrap_or(name).to_owned()
        };
        assert_eq!(without(bare), without(&host));
    }
    if let Some(Ok(read)) = text(bytes).map(values::origin) {
        assert_eq!(values::origin(&read).as_ref(), Ok(&read));
        assert!(doors::is_own(read.as_bytes(), read.split("://").nth(1).unwrap().as_bytes()).unwrap());
    }
}

/// What is taken for the cookie stands in the header behind one of its names.
pub fn cookie(bytes: &[u8]) {
    let sale = SaleId::parse("demo").unwrap();
    if let Some(found) = doors::cookie(&sale, bytes) {
        // Others' cookies may be anything.
        let text = String::from_utf8_lossy(bytes);
        let names = ["__Host-waitroom-demo=", "waitroom_visitor="];
        assert!(names.iter().any(|name| text.contains(&format!("{name}{found}"))), "{found:?} in {text:?}");
    }
}

/// A file of settings is taken, or refused with a reason that quotes no secret of it.
pub fn settings(bytes: &[u8]) {
    const SECRET: &str = "a-secret-that-nobody-may-see";
    let Some(text) = text(bytes) else { return };
    // Names of hosts would be looked up.
    if text.contains("listen") || text.contains('\\') {
        return;
    }
    let command = || {
        let config = clap::Arg::new("config").long("config").global(true);
        ServeArgs::augment_args(Command::new("serve"))
            .arg(config.value_parser(clap::value_parser!(std::path::PathBuf)))
    };
    let text = format!("{text}\nadmin_token = '{SECRET}'\n");
    with_file(text.as_bytes(), |path| {
        let args = ["serve".into(), "--config".into(), path.into()];
        if let Err(error) = layers::parse(command(), args, []) {
            assert!(!error.to_string().contains(SECRET), "{error}");
        }
    });
}

/// Keys that are taken are long enough, each of its own name and bytes.
pub fn keys(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(keys) = values::signing_keys(text) {
        for (i, key) in keys.iter().enumerate() {
            assert!(key.secret.len() >= 16 && (1..=16).contains(&key.kid.len()), "{}", key.kid);
            assert!(keys[..i].iter().all(|other| other.kid != key.kid && other.secret != key.secret));
        }
        assert!(!keys.is_empty());
    }
    if let Ok(key) = IdentityKey::parse(text) {
        assert!(key.bytes().len() >= 16);
    }
    let (block, address) = halves(bytes);
    if let (Some(Ok(block)), Some(Ok(address))) =
        (super::text(block).map(values::cidr), super::text(address).map(str::parse::<IpAddr>))
    {
        let _ = block.contains(address);
    }
    let _ = values::proof_of_work(text);
    let _ = values::log_filter(text);
    let _ = values::addresses(text);
}

/// A URL is read, or refused with a reason.
pub fn redis_url(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let _ = values::redis_scheme(text);
    let _ = Site::parse(text);
}

/// Both sides of the first line's end.
fn halves(bytes: &[u8]) -> (&[u8], &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    (&bytes[..cut], bytes.get(cut + 1..).unwrap_or_default())
}
