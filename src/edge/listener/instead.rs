//! What hyper answers by itself, to a head that it cannot read, has no body; clients are promised one.

use serde_json::json;

/// What to write instead of these bytes, if they are such an answer.
pub(super) fn instead_of(written: &[u8]) -> Option<Vec<u8>> {
    let status = written.strip_prefix(b"HTTP/1.1 4")?.first_chunk::<2>()?;
    let head = std::str::from_utf8(written).ok()?.strip_suffix("\r\n\r\n")?.to_ascii_lowercase();
    let is_ours = head.contains("\r\n\r\n") || head.contains("\r\ncontent-type:");
    if is_ours || !head.contains("\r\ncontent-length: 0") {
        return None;
    }
    let (line, code, message) = match status {
        b"31" | b"14" => (
            "431 Request Header Fields Too Large",
            "too_large",
            "the request's first line and headers are too long, or too many",
        ),
        _ => ("400 Bad Request", "bad_message", "the request's head is not as RFC 9112 says"),
    };
    let body = json!({ "code": code, "message": message, "retry": false }).to_string();
    let length = body.len();
    let head = "Content-Type: application/json\r\nConnection: close\r\nContent-Length:";
    Some(format!("HTTP/1.1 {line}\r\n{head} {length}\r\n\r\n{body}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_say_ourselves_stays() {
        for ours in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 4",
            "\u{81}HTTP/1.1 400",
        ] {
            assert_eq!(instead_of(ours.as_bytes()), None, "{ours}");
        }
    }
}
