//! A WebSocket as a session uses it: frames in, messages out, and an end that the peer hears of.

use crate::{
    edge::listener::{Connection, Intake, Resting},
    limits::Bounds,
    metrics,
    room::sockets::Socket,
};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};
use wire::protocol::{close, server::ServerMessage};

/// tungstenite allocates its read buffer a socket, and zeroes it on each read.
const READ_BUFFER_BYTES: usize = 512;
/// A frame above this is refused by tungstenite: the seat map of the largest hall must fit. No allocation.
const WRITE_BUFFER_BYTES_MAX: usize = 4 << 20;
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

/// What a WebSocket goes over.
enum Transport {
    /// TCP, as the listener took it in: it may rest.
    Plain(Box<Connection<TcpStream>>),
    /// TLS.
    Tls(Box<Connection<TlsStream<TcpStream>>>),
}

/// One connection.
pub struct Frames {
    websocket: WebSocketStream<Transport>,
    socket: Arc<Socket>,
    intake: Intake,
}

impl Frames {
    /// Over a connection that has just become a WebSocket; nothing where frames came before the handshake was answered: what was read
    /// with the head was not counted as frames.
    pub async fn begin(
        upgraded: Upgraded,
        socket: Arc<Socket>,
        intake: Intake,
        bounds: &Bounds,
    ) -> Option<Self> {
        let (transport, early) = match upgraded.downcast::<TokioIo<Connection<TcpStream>>>() {
            Ok(Parts { io, read_buf, .. }) => (Transport::Plain(Box::new(io.into_inner())), read_buf),
            Err(upgraded) => {
                let Parts { io, read_buf, .. } =
                    upgraded.downcast::<TokioIo<Connection<TlsStream<TcpStream>>>>().ok()?;
                (Transport::Tls(Box::new(io.into_inner())), read_buf)
            }
        };
        if !early.is_empty() {
            return None;
        }
        Some(Self::over(transport, socket, intake, bounds).await)
    }

    /// Over a connection that has rested.
    pub async fn go_on(resting: Resting, socket: Arc<Socket>, bounds: &Bounds) -> io::Result<Self> {
        let connection = Connection::go_on(resting, *bounds)?;
        let intake = connection.intake().clone();
        Ok(Self::over(Transport::Plain(Box::new(connection)), socket, intake, bounds).await)
    }

    async fn over(transport: Transport, socket: Arc<Socket>, intake: Intake, bounds: &Bounds) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(bounds.frame_bytes_max))
            .max_frame_size(Some(bounds.frame_bytes_max));
        let websocket = WebSocketStream::from_raw_socket(transport, Role::Server, Some(config)).await;
        Self { websocket, socket, intake }
    }

    /// Whether the connection may rest; asked while nothing is received or sent, and what has come is received.
    pub fn may_rest(&self) -> bool {
        matches!(self.websocket.get_ref(), Transport::Plain(connection) if connection.may_rest())
    }

    /// The connection comes to rest, if it may; nothing if it is over.
    pub fn rest(self) -> Option<Resting> {
        match self.websocket.into_inner() {
            Transport::Plain(connection) => connection.rest(),
            Transport::Tls(_) => None,
        }
    }

    /// The next frame. Safe to drop while it waits.
    pub async fn receive(&mut self) -> Incoming {
        let frame = self.websocket.next().await;
        self.socket.heard();
        match frame {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Binary(_))) => Incoming::Binary,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Incoming::Control,
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

    /// Sends what is left of a message that was sent while the connection rested.
    pub async fn flush(&mut self) -> Result<(), Gone> {
        let socket = self.socket.clone();
        let _sending = metrics::sending();
        tokio::select! {
            flushed = timeout(SEND_TIMEOUT, self.websocket.flush()) => flushed.map_err(|_| unread())?.map_err(|_| Gone),
            () = socket.killed() => Err(Gone),
        }
    }

    /// Closes with a code and waits for the peer's answer: a connection that is cut with bytes unread would take the
    /// reason with it.
    pub async fn close(mut self, code: u16, reason: &'static str) {
        let frame = Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }));
        let farewell = async {
            if self.websocket.send(frame).await.is_ok() {
                while let Some(Ok(_)) = self.websocket.next().await {}
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
fn judged(error: tungstenite::Error) -> Incoming {
    use tungstenite::Error as E;
    match error {
        E::Capacity(_) => Incoming::Broken(close::TOO_BIG, "a frame may have 4096 bytes"),
        E::Utf8(_) => Incoming::Broken(close::NOT_UTF8, "text frames are UTF-8"),
        // It hung up without a word: nobody is there to hear one.
        E::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::Gone,
        E::Protocol(_) => misframed(),
        _ => Incoming::Gone,
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_read(cx, buf),
            Self::Tls(connection) => Pin::new(connection).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_write(cx, buf),
            Self::Tls(connection) => Pin::new(connection).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_flush(cx),
            Self::Tls(connection) => Pin::new(connection).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(connection) => Pin::new(connection).poll_shutdown(cx),
            Self::Tls(connection) => Pin::new(connection).poll_shutdown(cx),
        }
    }
}
