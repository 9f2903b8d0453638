use super::*;
use std::{
    io::Write,
    os::{fd::BorrowedFd, unix::net::UnixStream},
    time::Duration,
};

/// A socket that was last heard and pinged then, in seconds, and is as old as that now.
fn socket(heard_s: u32, pinged_s: u32, now_s: u64) -> Arc<Socket> {
    let socket = Socket::new(1);
    let mut old = Arc::into_inner(socket).unwrap();
    old.started = Instant::now() - Duration::from_secs(now_s);
    (old.heard_s, old.pinged_s) = (AtomicU32::new(heard_s), AtomicU32::new(pinged_s));
    old.sent_s = AtomicU32::new(now_s as u32);
    Arc::new(old)
}

fn after(socket: &Arc<Socket>) -> (bool, bool) {
    socket.check_alive();
    let is_pinged = matches!(socket.take(), Some(Next::News(_, News::Ping)));
    (is_pinged, socket.dead.load(Ordering::Relaxed))
}

#[test]
fn who_answers_is_asked_again_and_who_does_not_is_gone() {
    assert_eq!(after(&socket(10, 0, 39)), (false, false));
    assert_eq!(after(&socket(0, 0, 30)), (true, false));
    assert_eq!(after(&socket(0, 30, 44)), (false, false));
    assert_eq!(after(&socket(0, 30, 45)), (false, true));
    // Nobody had time to look for longer than a silent peer has: that is no silence of his.
    assert_eq!(after(&socket(31, 30, 100)), (true, false));
    assert_eq!(after(&socket(0, 99, 100)), (false, false));
    // Nothing was sent.
    let unsent = socket(0, 0, 20);
    unsent.sent_s.store(0, Ordering::Relaxed);
    assert_eq!(after(&unsent), (true, false));
}

/// A parked connection whose words nobody reads; what it was told to show, and whether it was to ask.
struct Shown(UnixStream, Arc<Mutex<Vec<(u64, bool)>>>);

impl AsFd for Shown {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Parked for Shown {
    fn hear(&mut self, _: Position, news: &News) -> Took {
        panic!("{news:?} by itself")
    }
    fn show(&mut self, update: RankUpdate, asks: bool) -> Took {
        self.1.lock().unwrap().push((update.rank, asks));
        Took::Said
    }
    fn read(&mut self, _: &mut [u8]) -> Took {
        Took::Silent
    }
    fn wake(self: Box<Self>, _: Arc<Socket>) {}
}

#[tokio::test]
async fn who_answered_a_server_that_is_late_is_there() {
    let lot = Lot::open().unwrap();
    let (mut peer, ours) = UnixStream::pair().unwrap();
    let silent = socket(0, 30, 60);
    assert!(silent.park(Box::new(Shown(ours, Arc::default())), &lot).is_ok());
    peer.write_all(b"pong").unwrap();
    assert_eq!(after(&silent), (false, false));
    // The same one, had he said nothing.
    let (_peer, ours) = UnixStream::pair().unwrap();
    let silent = socket(0, 30, 60);
    assert!(silent.park(Box::new(Shown(ours, Arc::default())), &lot).is_ok());
    assert_eq!(after(&silent), (false, true));
}

#[tokio::test]
async fn who_is_to_be_asked_whether_he_is_there_is_asked_with_his_rank() {
    let lot = Lot::open().unwrap();
    for (heard_s, pinged_s, asks) in [(11, 0, false), (10, 0, true), (10, 12, false)] {
        let (_peer, ours) = UnixStream::pair().unwrap();
        let (socket, shown) = (socket(heard_s, pinged_s, 40), Arc::new(Mutex::default()));
        assert!(socket.park(Box::new(Shown(ours, Arc::clone(&shown))), &lot).is_ok());
        socket.watch(Some(Watch { seq: 1, since: Position::default(), shown: 9 }));
        for rank in [8, 7] {
            let update = RankUpdate { rank, total: 10, eta_s: None, at: Instant::now() };
            socket.offer_rank(|_| Some((Position::default(), update)));
            // He was asked already, or need not be.
            socket.check_alive();
        }
        assert_eq!(*shown.lock().unwrap(), [(8, asks), (7, false)]);
    }
}
