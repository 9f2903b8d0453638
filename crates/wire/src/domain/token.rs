//! Signed tokens, `kid.payload.mac`: the payload is base64url JSON, the mac HMAC-SHA256 over `kid.payload`.
//! They prove what they say on any instance, without asking a store.

use super::ids::{GrantKey, SaleId, Seq, VisitorId};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Longest token that is looked at, in bytes.
const TOKEN_BYTES_MAX: usize = 2048;

/// What a token says. The kind is part of what is signed, so one kind can never pass as another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "k")]
pub enum Token {
    /// A place in line: restores it on any instance, even if Redis lost everything.
    #[serde(rename = "place")]
    Place {
        /// The sale.
        sale: SaleId,
        /// Whose place.
        visitor: VisitorId,
        /// Its number in the line.
        seq: Seq,
        /// The line's life in which it was drawn.
        epoch: u64,
        /// Until when its identity was good, in Unix seconds: with the place alone no new one is drawn after that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
    },
    /// The right to book once, as long as the grant lives.
    #[serde(rename = "booking")]
    Booking {
        /// The sale.
        sale: SaleId,
        /// Whose right.
        visitor: VisitorId,
        /// The grant.
        #[serde(flatten)]
        grant: GrantKey,
    },
    /// Work that is asked for; whoever does it may come as this visitor.
    #[serde(rename = "work")]
    Work {
        /// The sale.
        sale: SaleId,
        /// Who comes of it: so the same work, done once, is one visitor's, however often it is shown.
        visitor: VisitorId,
        /// How much.
        bits: u8,
        /// Until when it counts, in seconds since 1970.
        until: i64,
    },
    /// Who a visitor is (the cookie).
    #[serde(rename = "visitor")]
    Visitor {
        /// The sale.
        sale: SaleId,
        /// The visitor.
        visitor: VisitorId,
        /// As of a place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<i64>,
    },
}

/// One signing key with its public id.
#[derive(Clone)]
pub struct Key {
    /// The id that stands in front of each token.
    pub kid: String,
    /// The secret.
    pub secret: Vec<u8>,
}

/// The keys that this server trusts: the first signs, all verify, so that keys can be changed without
/// making anyone's token worthless.
#[derive(Clone)]
pub struct Keyring(Vec<Key>);

impl Keyring {
    /// A ring of at least one key; nothing if there is none.
    pub fn new(keys: Vec<Key>) -> Option<Self> {
        (!keys.is_empty()).then_some(Self(keys))
    }

    /// The signed token.
    pub fn sign(&self, token: &Token) -> String {
        let key = &self.0[0];
        // A token is plain strings and numbers: its serialization cannot fail.
        let payload = serde_json::to_vec(token).unwrap_or_default();
        let signed = format!("{}.{}", key.kid, BASE64.encode(payload));
        let mac = BASE64.encode(mac(&key.secret, signed.as_bytes()).finalize().into_bytes());
        format!("{signed}.{mac}")
    }

    /// A number for what may not be said itself: the same on every instance, and nobody without the key can go back from it.
    pub fn pseudonym(&self, of: &[u8]) -> u64 {
        let mac = mac(&self.0[0].secret, &[b"pseudonym", of].concat()).finalize().into_bytes();
        mac.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// What the token says, or nothing if it is not one of ours, unaltered.
    pub fn verify(&self, token: &str) -> Option<Token> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, given_mac) = token.rsplit_once('.')?;
        let (kid, payload) = signed.split_once('.')?;
        let key = self.0.iter().find(|key| key.kid == kid)?;
        let given_mac = BASE64.decode(given_mac).ok()?;
        mac(&key.secret, signed.as_bytes()).verify_slice(&given_mac).ok()?;
        serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()
    }
}

/// HMAC-SHA256 over `message`; also what HS256 identities are signed with.
pub(super) fn mac(secret: &[u8], message: &[u8]) -> Hmac<Sha256> {
    // HMAC takes keys of any length (RFC 2104), so this cannot fail.
    #[allow(clippy::expect_used)]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn ring(kids: &[&str]) -> Keyring {
        let keys =
            kids.iter().map(|k| Key { kid: k.to_string(), secret: format!("{k}-secret").into_bytes() });
        Keyring::new(keys.collect()).unwrap()
    }

    fn said() -> Token {
        Token::Booking {
            sale: SaleId::parse("demo").unwrap(),
            visitor: VisitorId::parse("kim").unwrap(),
            grant: GrantKey { seq: 12, turn: 1 },
        }
    }

    #[test]
    fn a_token_says_what_was_signed() {
        let token = ring(&["k1"]).sign(&said());
        assert!(token.starts_with("k1.eyJ"), "{token}");
        assert_eq!(ring(&["k1"]).verify(&token), Some(said()));
    }

    #[test]
    fn keys_can_be_rotated() {
        let old = ring(&["k1"]).sign(&said());
        assert_eq!(ring(&["k2", "k1"]).verify(&old), Some(said()));
        assert_eq!(ring(&["k2"]).verify(&old), None);
    }

    #[test]
    fn every_altered_byte_is_seen() {
        let ring = ring(&["k1"]);
        let token = ring.sign(&said());
        for i in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert_eq!(ring.verify(&forged), None, "byte {i}: {forged}");
        }
        for junk in ["", ".", "..", "k1..", "k1.e30.", &token[..token.len() - 1], &format!("{token}.")] {
            assert_eq!(ring.verify(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_token_has_so_many_bytes() {
        let ring = ring(&["key1"]);
        // A true token whatever it says beside, so that it may be as long as one likes.
        let of = |pad: usize| {
            let pad = "x".repeat(pad);
            let said =
                format!(r#"{{"k":"place","sale":"demo","visitor":"kim","seq":7,"epoch":1,"pad":"{pad}"}}"#);
            let signed = format!("key1.{}", BASE64.encode(said));
            let mac = BASE64.encode(mac(b"key1-secret", signed.as_bytes()).finalize().into_bytes());
            format!("{signed}.{mac}")
        };
        let longest = (1_000..2_000).map(of).find(|token| token.len() == TOKEN_BYTES_MAX).unwrap();
        assert!(ring.verify(&longest).is_some());
        let too_long = (1_000..2_000).map(of).find(|token| token.len() > TOKEN_BYTES_MAX).unwrap();
        assert_eq!(ring.verify(&too_long), None);
    }

    #[test]
    fn a_pseudonym_is_the_head_of_a_mac() {
        let whole = mac(b"k1-secret", b"pseudonymkim").finalize().into_bytes();
        assert_eq!(ring(&["k1", "k2"]).pseudonym(b"kim").to_be_bytes(), whole[..8]);
    }

    #[test]
    fn what_an_older_program_signed_says_the_same() {
        let ring = ring(&["k1"]);
        let old = r#"{"k":"place","sale":"demo","visitor":"kim","seq":7,"epoch":1}"#;
        let signed = format!("k1.{}", BASE64.encode(old));
        let mac = BASE64.encode(mac(b"k1-secret", signed.as_bytes()).finalize().into_bytes());
        let Some(Token::Place { seq: 7, until: None, .. }) = ring.verify(&format!("{signed}.{mac}")) else {
            panic!("a place of an older program is worth nothing")
        };
        // And what an older program reads of ours: it passes over what it does not know.
        let place = Token::Place {
            sale: SaleId::parse("demo").unwrap(),
            visitor: VisitorId::parse("kim").unwrap(),
            seq: 7,
            epoch: 1,
            until: None,
        };
        assert_eq!(serde_json::to_string(&place).unwrap(), old);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Whatever is said that was not signed is nothing, and breaks nothing.
        #[test]
        fn no_text_is_a_token_by_chance(text in "\\PC{0,200}", parts in vec("[A-Za-z0-9_=-]{0,60}", 1..5)) {
            let ring = ring(&["k1", "k2"]);
            prop_assert_eq!(ring.verify(&text), None);
            prop_assert_eq!(ring.verify(&parts.join(".")), None);
            prop_assert_eq!(ring.verify(&format!("k1.{}", parts.join("."))), None);
        }

        /// A token is good as it was given, and in no other writing of the same.
        #[test]
        fn a_token_has_one_writing(at in 0usize..200, letter in "[ -~]", how in 0u8..5) {
            let ring = ring(&["k1"]);
            let token = ring.sign(&said());
            let at = at % token.len();
            let (head, tail) = token.split_at(at);
            let other = match how {
                0 => format!("{head}{letter}{tail}"),
                1 => format!("{head}{letter}{}", &tail[1..]),
                2 => format!("{head}{}", &tail[1..]),
                3 => head.to_owned(),
                _ => format!("{token}{}", letter.repeat(1 + at % 3)),
            };
            prop_assert_eq!(ring.verify(&other), (other == token).then(said));
        }
    }
}
