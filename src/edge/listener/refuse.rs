//! Connections for which there is no room are told so before they ask.

use serde_json::json;
use tokio::net::TcpStream;

/// Of what there is no room.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// Of connections in all.
    OfAll,
    /// Of those that one network may have.
    OfNetwork,
}

/// Says so, if that can be done without waiting. Over TLS there is nobody yet to say it to.
pub(super) fn refuse(stream: &TcpStream, tls: bool, refusal: Refusal) {
    if tls {
        return;
    }
    let (status, after_s, code, message) = match refusal {
        Refusal::OfAll => {
            let message = "this server has all the connections that it can hold";
            ("503 Service Unavailable", 5, "unavailable", message)
        }
        Refusal::OfNetwork => {
            ("429 Too Many Requests", 10, "too_many", "your network has as many connections as it may")
        }
    };
    let body = json!({ "code": code, "message": message, "retry": true }).to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nRetry-After: {after_s}\r\nConnection: close");
    let answer =
        format!("{head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
    let _ = stream.try_write(answer.as_bytes());
}
