//! Connections that end without taking the last words with them. A TCP connection that is closed while bytes of the
//! peer are unread, or on their way, is reset, and a reset may overtake what was written last: a visitor whose frame
//! was too big would see a broken connection instead of 1009, a client with too large a body no answer. So what is
//! still coming is read and thrown away for a moment, as nginx does with `lingering_close`.

use super::{
    Slot,
    instead::instead_of,
    intake::{Balance, Counter, Intake},
    tell,
};
use crate::{edge::rarely::Rarely, limits::Bounds, metrics};
use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
    runtime::Handle,
    time::{Sleep, sleep, timeout},
};
use tokio_rustls::server::TlsStream;

/// A peer that takes nothing of what it is sent for so long is gone.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a peer may go on sending to a connection that is over.
const LINGER: Duration = Duration::from_secs(2);
/// How much is thrown away at a time.
const LINGER_BUFFER_BYTES: usize = 16 << 10;
/// Connections that may linger at once, within the files kept free (`limits::FILES_RESERVED`); the others just close.
const LINGERING_MAX: usize = 100;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// A connection that counts what comes in, gives up on a peer that reads nothing, and lingers when it is dropped, unless
/// the peer has said that nothing more will come.
pub struct Connection<S: Stream> {
    /// Taken by the drop alone.
    stream: Option<S>,
    /// The peer has ended its side, or the connection is broken.
    done: bool,
    counter: Counter,
    /// What was read while it rested, and is still to be looked at.
    unread: Vec<u8>,
    /// What was to be written while it rested, and comes before anything else.
    unwritten: Vec<u8>,
    /// What is being written in place of what hyper wants written, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
    /// Runs while a write waits for the peer.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Taken when it comes to rest, and by the drop.
    slot: Option<Slot>,
}

/// A WebSocket's connection that nothing is being done about: what is to be known to go on with it.
pub struct Resting {
    /// The connection, which does not block.
    pub stream: std::net::TcpStream,
    /// What the peer may still send.
    pub balance: Balance,
    /// What was read, and is still to be looked at.
    pub unread: Vec<u8>,
    /// What is still to be written.
    pub unwritten: Vec<u8>,
    slot: Slot,
}

/// What a connection goes over: TCP, or TLS over it.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What is below.
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

impl<S: Stream> Connection<S> {
    pub(super) fn new(stream: S, intake: Intake, bounds: Bounds, slot: Slot) -> Self {
        Self::of(stream, Counter::new(intake, bounds), slot)
    }

    fn of(stream: S, counter: Counter, slot: Slot) -> Self {
        let (stream, slot) = (Some(stream), Some(slot));
        let (unread, unwritten) = (Vec::new(), Vec::new());
        Self { stream, done: false, counter, unread, unwritten, instead: None, stalled: None, slot }
    }

    /// What is known of what came in.
    pub fn intake(&self) -> &Intake {
        self.counter.intake()
    }

    /// Writes what comes before anything else.
    fn poll_unwritten(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unwritten.is_empty() {
            let words = std::mem::take(&mut self.unwritten);
            let written = self.stream()?.poll_write(cx, &words);
            self.unwritten = words;
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => drop(self.unwritten.drain(..written)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes our own words in place of hyper's, which count as written once ours are; nothing if it has none of its own.
    fn write_instead(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Option<Poll<io::Result<usize>>> {
        let (words, mut done) = self.instead.take().or_else(|| Some((instead_of(buf)?, 0)))?;
        while done < words.len() {
            match self.stream().map(|stream| stream.poll_write(cx, &words[done..])) {
                Ok(Poll::Ready(Ok(written))) if written > 0 => done += written,
                Ok(Poll::Pending) => {
                    self.instead = Some((words, done));
                    return Some(Poll::Pending);
                }
                _ => return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into()))),
            }
        }
        Some(Poll::Ready(Ok(buf.len())))
    }

    fn stream(&mut self) -> io::Result<Pin<&mut S>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// A write that waits, waits so long and no longer.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(cx));
        self.done = true;
        // What the peer does not read, the kernel would keep for as long as he likes. Fails for a connection that is gone.
        let _ = self.stream.as_ref().map(|stream| stream.tcp().set_zero_linger());
        match self.counter.intake().is_websocket() {
            true => metrics::sockets_dropped("unread", 1),
            false => metrics::connections_refused("unread", 1),
        }
        static UNREAD: Rarely = Rarely::new();
        tell(&UNREAD, "its peer reads nothing of what it asked for");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Connection<TcpStream> {
    /// Whether it is a WebSocket between two messages, with nothing left to be written.
    pub fn may_rest(&self) -> bool {
        let has_words = self.instead.is_some() || self.stalled.is_some() || !self.unwritten.is_empty();
        !self.done && !has_words && self.unread.is_empty() && self.counter.between_messages().is_some()
    }

    /// Comes to rest, if it may; nothing if the connection is broken.
    pub fn rest(mut self) -> Option<Resting> {
        let balance = self.counter.between_messages()?;
        let (stream, slot) = (self.stream.take()?.into_std().ok()?, self.slot.take()?);
        Some(Resting { stream, balance, unread: Vec::new(), unwritten: Vec::new(), slot })
    }

    /// Goes on.
    pub fn go_on(resting: Resting, bounds: Bounds) -> io::Result<Self> {
        let Resting { stream, balance, unread, unwritten, slot } = resting;
        let counter = Counter::go_on(balance, bounds);
        let mut connection = Self::of(TcpStream::from_std(stream)?, counter, slot);
        (connection.unread, connection.unwritten) = (unread, unwritten);
        Ok(connection)
    }
}

impl<S: Stream> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.counter.is_over() {
            return Poll::Ready(Err(io::Error::other("frames that a peer may not send")));
        }
        let before = buf.filled().len();
        let read = if self.unread.is_empty() {
            ready!(self.stream()?.poll_read(cx, buf))
        } else {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..count]);
            self.unread.drain(..count);
            Ok(())
        };
        self.done |= read.is_err() || (buf.filled().len() == before && buf.remaining() > 0);
        let allowed = self.counter.take(&buf.filled()[before..]);
        if allowed == 0 && buf.filled().len() > before {
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::other("frames that a peer may not send")));
        }
        buf.set_filled(before + allowed);
        Poll::Ready(read)
    }
}

impl<S: Stream> AsyncWrite for Connection<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = match self.poll_unwritten(cx) {
            Poll::Ready(Ok(())) => match self.write_instead(cx, buf) {
                Some(written) => written,
                None => self.stream()?.poll_write(cx, buf),
            },
            unwritten => unwritten.map_ok(|()| 0),
        };
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        let written = match first.and_then(|first| self.write_instead(cx, first)) {
            Some(written) => written,
            None => self.stream()?.poll_write_vectored(cx, bufs),
        };
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    // TLS keeps what was written, and waits here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.poll_unwritten(cx) {
            Poll::Ready(Ok(())) => self.stream()?.poll_flush(cx),
            unwritten => unwritten,
        };
        self.watched(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = self.stream()?.poll_shutdown(cx);
        self.watched(cx, shut)
    }
}

impl<S: Stream> Drop for Connection<S> {
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
async fn drain(mut stream: impl Stream) -> io::Result<()> {
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
    use crate::{drain::Gauge, metrics::Listeners};
    use tokio::net::TcpListener;

    /// The last words, as a client sees them that sends 8 MiB before it listens.
    async fn last_words(linger: bool) -> io::Result<Vec<u8>> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = async {
            let (stream, _) = listener.accept().await?;
            let slot = Slot::take(&Gauge::default(), 1, Listeners::Admin).unwrap();
            let mut connection = Connection::new(stream, Intake::default(), Bounds::default(), slot);
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
