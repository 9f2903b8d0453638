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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::yield_now,
};

/// Sockets that are heard before others may run.
const EVENTS: usize = 256;
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
        let key = self.sockets().insert(socket.clone());
        let added = u32::try_from(key).map_err(io::Error::other).and_then(|_| {
            let flags = EventFlags::IN | EventFlags::RDHUP;
            Ok(epoll::add(self.epoll.get_ref(), connection, EventData::new_u64(key as u64), flags)?)
        });
        match added {
            Ok(()) => {
                metrics::parked_connections(self.len());
                Ok(Berth { lot: self.clone(), key: key as u32 })
            }
            Err(error) => {
                self.sockets().remove(key);
                Err(error)
            }
        }
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
            }
            yield_now().await;
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
            if let Some(socket) = socket {
                socket.readable(buffer);
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
        self.lot.sockets().try_remove(self.key as usize);
        metrics::parked_connections(self.lot.len());
    }
}
