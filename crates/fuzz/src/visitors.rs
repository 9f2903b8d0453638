//! What visitors send: messages, tokens, identities, proofs of work.

use super::text;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use wire::{
    domain::{
        identity::{self, IdentityError},
        ids::{SaleId, VisitorId},
        token::{Key, Keyring},
        work,
    },
    protocol::client::{ClientMessage, RedeemMessage, object},
};

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW_S: i64 = 1_763_800_000;

/// A message that is understood says the same when it is written and read again.
pub fn client(bytes: &[u8]) {
    let _ = object(bytes);
    let Some(text) = text(bytes) else { return };
    if let Ok(message) = ClientMessage::parse(text) {
        let again = serde_json::to_string(&message).unwrap();
        assert_eq!(ClientMessage::parse(&again).as_ref(), Ok(&message), "{again}");
        assert!(text.trim_start().starts_with('{'));
    }
    if let Ok(redeem) = serde_json::from_str::<RedeemMessage>(text) {
        let _ = redeem.check();
    }
}

/// Bytes that nobody signed are no token; whatever is signed is read or refused, and what was read is signed to the same.
pub fn token(bytes: &[u8]) {
    let ring = Keyring::new(vec![Key { kid: "k1".into(), secret: KEY.to_vec() }]).unwrap();
    if let Some(text) = text(bytes) {
        assert_eq!(ring.verify(text), None);
    }
    let signed = signed(&format!("k1.{}", BASE64.encode(bytes)));
    if let Some(said) = ring.verify(&signed) {
        assert_eq!(ring.verify(&ring.sign(&said)), Some(said));
    }
    // The last letter of base64 may hold bits that say nothing: they must be none.
    let (head, last) = signed.split_at(signed.len() - 1);
    let next = char::from(last.as_bytes()[0] ^ 1);
    assert_eq!(ring.verify(&format!("{head}{next}")), None);
}

/// Nobody is proved by what the shop did not sign, and by what it did only who it names, for the sale that it names, in time.
pub fn identity(bytes: &[u8]) {
    let sale = SaleId::parse("demo").unwrap();
    if let Some(text) = text(bytes) {
        assert!(identity::verify(KEY, text, &sale, NOW_S).is_err());
    }
    // Header and claims as they like, with a true signature.
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (header, claims) =
        if cut == 0 { (&br#"{"alg":"HS256"}"#[..], bytes) } else { (&bytes[..cut], &bytes[cut + 1..]) };
    let jwt = signed(&format!("{}.{}", BASE64.encode(header), BASE64.encode(claims)));
    match identity::verify(KEY, &jwt, &sale, NOW_S) {
        Ok(proved) => {
            assert!([header, claims].iter().all(|part| str::from_utf8(part).is_ok()), "JSON is UTF-8");
            // A number that we pass over may be larger than any that `Value` can hold.
            let (Ok(header), Ok(said)) =
                (serde_json::from_slice::<Value>(header), serde_json::from_slice::<Value>(claims))
            else {
                return;
            };
            assert_eq!(said["sub"], proved.visitor.as_str());
            assert!(proved.until >= NOW_S && said["exp"].as_f64() > Some(NOW_S as f64), "{said}");
            assert!(said["aud"] == "demo" || said["aud"].as_array().unwrap().contains(&"demo".into()));
            assert!(!proved.visitor.is_anonymous() && !proved.visitor.is_forgotten());
            assert!(header["alg"] == "HS256" && header.get("crit").is_none(), "{header}");
        }
        Err(IdentityError::Forged | IdentityError::NoKey) => panic!("it was signed"),
        Err(_) => {}
    }
}

/// What a proof says of its work is true of no other writing of it.
pub fn proof(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Some((challenge, bits)) = work::done(text) else { return };
    let number = &text[challenge.len() + 1..];
    assert!(bits <= 256 && number.parse::<u64>().is_ok());
    for other in [format!("{challenge}.0{number}"), format!("{challenge}.+{number}"), format!("{text} ")] {
        assert_eq!(work::done(&other), None, "{other}");
    }
}

/// An id that is taken is what was given, and can be written where ids are.
pub fn ids(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Some(sale) = SaleId::parse(text) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        assert!(sale.as_str() == text && text.chars().all(plain) && text.len() <= 64);
    }
    if let Some(visitor) = VisitorId::parse(text) {
        assert!(visitor.as_str() == text && !text.is_empty() && !text.chars().any(char::is_control));
        let json = serde_json::to_string(&visitor).unwrap();
        assert_eq!(serde_json::from_str::<VisitorId>(&json).unwrap(), visitor);
    }
}

fn signed(text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(text.as_bytes());
    format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
}
