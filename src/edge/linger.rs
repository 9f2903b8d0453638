//! Connections that end without taking the last words with them. A TCP connection that is closed while bytes of the
//! peer are unread, or on their way, is reset, and a reset may overtake what was written last: a visitor whose frame
//! was too big would see a broken connection instead of 1009, a client with too large a body no answer. So what is
//! still coming is read and thrown away for a moment, as nginx does with `lingering_close`.

use axum::serve::Listener;
use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    time::timeout,
};

/// How long a peer may go on sending to a connection that is over.
const LINGER: Duration = Duration::from_secs(2);
/// How much is thrown away at a time.
const LINGER_BUFFER_BYTES: usize = 16 << 10;
/// Connections that may linger at once, within the files kept free (`limits::FILES_RESERVED`); the others just close.
const LINGERING_MAX: usize = 100;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// A listener whose connections linger.
pub struct Lingering(pub TcpListener);

impl Listener for Lingering {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        // A rank is a small frame that nothing follows: it must not wait for more.
        let _ = stream.set_nodelay(true);
        (Connection { stream: Some(stream), done: false }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// A connection that lingers when it is dropped, unless the peer has said that nothing more will come.
pub struct Connection {
    /// Taken by the drop alone.
    stream: Option<TcpStream>,
    /// The peer has ended its side, or the connection is broken.
    done: bool,
}

impl Connection {
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = ready!(self.stream()?.poll_read(cx, buf));
        self.done |= read.is_err() || (buf.filled().len() == before && buf.remaining() > 0);
        Poll::Ready(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_shutdown(cx)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let (Some(stream), false, Ok(runtime)) = (self.stream.take(), self.done, Handle::try_current())
        else {
            return;
        };
        if let Some(permit) = Permit::take() {
            runtime.spawn(async move {
                // A peer that never ends its side is not waited for.
                let _ = timeout(LINGER, drain(stream)).await;
                drop(permit);
            });
        }
    }
}

/// Says that we are done, and reads until the peer is too.
async fn drain(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut buffer = vec![0; LINGER_BUFFER_BYTES];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// One of the connections that may linger.
struct Permit;

impl Permit {
    fn take() -> Option<Self> {
        let free = |count: usize| (count < LINGERING_MAX).then_some(count + 1);
        LINGERING.try_update(Ordering::Relaxed, Ordering::Relaxed, free).ok().map(|_| Self)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The last words, as a client sees them that sends 8 MiB before it listens.
    async fn last_words(linger: bool) -> io::Result<Vec<u8>> {
        let mut listener = Lingering(TcpListener::bind("127.0.0.1:0").await?);
        let address = listener.local_addr()?;
        let server = async {
            let (mut connection, _) = listener.accept().await;
            connection.read_exact(&mut [0; 10]).await?;
            connection.write_all(b"too big").await?;
            connection.done = !linger;
            io::Result::Ok(())
        };
        let client = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(&vec![0; 8 << 20]).await?;
            let mut words = Vec::new();
            stream.read_to_end(&mut words).await?;
            io::Result::Ok(words)
        };
        let (served, heard) = tokio::join!(server, client);
        served.and(heard)
    }

    #[tokio::test]
    async fn last_words_reach_a_peer_that_is_still_sending() {
        assert_eq!(last_words(true).await.unwrap(), b"too big");
        // And this is what happens without: the reset overtakes them.
        assert!(last_words(false).await.is_err());
    }
}
