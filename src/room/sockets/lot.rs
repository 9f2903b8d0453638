//! Where sockets are parked: connections that wait without a task each. One task hears for all of them which has something to read.

use super::Socket;
use crate::metrics;
use rustix::event::{
    Timespec,
    epoll::{self, CreateFlags, Event, EventData, EventFlags},
};
use slab::Slab;
use std::{
    io,
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
    time::sleep,
};

/// Sockets that are heard before others may run.
const EVENTS: usize = 256;
/// From one hearing to the next: each answer to a ping by itself would wake the process.
const PAUSE: Duration = Duration::from_millis(50);
/// What one socket may say at a time, in bytes.
const READ_BYTES: usize = 4 << 10;

/// The parked sockets of a process.
pub struct Lot {
    epoll: AsyncFd<OwnedFd>,
    sockets: Mutex<Slab<Arc<Socket>>>,
}

/// A parked socket's place in the lot.
pub(super) struct Berth {
    lot: Arc<Lot>,
    key: u32,
}

impl Lot {
    /// An empty one. Must be called within the runtime.
    #[expect(
        deprecated,
        reason = "what `register` is unsafe for, an `OwnedFd` keeps: it is one file for as long as it lives"
    )]
    pub fn open() -> io::Result<Arc<Self>> {
        let epoll = AsyncFd::with_interest(epoll::create(CreateFlags::CLOEXEC)?, Interest::READABLE)?;
        Ok(Arc::new(Self { epoll, sockets: Mutex::default() }))
    }

    /// Listens to the socket's connection from here on.
    pub(super) fn add(
        self: &Arc<Self>,
        socket: &Arc<Socket>,
        connection: BorrowedFd<'_>,
    ) -> io::Result<Berth> {
        let key = self.change(|sockets| sockets.insert(socket.clone()));
        let added = u32::try_from(key).map_err(io::Error::other).and_then(|_| {
            let flags = EventFlags::IN | EventFlags::RDHUP;
            Ok(epoll::add(self.epoll.get_ref(), connection, EventData::new_u64(key as u64), flags)?)
        });
        match added {
            Ok(()) => Ok(Berth { lot: self.clone(), key: key as u32 }),
            Err(error) => {
                self.change(|sockets| sockets.try_remove(key));
                Err(error)
            }
        }
    }

    /// How many there are is told by whoever changes it, before another may.
    fn change<T>(&self, change: impl FnOnce(&mut Slab<Arc<Socket>>) -> T) -> T {
        let mut sockets = self.sockets();
        let changed = change(&mut sockets);
        metrics::parked_connections(sockets.len());
        changed
    }

    fn sockets(&self) -> MutexGuard<'_, Slab<Arc<Socket>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are parked.
    pub fn len(&self) -> usize {
        self.sockets().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hears what they say, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut buffer = vec![0; READ_BYTES];
        while let Ok(mut ready) = self.epoll.readable().await {
            if self.hear_some(&mut buffer) == 0 {
                ready.clear_ready();
                sleep(PAUSE).await;
            } else {
                yield_now().await;
            }
        }
    }

    /// Hears some of those who have something to say; how many.
    fn hear_some(&self, buffer: &mut [u8]) -> usize {
        let mut events = [const { MaybeUninit::<Event>::uninit() }; EVENTS];
        let waited = epoll::wait(self.epoll.get_ref(), &mut events, Some(&Timespec::default()));
        let Ok((events, _)) = waited else { return 0 };
        for event in &*events {
            // One that was woken meanwhile, or another in its place, has nothing to read: that does no harm.
            let socket = self.sockets().get(event.data.u64() as usize).cloned();
            let Some(socket) = socket else { continue };
            // One that breaks this must not make the others unheard.
            if catch_unwind(AssertUnwindSafe(|| socket.readable(buffer))).is_err() {
                socket.kill("broken");
            }
        }
        events.len()
    }
}

impl Berth {
    /// The socket's connection is listened to by others from here on.
    pub(super) fn leave(self, connection: BorrowedFd<'_>) {
        // Fails for a connection that is not there: then there is nothing to be heard of it.
        let _ = epoll::delete(self.lot.epoll.get_ref(), connection);
        self.lot.change(|sockets| sockets.try_remove(self.key as usize));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::sockets::{News, Parked, RankUpdate, Took};
    use std::{
        io::{Read, Write},
        os::{fd::AsFd, unix::net::UnixStream},
    };
    use tokio::{sync::mpsc, time::timeout};
    use wire::domain::line::Position;

    /// Says what it reads, or panics.
    struct Fake(UnixStream, Option<mpsc::UnboundedSender<u8>>);

    impl AsFd for Fake {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }

    impl Parked for Fake {
        fn hear(&mut self, _: Position, _: &News) -> Took {
            Took::Silent
        }
        fn show(&mut self, _: RankUpdate, _: bool) -> Took {
            Took::Silent
        }
        fn read(&mut self, buffer: &mut [u8]) -> Took {
            let heard = self.1.as_ref().expect("planted");
            self.0.read_exact(&mut buffer[..1]).unwrap();
            heard.send(buffer[0]).unwrap();
            Took::Silent
        }
        fn wake(self: Box<Self>, _: Arc<Socket>) {}
    }

    #[tokio::test]
    async fn one_that_breaks_the_lot_leaves_the_others_heard() {
        let lot = Lot::open().unwrap();
        let (say, mut heard) = mpsc::unbounded_channel();
        let mut peers = Vec::new();
        for (id, say) in [(1, None), (2, Some(say))] {
            let (mut peer, ours) = UnixStream::pair().unwrap();
            assert!(Socket::new(id).park(Box::new(Fake(ours, say)), &lot).is_ok());
            peer.write_all(&[id as u8]).unwrap();
            peers.push(peer);
        }
        assert_eq!(lot.len(), 2);
        tokio::spawn(lot.clone().run());
        for _ in 0..2 {
            assert_eq!(timeout(Duration::from_secs(60), heard.recv()).await.unwrap(), Some(2));
            // After the panic too.
            peers[1].write_all(&[2]).unwrap();
        }
    }
}
