//! A WebSocket as a session uses it: frames in, messages out, and an end that the peer hears of.

use crate::{edge::listener::Intake, metrics, room::sockets::Socket};
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use futures_util::SinkExt;
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, error::ProtocolError};
use wire::protocol::{close, server::ServerMessage};

/// A peer that reads nothing for so long is gone. (The timer starts only if the send has to wait.)
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the peer may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What came in.
pub enum Incoming {
    /// A text frame.
    Text(Utf8Bytes),
    /// A ping or pong, which needs no answer from us.
    Control,
    /// A binary frame.
    Binary,
    /// More frames than a peer may send.
    Flood,
    /// Something that RFC 6455 or a limit forbids; the peer is to hear this code and reason.
    Broken(u16, &'static str),
    /// The peer says goodbye, and waits for the same.
    Closed,
    /// The connection is over.
    Gone,
}

/// The socket is over; nothing more can be sent.
pub struct Gone;

/// One connection.
pub struct Frames {
    websocket: WebSocket,
    socket: Arc<Socket>,
    intake: Intake,
}

impl Frames {
    /// Over an upgraded connection.
    pub fn new(websocket: WebSocket, socket: Arc<Socket>, intake: Intake) -> Self {
        Self { websocket, socket, intake }
    }

    /// The next frame. Safe to drop while it waits.
    pub async fn receive(&mut self) -> Incoming {
        let frame = self.websocket.recv().await;
        self.socket.heard();
        match frame {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Binary(_))) => Incoming::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Control,
            Some(Ok(Message::Close(_))) => Incoming::Closed,
            Some(Err(_)) if self.intake.has_flooded() => Incoming::Flood,
            Some(Err(_)) if self.intake.is_misframed() => misframed(),
            Some(Err(error)) => judged(error),
            None => Incoming::Gone,
        }
    }

    /// Sends a message, unless the peer does not read and the room gives up on it.
    pub async fn send(&mut self, message: &ServerMessage) -> Result<(), Gone> {
        self.send_frame(Message::Text(message.to_json().into())).await
    }

    /// Sends a frame that was written for many.
    pub async fn send_text(&mut self, frame: &str) -> Result<(), Gone> {
        self.send_frame(Message::Text(frame.into())).await
    }

    /// The last message counts as so many frames in all.
    pub fn charge(&self, frames: u32) {
        self.intake.charge(frames.saturating_sub(1));
    }

    /// Asks whether anyone is there.
    pub async fn ping(&mut self) -> Result<(), Gone> {
        self.send_frame(Message::Ping(Default::default())).await
    }

    async fn send_frame(&mut self, frame: Message) -> Result<(), Gone> {
        let socket = self.socket.clone();
        let _sending = metrics::sending();
        let sent = tokio::select! {
            sent = timeout(SEND_TIMEOUT, self.websocket.send(frame)) => sent.map_err(|_| unread())?,
            () = socket.killed() => return Err(Gone),
        };
        socket.sent();
        sent.map_err(|_| Gone)
    }

    /// Closes with a code and waits for the peer's answer: a connection that is cut with bytes unread would take the
    /// reason with it.
    pub async fn close(mut self, code: u16, reason: &'static str) {
        let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
        let farewell = async {
            if self.websocket.send(frame).await.is_ok() {
                while let Some(Ok(_)) = self.websocket.recv().await {}
            }
        };
        // A peer that does not answer is not waited for.
        let _ = timeout(CLOSE_TIMEOUT, farewell).await;
    }

    /// Answers the peer's close: the reply (the peer's own code, or 1002 if it may not be sent) is written already, but
    /// leaves only with the next flush. Without it the peer sees a connection that broke.
    pub async fn answer_close(mut self) {
        let _ = timeout(CLOSE_TIMEOUT, self.websocket.flush()).await;
    }
}

fn unread() -> Gone {
    metrics::sockets_dropped("unread", 1);
    Gone
}

fn misframed() -> Incoming {
    Incoming::Broken(close::PROTOCOL, "not as RFC 6455 frames it")
}

/// What the peer must hear of an error in what it sent.
fn judged(error: axum::Error) -> Incoming {
    use tungstenite::Error as E;
    let Ok(error) = error.into_inner().downcast::<E>() else { return Incoming::Gone };
    match *error {
        E::Capacity(_) => Incoming::Broken(close::TOO_BIG, "a frame may have 4096 bytes"),
        E::Utf8(_) => Incoming::Broken(close::NOT_UTF8, "text frames are UTF-8"),
        // It hung up without a word: nobody is there to hear one.
        E::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::Gone,
        E::Protocol(_) => misframed(),
        _ => Incoming::Gone,
    }
}
