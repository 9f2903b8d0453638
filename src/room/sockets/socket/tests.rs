use super::*;
use std::time::Duration;

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
    socket.check_alive(20, 45);
    let is_pinged = matches!(socket.take(), Some(Next::News(_, News::Ping)));
    (is_pinged, socket.dead.load(Ordering::Relaxed))
}

#[test]
fn who_answers_is_asked_again_and_who_does_not_is_gone() {
    assert_eq!(after(&socket(10, 0, 20)), (false, false));
    assert_eq!(after(&socket(0, 0, 20)), (true, false));
    assert_eq!(after(&socket(0, 20, 40)), (false, false));
    assert_eq!(after(&socket(0, 20, 45)), (false, true));
    // Nobody had time to look for longer than a silent peer has: that is no silence of his.
    assert_eq!(after(&socket(21, 20, 100)), (true, false));
}
