//! A visitor of the tests, as its socket sees the server.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

/// A server that is silent for so long has forgotten its visitor: two commits that PostgreSQL lets hang, and room.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A visitor's socket.
pub struct Visitor {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    joined: bool,
    /// How he stands, after an outage that was added to the deadlines: his turn is told again too.
    told_again: bool,
}

impl Visitor {
    pub fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>) -> Self {
        Self { socket, joined: false, told_again: false }
    }

    pub async fn say(&mut self, message: Value) {
        self.send(Message::Text(message.to_string().into())).await;
    }

    /// Whatever frame it is.
    pub async fn send(&mut self, message: Message) {
        self.socket.send(message).await.unwrap();
    }

    /// Says it to a server that may have hung up by now.
    pub async fn try_say(&mut self, message: Value) {
        let _ = self.socket.send(Message::Text(message.to_string().into())).await;
    }

    /// The next message, whatever it is; a close is `{"close": code}`.
    pub async fn next(&mut self) -> Value {
        // Pings are no answer: they would go on for ever.
        timeout(PATIENCE, self.heard()).await.expect("the server is silent")
    }

    async fn heard(&mut self) -> Value {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(frame))) => {
                    return json!({ "close": frame.map(|frame| u16::from(frame.code)) });
                }
                Some(Ok(_)) => {}
                other => return json!({ "gone": format!("{other:?}") }),
            }
        }
    }

    /// The next message of that type; ranks and phases before it are skipped.
    pub async fn hear(&mut self, kind: &str) -> Value {
        self.hear_past(&["seats_changed", "notice"], kind).await
    }

    /// The same; messages of these types before it are skipped too.
    pub async fn hear_past(&mut self, types: &[&str], kind: &str) -> Value {
        loop {
            let message = self.next().await;
            let of = message["type"].as_str().unwrap_or_default();
            if of == kind {
                self.joined |= of == "joined";
                return message;
            }
            // A machine that was too busy to tick has had an outage.
            self.told_again |= of == "joined" && self.joined;
            let passing = ["rank", "phase", "outage"].iter().chain(types).any(|passing| of == *passing)
                || self.told_again && ["joined", "granted"].contains(&of);
            assert!(passing, "waited for {kind}, got {message}");
        }
    }

    pub async fn closed(&mut self) -> u16 {
        loop {
            let message = self.next().await;
            if let Some(code) = message.get("close") {
                return code.as_u64().unwrap_or(1005) as u16;
            }
            assert!(message.get("gone").is_none(), "cut without a close: {message}");
        }
    }
}
