//! Opening a WebSocket.

use super::{outcome::Next, sources::Sources, target::Target};
use crate::protocol::SUBPROTOCOL;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Error as WsError,
        client::IntoClientRequest,
        handshake::client::{Request, Response},
        http::{HeaderName, HeaderValue, header},
        protocol::WebSocketConfig,
    },
};

/// How long one attempt to connect may take, until the upgrade is answered.
const PATIENCE: Duration = Duration::from_secs(15);
/// Largest message that we take from a server, in bytes: the seat map of a hall of a million seats fits.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// An open WebSocket.
pub type Socket = WebSocketStream<TcpStream>;

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
    sources: Option<Sources>,
}

impl Dialer {
    /// To `target`, which is at `address`; from `sources`, or from where the system likes.
    pub fn new(target: &Target, address: SocketAddr, sources: Option<Sources>) -> Result<Self, String> {
        let mut request = target.ws().into_client_request().map_err(|e| e.to_string())?;
        request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        Ok(Self { address, request, sources })
    }

    /// One attempt, and the cookie that came with it, if any. Box it: its state is far bigger than that of
    /// the visitor who waits for it, and is needed only once.
    pub async fn dial(&self, cookie: Option<&str>) -> Result<(Socket, Option<Box<str>>), DialError> {
        timeout(PATIENCE, self.open(cookie)).await.map_err(|_| DialError::Patience)?
    }

    async fn open(&self, cookie: Option<&str>) -> Result<(Socket, Option<Box<str>>), DialError> {
        let stream = match &self.sources {
            Some(sources) => sources.connect(self.address).await,
            None => TcpStream::connect(self.address).await,
        };
        let stream = stream.map_err(|e| DialError::Tcp(e.kind()))?;
        // A redeem is one small frame: without this it would wait for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(|e| DialError::Tcp(e.kind()))?;
        let request = self.request(cookie).map_err(DialError::Handshake)?;
        // Small buffers: the defaults take 128 KiB a socket and zero it at each read.
        let config = WebSocketConfig::default()
            .read_buffer_size(512)
            .write_buffer_size(0)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, response)) => Ok((socket, cookie_in(&response))),
            Err(WsError::Http(response)) => {
                let after = response.headers().get(header::RETRY_AFTER);
                let after = after.and_then(|v| v.to_str().ok()?.parse().ok());
                Err(DialError::Status(response.status().as_u16(), after.map(Duration::from_secs)))
            }
            Err(WsError::Io(error)) => Err(DialError::Tcp(error.kind())),
            Err(error) => Err(DialError::Handshake(error.to_string())),
        }
    }

    fn request(&self, cookie: Option<&str>) -> Result<Request, String> {
        // The key must be another each time (RFC 6455, 4.1).
        let mut request = self.request.clone();
        let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
        let key = HeaderValue::try_from(key).map_err(|e| e.to_string())?;
        request.headers_mut().insert(HeaderName::from_static("sec-websocket-key"), key);
        if let Some(cookie) = cookie {
            let cookie = HeaderValue::try_from(cookie).map_err(|e| e.to_string())?;
            request.headers_mut().insert(header::COOKIE, cookie);
        }
        Ok(request)
    }
}

/// What a browser would send back as `Cookie`.
fn cookie_in(response: &Response) -> Option<Box<str>> {
    let set = response.headers().get(header::SET_COOKIE)?.to_str().ok()?;
    set.split(';').next().map(|pair| pair.trim().into())
}
