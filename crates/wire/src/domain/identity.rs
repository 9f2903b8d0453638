//! The shop's identities: HS256 JSON Web Tokens (RFC 7519) with `sub`, `aud` = the sale's id, and `exp`.

use super::{
    ids::{SaleId, VISITOR_BYTES_MAX, VisitorId},
    token::mac,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use hmac::Mac;
use serde::{Deserialize, Serialize};

/// Longest identity that is looked at, in bytes: what is left of a 4 KiB frame.
const IDENTITY_BYTES_MAX: usize = 4096;

/// How far ahead the shop's clock may be, in seconds.
const LEEWAY_S: f64 = 30.0;

/// Why an identity was not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not three base64url parts of JSON, or a claim is missing.
    #[error("the identity is not a JSON Web Token with sub, aud and exp")]
    Malformed,
    /// Signed by another algorithm than HS256.
    #[error("the identity must be signed with HS256")]
    Algorithm,
    /// It wants something understood that we do not.
    #[error("the identity's header has crit: this server knows no extension of JSON Web Tokens")]
    Critical,
    /// The signature is not the shop's.
    #[error("the identity's signature is wrong")]
    Forged,
    /// `exp` has passed; all else is in order, and this is who it was for.
    #[error("the identity has expired; ask the shop for a new one")]
    Expired(VisitorId),
    /// `nbf` or `iat` is still to come.
    #[error("the identity is not valid yet; are the clocks of shop and server right?")]
    NotYet,
    /// `sub` is no visitor's id.
    #[error("the identity's sub must have 1 to {VISITOR_BYTES_MAX} bytes, none of them control characters")]
    Subject,
    /// `sub` is a name that only this server gives.
    #[error("the identity's sub begins as only ids of this server do: let the shop choose another")]
    Reserved,
    /// This server was given no key of a shop.
    #[error("this server takes no identities: the setting identity_key is missing")]
    NoKey,
    /// It was made for another sale.
    #[error("the identity is for another sale")]
    Audience,
}

/// Whom an identity proves, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The visitor.
    pub visitor: VisitorId,
    /// When it expires, in Unix seconds.
    pub until: i64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood (RFC 7515, 4.1.11): we know none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "std::ops::Not::not")]
    crit: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    typ: Option<String>,
}

/// Whatever is there, it is there.
fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(from).map(|_| true)
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    aud: Audience,
    exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<f64>,
}

/// `aud` is one string or a list of them (RFC 7519, 4.1.3).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, sale: &str) -> bool {
        match self {
            Self::One(one) => one == sale,
            Self::Many(many) => many.iter().any(|one| one == sale),
        }
    }
}

/// Whom the identity proves, at `now_s` (Unix seconds).
pub fn verify(key: &[u8], identity: &str, sale: &SaleId, now_s: i64) -> Result<Identity, IdentityError> {
    use IdentityError::*;
    if identity.len() > IDENTITY_BYTES_MAX {
        return Err(Malformed);
    }
    let (signed, signature) = identity.rsplit_once('.').ok_or(Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(Malformed)?;
    let header: Header = decode(header).ok_or(Malformed)?;
    if header.alg != "HS256" {
        return Err(Algorithm);
    }
    if header.crit {
        return Err(Critical);
    }
    let signature = BASE64.decode(signature).map_err(|_| Malformed)?;
    mac(key, signed.as_bytes()).verify_slice(&signature).map_err(|_| Forged)?;
    let claims: Claims = decode(claims).ok_or(Malformed)?;
    if [claims.nbf, claims.iat].iter().flatten().any(|from| *from > now_s as f64 + LEEWAY_S) {
        return Err(NotYet);
    }
    if !claims.aud.names(sale.as_str()) {
        return Err(Audience);
    }
    let visitor = VisitorId::parse(&claims.sub).ok_or(Subject)?;
    if visitor.is_ours() {
        return Err(Reserved);
    }
    if claims.exp <= now_s as f64 {
        return Err(Expired(visitor));
    }
    Ok(Identity { visitor, until: claims.exp as i64 })
}

/// A signed identity: what a shop's back end does.
pub fn sign(key: &[u8], sub: &str, aud: &str, exp_s: i64) -> String {
    let header = encode(&Header { alg: "HS256".into(), crit: false, typ: Some("JWT".into()) });
    let aud = self::Audience::One(aud.into());
    let claims = Claims { sub: sub.into(), aud, exp: exp_s as f64, nbf: None, iat: None };
    let signed = format!("{header}.{}", encode(&claims));
    let signature = BASE64.encode(mac(key, signed.as_bytes()).finalize().into_bytes());
    format!("{signed}.{signature}")
}

fn encode(value: &impl Serialize) -> String {
    BASE64.encode(serde_json::to_vec(value).unwrap_or_default())
}

fn decode<T: for<'a> Deserialize<'a>>(part: &str) -> Option<T> {
    let json = BASE64.decode(part).ok()?;
    // serde would take a list of the values for an object too.
    if json.trim_ascii_start().first() != Some(&b'{') {
        return None;
    }
    // What is passed over is looked at too: JSON is UTF-8 (RFC 7515, 4).
    serde_json::from_str(str::from_utf8(&json).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn sale() -> SaleId {
        SaleId::parse("demo").unwrap()
    }

    #[test]
    fn a_good_identity_names_its_visitor() {
        let identity = sign(KEY, "kim", "demo", 1000);
        let kim = Identity { visitor: VisitorId::parse("kim").unwrap(), until: 1000 };
        assert_eq!(verify(KEY, &identity, &sale(), 999).unwrap(), kim);
    }

    #[test]
    fn every_fault_has_its_name() {
        let good = sign(KEY, "kim", "demo", 1000);
        assert!(
            matches!(verify(KEY, &good, &sale(), 1000), Err(IdentityError::Expired(kim)) if kim.as_str() == "kim")
        );
        assert_eq!(verify(b"other", &good, &sale(), 1), Err(IdentityError::Forged));
        let other = sign(KEY, "kim", "other", 1000);
        assert_eq!(verify(KEY, &other, &sale(), 1), Err(IdentityError::Audience));
        assert_eq!(verify(KEY, "a.b", &sale(), 1), Err(IdentityError::Malformed));
        for sub in ["", &"x".repeat(VISITOR_BYTES_MAX + 1), "a\nb"] {
            assert_eq!(verify(KEY, &sign(KEY, sub, "demo", 9), &sale(), 1), Err(IdentityError::Subject));
        }
        let none = format!("{}.{}.", BASE64.encode(r#"{"alg":"none"}"#), good.split('.').nth(1).unwrap());
        assert_eq!(verify(KEY, &none, &sale(), 1), Err(IdentityError::Algorithm));
    }

    #[test]
    fn nobody_is_called_as_the_server_calls_its_own() {
        for sub in [VisitorId::anonymous().as_str(), "forgotten:7", "anon:"] {
            assert_eq!(
                verify(KEY, &sign(KEY, sub, "demo", 9), &sale(), 1),
                Err(IdentityError::Reserved),
                "{sub}"
            );
        }
        assert!(verify(KEY, &sign(KEY, "anonymous", "demo", 9), &sale(), 1).is_ok());
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_refused() {
        let claims = BASE64.encode(r#"{"sub":"kim","aud":"demo","exp":1000}"#);
        for crit in [r#"["b64"]"#, r#"["x"]"#, "[]", "null", "1"] {
            let signed = format!(
                "{}.{claims}",
                BASE64.encode(format!(r#"{{"alg":"HS256","b64":true,"crit":{crit}}}"#))
            );
            let signature = BASE64.encode(mac(KEY, signed.as_bytes()).finalize().into_bytes());
            let verified = verify(KEY, &format!("{signed}.{signature}"), &sale(), 1);
            assert_eq!(verified, Err(IdentityError::Critical), "{crit}");
        }
    }

    #[test]
    fn what_is_to_come_is_no_proof_yet() {
        for (claim, ahead_s, wanted) in [
            ("nbf", 31, Err(IdentityError::NotYet)),
            ("iat", 31, Err(IdentityError::NotYet)),
            ("iat", 30, Ok(Identity { visitor: VisitorId::parse("kim").unwrap(), until: 1000 })),
        ] {
            let claims = format!(r#"{{"sub":"kim","aud":"demo","exp":1000,"{claim}":{}}}"#, 1 + ahead_s);
            let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims));
            let signature = BASE64.encode(mac(KEY, signed.as_bytes()).finalize().into_bytes());
            assert_eq!(verify(KEY, &format!("{signed}.{signature}"), &sale(), 1), wanted, "{claim}");
        }
    }

    /// The example of RFC 7515, appendix A.1: another maker's token, checked to the signature.
    #[test]
    fn a_token_made_elsewhere_is_understood() {
        let key = BASE64
            .decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
            .unwrap();
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        // Its signature holds; it names neither visitor nor sale.
        assert_eq!(verify(&key, token, &sale(), 1), Err(IdentityError::Malformed));
        assert_eq!(verify(KEY, token, &sale(), 1), Err(IdentityError::Forged));
    }

    /// With a good signature, whatever it says.
    fn signed(header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", BASE64.encode(header), BASE64.encode(claims));
        let signature = BASE64.encode(mac(KEY, signed.as_bytes()).finalize().into_bytes());
        format!("{signed}.{signature}")
    }

    #[test]
    fn an_identity_is_for_the_sales_that_it_names() {
        for (aud, is_for_it) in
            [(r#"["other","demo"]"#, true), (r#"["other"]"#, false), ("[]", false), (r#""demo""#, true)]
        {
            let claims = format!(r#"{{"sub":"kim","aud":{aud},"exp":1000}}"#);
            assert_eq!(
                verify(KEY, &signed(r#"{"alg":"HS256"}"#, &claims), &sale(), 1).is_ok(),
                is_for_it,
                "{aud}"
            );
        }
    }

    #[test]
    fn an_identity_has_so_many_bytes() {
        let of = |pad: usize| {
            let claims = format!(r#"{{"sub":"kim","aud":"demo","exp":1000,"pad":"{}"}}"#, "x".repeat(pad));
            // Base64 leaves one length of four out; the header makes up for it.
            signed(&format!(r#"{{"alg":"HS256"}}{}"#, " ".repeat(pad % 3)), &claims)
        };
        let longest = (2_700..3_100).map(of).find(|one| one.len() == IDENTITY_BYTES_MAX).unwrap();
        assert!(verify(KEY, &longest, &sale(), 1).is_ok());
        let too_long = (2_700..3_100).map(of).find(|one| one.len() > IDENTITY_BYTES_MAX).unwrap();
        assert_eq!(verify(KEY, &too_long, &sale(), 1), Err(IdentityError::Malformed));
    }

    #[test]
    fn a_list_is_no_header_and_no_claims() {
        let (header, claims) = (r#"{"alg":"HS256"}"#, r#"{"sub":"kim","aud":"demo","exp":1000}"#);
        assert!(verify(KEY, &signed(header, &format!(" {claims}")), &sale(), 1).is_ok());
        for (header, claims) in [(header, r#"["kim","demo",1000]"#), (r#"["HS256"]"#, claims)] {
            assert_eq!(verify(KEY, &signed(header, claims), &sale(), 1), Err(IdentityError::Malformed));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// No text is an identity by chance, and none breaks the reader.
        #[test]
        fn no_text_is_an_identity(text in "\\PC{0,200}", parts in vec("[A-Za-z0-9_=-]{0,60}", 1..5)) {
            for text in [text, parts.join(".")] {
                prop_assert!(verify(KEY, &text, &sale(), 1).is_err());
            }
        }

        /// Whatever the shop signs that is not HS256's three claims is refused, and breaks nothing.
        #[test]
        fn what_is_signed_may_be_anything(header in "\\PC{0,60}", claims in "\\PC{0,120}", alg in "[A-Za-z0-9]{0,8}") {
            prop_assert!(verify(KEY, &signed(&header, &claims), &sale(), 1).is_err());
            let good = r#"{"sub":"kim","aud":"demo","exp":9}"#;
            let other = verify(KEY, &signed(&format!(r#"{{"alg":"{alg}"}}"#), good), &sale(), 1);
            prop_assert_eq!(other.is_ok(), alg == "HS256");
        }

        /// Times are what they are: whole or broken, far or near.
        #[test]
        fn an_identity_is_good_in_its_time_alone(exp in any::<i32>(), now in any::<i32>()) {
            let verified = verify(KEY, &sign(KEY, "kim", "demo", exp.into()), &sale(), now.into());
            prop_assert_eq!(verified.is_ok(), exp > now);
        }

        /// One changed letter, and it is nobody's.
        #[test]
        fn an_identity_has_one_writing(at in 0usize..300, letter in "[ -~]", how in 0u8..3) {
            let good = sign(KEY, "kim", "demo", 1000);
            let (head, tail) = good.split_at(at % good.len());
            let other = match how {
                0 => format!("{head}{letter}{tail}"),
                1 => format!("{head}{letter}{}", &tail[1..]),
                _ => format!("{head}{}", &tail[1..]),
            };
            prop_assert_eq!(verify(KEY, &other, &sale(), 1).is_ok(), other == good);
        }
    }
}
