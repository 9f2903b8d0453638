//! One socket, shared by its task and the room: one overwritable rank, and a small bounded lane for what must arrive. A
//! full lane closes the socket, which may resume. Who waits is *parked*: a connection without a task, which hears what there is
//! for it there and then, and is a task again when that does not do.

use super::{
    lot::{Berth, Lot},
    news::{News, RankUpdate, Watch},
};
use crate::{
    limits::{DROP_S, LANE_MAX, NEAR_RANK, PING_S, QUIET_S},
    metrics,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::{
    collections::VecDeque,
    os::fd::AsFd,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Instant,
};
use tokio::sync::Notify;
use wire::domain::{ids::Seq, line::Position};

/// A connection without a task.
pub trait Parked: AsFd + Send {
    /// Hears news.
    fn hear(&mut self, position: Position, news: &News) -> Took;
    /// Shows a rank, and asks whether the peer is there if `asks`: in one packet, since to send is most of what either costs.
    fn show(&mut self, update: RankUpdate, asks: bool) -> Took;
    /// Reads what has come, into a buffer that all share.
    fn read(&mut self, buffer: &mut [u8]) -> Took;
    /// Goes on as a task.
    fn wake(self: Box<Self>, socket: Arc<Socket>);
}

/// What a parked connection made of what there was for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// There was nothing to be said.
    Silent,
    /// It was said.
    Said,
    /// It was said, but the peer has yet to take all of it: that is for a task to wait for.
    Full,
    /// It needs a task.
    Not,
}

#[derive(Default)]
struct Inner {
    lane: VecDeque<(Position, News)>,
    rank: Option<RankUpdate>,
    watch: Option<Watch>,
    parked: Option<(Box<dyn Parked>, Berth)>,
    /// The lot does not take it.
    stays_awake: bool,
}

/// One socket, shared by its task and the room.
pub struct Socket {
    /// Its number on this instance.
    pub id: u64,
    /// Where the hub has it.
    slot: AtomicU32,
    started: Instant,
    inner: Mutex<Inner>,
    wake: Notify,
    dead: AtomicBool,
    sent_s: AtomicU32,
    heard_s: AtomicU32,
    pinged_s: AtomicU32,
}

impl Socket {
    /// A new socket.
    pub fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            slot: AtomicU32::new(u32::MAX),
            started: Instant::now(),
            inner: Mutex::default(),
            wake: Notify::new(),
            dead: AtomicBool::new(false),
            sent_s: AtomicU32::new(0),
            heard_s: AtomicU32::new(0),
            pinged_s: AtomicU32::new(0),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_s(&self) -> u32 {
        self.started.elapsed().as_secs() as u32
    }

    /// The hub has it there.
    pub(super) fn stand_at(&self, slot: usize) {
        // A process has fewer files than that.
        self.slot.store(slot as u32, Ordering::Relaxed);
    }

    pub(super) fn slot(&self) -> usize {
        self.slot.load(Ordering::Relaxed) as usize
    }

    /// Something was sent.
    pub fn sent(&self) {
        self.sent_s.store(self.now_s(), Ordering::Relaxed);
    }

    /// The peer said something.
    pub fn heard(&self) {
        self.heard_s.store(self.now_s(), Ordering::Relaxed);
    }

    /// Puts news into the lane; a full lane ends the socket.
    pub fn tell(self: &Arc<Self>, position: Position, news: News) {
        if self.put(position, news) {
            self.catch_up();
        }
    }

    /// The same for news that many hear: true if the socket is parked, and is to [`Socket::catch_up`] in its turn.
    #[must_use]
    pub(super) fn put(self: &Arc<Self>, position: Position, news: News) -> bool {
        let mut inner = self.inner();
        if inner.lane.len() >= LANE_MAX {
            drop(inner);
            self.kill("lane_full");
            return false;
        }
        inner.lane.push_back((position, news));
        if inner.parked.is_none() {
            drop(inner);
            self.wake.notify_one();
            return false;
        }
        true
    }

    /// A parked socket hears what is in its lane.
    pub(super) fn catch_up(self: &Arc<Self>) {
        let mut inner = self.inner();
        let Inner { lane, parked: Some((connection, _)), .. } = &mut *inner else { return };
        while let Some((position, news)) = lane.front() {
            let took = connection.hear(*position, news);
            if took != Took::Not {
                lane.pop_front();
            }
            match took {
                Took::Silent => {}
                Took::Said => self.sent(),
                Took::Full | Took::Not => return self.rouse(inner),
            }
        }
        // Tens of thousands of them keep no memory for the next time.
        *lane = VecDeque::new();
    }

    /// From here on the connection has no task, unless there is something for it already: then it is given back.
    pub fn park(self: &Arc<Self>, parked: Box<dyn Parked>, lot: &Arc<Lot>) -> Result<(), Box<dyn Parked>> {
        let mut inner = self.inner();
        if !self.is_idle(&inner) {
            return Err(parked);
        }
        match lot.add(self, parked.as_fd()) {
            Ok(berth) => {
                inner.lane = VecDeque::new();
                inner.parked = Some((parked, berth));
                Ok(())
            }
            Err(error) => {
                tracing::debug!("a socket cannot be parked: {error}");
                inner.stays_awake = true;
                Err(parked)
            }
        }
    }

    /// Whether it has nothing to hear, and may be parked.
    pub fn may_park(&self) -> bool {
        self.is_idle(&self.inner())
    }

    fn is_idle(&self, inner: &Inner) -> bool {
        let has_news = !inner.lane.is_empty() || inner.rank.is_some();
        !has_news && !inner.stays_awake && !self.dead.load(Ordering::Relaxed)
    }

    /// It has a task from here on, which looks at what there is.
    fn rouse(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner>) {
        let Some((connection, berth)) = inner.parked.take() else {
            drop(inner);
            return self.wake.notify_one();
        };
        berth.leave(connection.as_fd());
        drop(inner);
        connection.wake(self.clone());
    }

    /// A parked socket has something to read, or is over.
    pub(super) fn readable(self: &Arc<Self>, buffer: &mut [u8]) {
        let mut inner = self.inner();
        let Some((connection, _)) = &mut inner.parked else { return };
        self.heard();
        match connection.read(buffer) {
            Took::Silent => {}
            Took::Said => self.sent(),
            Took::Full | Took::Not => self.rouse(inner),
        }
    }

    /// The next news, waiting for it; ranks come when nothing else is due. Nothing when the socket must end.
    pub async fn next(&self) -> Option<Next> {
        loop {
            // Registered before looking, so that no wake-up is lost.
            let woken = self.wake.notified();
            if self.dead.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(next) = self.take() {
                return Some(next);
            }
            woken.await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut inner = self.inner();
        if let Some((position, news)) = inner.lane.pop_front() {
            return Some(Next::News(position, news));
        }
        inner.rank.take().map(Next::Rank)
    }

    /// Resolves when the socket must end at once.
    pub async fn killed(&self) {
        while !self.dead.load(Ordering::Relaxed) {
            self.wake.notified().await;
        }
    }

    /// Ends the socket at once: it does not read what it is sent.
    pub(super) fn kill(self: &Arc<Self>, reason: &'static str) {
        if !self.dead.swap(true, Ordering::Relaxed) {
            metrics::sockets_dropped(reason, 1);
        }
        self.rouse(self.inner());
    }

    /// From now on the socket shows this place's rank, or none.
    pub fn watch(&self, watch: Option<Watch>) {
        let mut inner = self.inner();
        inner.watch = watch;
        inner.rank = None;
    }

    /// Offers the newest rank to a socket that shows one: what the board says of its place, and after which entry. A rank that rose
    /// means that the line was restored.
    pub fn offer_rank(self: &Arc<Self>, look: impl FnOnce(Seq) -> Option<(Position, RankUpdate)>) {
        // What many hear comes before it.
        self.catch_up();
        let mut inner = self.inner();
        let Some(watch) = inner.watch else { return };
        let Some((board_at, update)) = look(watch.seq) else { return };
        if board_at < watch.since || update.rank == watch.shown {
            return;
        }
        if update.rank > watch.shown {
            inner.watch = None;
            drop(inner);
            return self.tell(board_at, News::Recheck);
        }
        inner.watch = Some(Watch { shown: update.rank, ..watch });
        let Some((connection, _)) = &mut inner.parked else {
            inner.rank = Some(update);
            drop(inner);
            return self.wake.notify_one();
        };
        let asks = self.is_to_be_asked();
        let took = connection.show(update, asks);
        if asks && matches!(took, Took::Said | Took::Full) {
            self.asked();
        }
        match took {
            Took::Said => self.sent(),
            Took::Silent => {}
            Took::Full | Took::Not => self.rouse(inner),
        }
    }

    /// Whether the rank that it shows is near the head.
    pub(super) fn is_near(&self) -> bool {
        self.watched().is_some_and(|watch| watch.shown < NEAR_RANK)
    }

    /// The rank shown last, if one is.
    pub fn watched(&self) -> Option<Watch> {
        self.inner().watch
    }

    /// Pings a silent socket, ends a dead one. Who has answered the last ping is there, however long ago that was: a server that is
    /// late has not asked him since. So is who has said what this server is too late to read.
    pub fn check_alive(self: &Arc<Self>) {
        if self.is_asked() {
            let [heard, pinged] = [&self.heard_s, &self.pinged_s];
            if self.is_past(heard, DROP_S) && self.is_past(pinged, DROP_S - QUIET_S) && !self.has_unread() {
                self.kill("silent");
            }
        } else if self.is_past(&self.sent_s, PING_S) || self.is_to_be_asked() {
            self.asked();
            self.tell(Position::default(), News::Ping);
        }
    }

    /// Whether the last ping is not answered yet.
    fn is_asked(&self) -> bool {
        self.pinged_s.load(Ordering::Relaxed) > self.heard_s.load(Ordering::Relaxed)
    }

    /// Whether the peer has said nothing for so long that he is to be asked, whatever he is sent.
    fn is_to_be_asked(&self) -> bool {
        !self.is_asked() && self.is_past(&self.heard_s, QUIET_S)
    }

    fn asked(&self) {
        self.pinged_s.store(self.now_s(), Ordering::Relaxed);
    }

    fn is_past(&self, at_s: &AtomicU32, seconds: u32) -> bool {
        self.now_s().saturating_sub(at_s.load(Ordering::Relaxed)) >= seconds
    }

    /// Whether a parked socket's peer has said something that nobody has read yet.
    fn has_unread(&self) -> bool {
        let inner = self.inner();
        let Some((connection, _)) = &inner.parked else { return false };
        let connection = connection.as_fd();
        poll(&mut [PollFd::from_borrowed_fd(connection, PollFlags::IN)], Some(&Timespec::default()))
            .is_ok_and(|ready| ready > 0)
    }
}

/// What a socket's task does next.
#[derive(Debug)]
pub enum Next {
    /// News, and the entry of the stream that it comes from.
    News(Position, News),
    /// A rank to be shown.
    Rank(RankUpdate),
}

#[cfg(test)]
mod tests;
