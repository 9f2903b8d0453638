//! Bodies that many fetch and that seldom change: pressed once, sent as each browser takes it, and not sent again to
//! whoever has it.

use super::accept::weight;
use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};
use std::io::Write;

/// Bodies up to here are pressed as well as can be; larger ones in bearable time.
const SMALL_BYTES: usize = 512 << 10;
/// Brotli's quality for small bodies, and for large ones.
const QUALITY: (i32, i32) = (10, 4);
/// Brotli's window, as a power of two: no larger than the body, for it is memory that the process would keep …
const WINDOW_MIN: u32 = 14;
/// … nor than this.
const WINDOW_MAX: u32 = 22;

/// One body in the encodings that browsers take.
#[derive(Clone)]
pub struct Packed {
    kind: &'static str,
    tag: String,
    plain: Bytes,
    /// Name for `Content-Encoding`, and the body; the best first.
    pressed: Vec<(&'static str, Bytes)>,
}

impl Packed {
    /// Presses a body of a media type.
    pub fn new(kind: &'static str, plain: Bytes) -> Self {
        let encodings = [("br", brotli(&plain)), ("gzip", gzip(&plain))];
        let smaller = |pressed: &Vec<u8>| pressed.len() < plain.len();
        let pressed = encodings
            .into_iter()
            .filter_map(|(name, pressed)| Some((name, pressed.ok().filter(smaller)?.into())))
            .collect();
        Self { pressed, ..Self::plain(kind, plain) }
    }

    /// Without other encodings.
    pub fn plain(kind: &'static str, plain: Bytes) -> Self {
        let tag = BASE64_URL_SAFE_NO_PAD.encode(&Sha256::digest(&plain)[..12]);
        Self { kind, tag, plain, pressed: Vec::new() }
    }

    /// Bytes that it takes in memory.
    pub fn len(&self) -> usize {
        self.plain.len() + self.pressed.iter().map(|(_, body)| body.len()).sum::<usize>()
    }

    /// A name of the content.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The answer to a request with these headers, to be kept as `control` says.
    pub fn answer(&self, headers: &HeaderMap, control: &'static str) -> Response {
        let taken = self.pressed.iter().find(|(name, _)| takes(headers, name));
        let suffix = taken.map_or(String::new(), |(name, _)| format!("-{name}"));
        let common = [
            (header::ETAG, format!("\"{}{suffix}\"", self.tag)),
            (header::CACHE_CONTROL, control.to_owned()),
            (header::VARY, "Accept-Encoding".to_owned()),
        ];
        if self.is_known(headers) {
            return (StatusCode::NOT_MODIFIED, common).into_response();
        }
        let kind = [(header::CONTENT_TYPE, self.kind)];
        match taken {
            Some((name, body)) => {
                (common, kind, [(header::CONTENT_ENCODING, *name)], body.clone()).into_response()
            }
            None => (common, kind, self.plain.clone()).into_response(),
        }
    }

    /// Whether the client says that it has this content. Tags are compared weakly (RFC 9110, 13.1.2), and in any
    /// encoding: proxies that press or unpress change both.
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        lists.flat_map(|list| list.split(',')).map(str::trim).any(|tag| {
            let quoted = tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"');
            let opaque = quoted.and_then(|tag| tag.strip_suffix('"'));
            let rest = opaque.and_then(|opaque| opaque.strip_prefix(self.tag.as_str()));
            tag == "*" || rest.is_some_and(|rest| ["", "-br", "-gzip"].contains(&rest))
        })
    }
}

/// Whether `Accept-Encoding` names the encoding (or `*`) and does not refuse it.
fn takes(headers: &HeaderMap, encoding: &str) -> bool {
    let of = |wanted| weight(headers, header::ACCEPT_ENCODING, wanted);
    of(encoding).or_else(|| of("*")).is_some_and(|q| q > 0.0)
}

fn brotli(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let quality = if plain.len() <= SMALL_BYTES { QUALITY.0 } else { QUALITY.1 };
    let window = plain.len().next_power_of_two().ilog2().clamp(WINDOW_MIN, WINDOW_MAX);
    let params =
        BrotliEncoderParams { quality, lgwin: window as i32, size_hint: plain.len(), ..Default::default() };
    let mut pressed = Vec::new();
    brotli::BrotliCompress(&mut &plain[..], &mut pressed, &params)?;
    Ok(pressed)
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn asked(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    fn text() -> Packed {
        Packed::new("text/plain", "the same again and again ".repeat(100).into())
    }

    #[test]
    fn the_best_encoding_that_is_taken_and_not_refused() {
        for (accept, wanted) in [
            ("gzip, deflate, br, zstd", Some("br")),
            ("gzip", Some("gzip")),
            ("br;q=0, gzip;q=0.5", Some("gzip")),
            ("*", Some("br")),
            ("identity", None),
            ("*;q=0", None),
            ("bread", None),
        ] {
            let answer = text().answer(&asked(header::ACCEPT_ENCODING, accept), "no-cache");
            let used = answer.headers().get(header::CONTENT_ENCODING).map(|name| name.to_str().unwrap());
            assert_eq!(used, wanted, "{accept}");
            assert_eq!(answer.headers()[header::VARY], "Accept-Encoding");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let packed = text();
        let tag = packed.tag();
        for known in [
            format!("\"{tag}\""),
            format!("W/\"{tag}\""),
            format!("\"{tag}-gzip\""),
            format!("\"other\", W/\"{tag}-br\""),
            "*".into(),
        ] {
            let headers =
                HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(&known).unwrap())]);
            let answer = packed.answer(&headers, "public, max-age=300");
            assert_eq!(answer.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(answer.headers()[header::CACHE_CONTROL], "public, max-age=300");
            assert!(answer.headers().contains_key(header::ETAG));
        }
        for other in ["\"other\"", "W/\"\"", "nonsense"] {
            assert_eq!(packed.answer(&asked(header::IF_NONE_MATCH, other), "").status(), StatusCode::OK);
        }
    }

    #[test]
    fn what_does_not_shrink_is_sent_plain() {
        let answer = Packed::new("text/plain", "a".into()).answer(&asked(header::ACCEPT_ENCODING, "br"), "");
        assert!(!answer.headers().contains_key(header::CONTENT_ENCODING));
    }

    #[test]
    fn a_real_hall_is_at_most_15_kb() {
        let plan = std::fs::read("data/seating-plan-riethsporthalle.json").unwrap();
        for pressed in [brotli(&plan).unwrap(), gzip(&plan).unwrap()] {
            assert!(pressed.len() <= 15_000, "{}", pressed.len());
        }
    }
}
