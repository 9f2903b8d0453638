//! Opening a WebSocket.

use super::{
    outcome::Next,
    sources::Sources,
    stream::{Stream, Tls},
    target::Target,
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        client::IntoClientRequest,
        handshake::{
            client::{Request, Response, generate_key, generate_request},
            derive_accept_key,
            machine::TryParse,
        },
        http::{HeaderValue, header},
        protocol::{Role, WebSocketConfig},
    },
};
use wire::protocol::SUBPROTOCOL;

/// How long one attempt to connect may take, until the upgrade is answered.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longest head of an answer to an upgrade, in bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Largest message that we take from a server, in bytes: the seat map of a hall of a million seats fits.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// An open WebSocket.
pub type Socket = WebSocketStream<Stream>;

/// Why there is no WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Not even a connection.
    #[error("{0}")]
    Tcp(io::ErrorKind),
    /// No answer in time.
    #[error("timed out")]
    Patience,
    /// An answer, but no upgrade.
    #[error("HTTP {0}")]
    Status(u16, Option<Duration>),
    /// Something else than a WebSocket server.
    #[error("handshake: {0}")]
    Handshake(String),
}

impl From<io::Error> for DialError {
    fn from(error: io::Error) -> Self {
        Self::Tcp(error.kind())
    }
}

impl DialError {
    /// What the visitor does now.
    pub fn next(&self) -> Next {
        match self {
            Self::Status(status, _) => Next::after_status(*status),
            Self::Tcp(_) | Self::Patience | Self::Handshake(_) => Next::Again,
        }
    }

    /// How long the server asked us to stay away.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(_, after) => *after,
            _ => None,
        }
    }
}

/// Opens WebSockets to one sale.
pub struct Dialer {
    address: SocketAddr,
    request: Request,
    tls: Option<Tls>,
    sources: Option<Sources>,
}

impl Dialer {
    /// To `target`, which is at `address`; from `sources`, or from where the system likes.
    pub fn new(target: &Target, address: SocketAddr, sources: Option<Sources>) -> Result<Self, String> {
        let mut request = target.ws().into_client_request().map_err(|e| e.to_string())?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(Self { address, request, tls: target.tls.clone(), sources })
    }

    /// One attempt, and the cookie that came with it, if any. Box it: its state is far bigger than that of
    /// the visitor who waits for it, and is needed only once.
    pub async fn dial(&self, cookie: Option<&str>) -> Result<(Box<Socket>, Option<Box<str>>), DialError> {
        timeout(PATIENCE, self.open(cookie)).await.map_err(|_| DialError::Patience)?
    }

    async fn open(&self, cookie: Option<&str>) -> Result<(Box<Socket>, Option<Box<str>>), DialError> {
        let stream = match &self.sources {
            Some(sources) => sources.connect(self.address).await,
            None => TcpStream::connect(self.address).await,
        };
        let stream = stream?;
        // A redeem is one small frame: without this it would wait for the acknowledgement of the one before.
        stream.set_nodelay(true)?;
        let mut stream = match &self.tls {
            Some(tls) => {
                tls.connect(stream).await.map_err(|error| DialError::Handshake(error.to_string()))?
            }
            None => Stream::Plain(stream),
        };
        let (request, key) = self.request(cookie)?;
        stream.write_all(&request).await?;
        stream.flush().await?;
        let (response, rest) = read_head(&mut stream).await?;
        check(&response, &key)?;
        // Small buffers: the defaults take 128 KiB a socket and zero it at each read. The handshake of the
        // library would leave its own 4 KiB behind for good, more than all the rest of a visitor.
        let config = WebSocketConfig::default()
            .read_buffer_size(256)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let socket = WebSocketStream::from_partially_read(stream, rest, Role::Client, Some(config)).await;
        Ok((Box::new(socket), cookie_in(&response)))
    }

    /// The upgrade's bytes, and the key that its answer must know.
    fn request(&self, cookie: Option<&str>) -> Result<(Vec<u8>, String), DialError> {
        let fault = |e: &dyn std::fmt::Display| DialError::Handshake(e.to_string());
        // The key must be another each time (RFC 6455, 4.1).
        let mut request = self.request.clone();
        let key = HeaderValue::try_from(generate_key()).map_err(|e| fault(&e))?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_KEY, key);
        if let Some(cookie) = cookie {
            let cookie = HeaderValue::try_from(cookie).map_err(|e| fault(&e))?;
            request.headers_mut().insert(header::COOKIE, cookie);
        }
        generate_request(request).map_err(|e| fault(&e))
    }
}

/// The head of the answer, and what came behind it.
async fn read_head(stream: &mut Stream) -> Result<(Response, Vec<u8>), DialError> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(DialError::Tcp(io::ErrorKind::UnexpectedEof));
        }
        let parsed = Response::try_parse(&head).map_err(|e| DialError::Handshake(e.to_string()))?;
        if let Some((bytes, response)) = parsed {
            return Ok((response, head[bytes..].to_vec()));
        }
        if head.len() > HEAD_BYTES_MAX {
            return Err(DialError::Handshake("the answer's head does not end".into()));
        }
    }
}

/// Whether the answer is the upgrade that was asked for (RFC 6455, 4.1).
fn check(response: &Response, key: &str) -> Result<(), DialError> {
    let text = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let status = response.status().as_u16();
    if status != 101 {
        let after = text(header::RETRY_AFTER).and_then(|after| after.parse().ok());
        return Err(DialError::Status(status, after.map(Duration::from_secs)));
    }
    let fault = |fault: &str| Err(DialError::Handshake(fault.into()));
    if !text(header::UPGRADE).is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket")) {
        return fault("no upgrade to WebSocket");
    }
    if text(header::SEC_WEBSOCKET_ACCEPT) != Some(&derive_accept_key(key.as_bytes())) {
        return fault("Sec-WebSocket-Accept does not fit the key");
    }
    if text(header::SEC_WEBSOCKET_PROTOCOL) != Some(SUBPROTOCOL) {
        return fault("another subprotocol than asked for");
    }
    Ok(())
}

/// What a browser would send back as `Cookie`.
fn cookie_in(response: &Response) -> Option<Box<str>> {
    let set = response.headers().get(header::SET_COOKIE)?.to_str().ok()?;
    set.split(';').next().map(|pair| pair.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(head: &str) -> Result<(), DialError> {
        let head = format!("{head}\r\n\r\n").replace('|', "\r\n");
        let (_, response) = Response::try_parse(head.as_bytes()).unwrap().unwrap();
        check(&response, "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// The key and its answer are the example of RFC 6455, 1.3.
    #[test]
    fn only_the_upgrade_that_was_asked_for_is_taken() {
        let good = "HTTP/1.1 101 OK|upgrade: websocket|connection: upgrade|\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=|sec-websocket-protocol: waitroom.v1";
        assert!(answer(good).is_ok());
        for (part, other) in [("=|", "-|"), ("websocket|c", "h2c|c"), ("waitroom.v1", "waitroom.v2")] {
            let bad = answer(&good.replace(part, other));
            assert!(matches!(bad, Err(DialError::Handshake(_))), "{other}: {bad:?}");
        }
        let busy = answer("HTTP/1.1 503 Busy|retry-after: 7").unwrap_err();
        assert_eq!(busy.retry_after(), Some(Duration::from_secs(7)));
        assert!(matches!(busy.next(), Next::Again));
    }
}
