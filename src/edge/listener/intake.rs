//! What a peer may send over a WebSocket: lengths are said as shortly as they can be, and frames of any kind count from the first byte, also those that no message is
//! made of, such as pings and endless fragments (RFC 6455, 5.2). They are counted where bytes come in, since nobody
//! above sees them all.

use crate::limits::Bounds;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Instant,
};

/// The end of a request's head.
const HEAD_END: u32 = u32::from_be_bytes(*b"\r\n\r\n");

/// What is known of a connection's incoming bytes; shared by the connection and whoever serves it.
#[derive(Clone, Default)]
pub struct Intake(Arc<Shared>);

#[derive(Default)]
struct Shared {
    is_websocket: AtomicBool,
    /// The last four bytes that came in while it was none.
    tail: AtomicU32,
    /// What messages cost beyond the frame that they are, and is not taken off yet.
    owed: AtomicU32,
    has_flooded: AtomicBool,
    is_misframed: AtomicBool,
}

impl Intake {
    /// Of a connection that was a WebSocket already.
    fn of_websocket() -> Self {
        let intake = Self::default();
        intake.0.is_websocket.store(true, Ordering::Relaxed);
        intake
    }

    /// From here on frames come in. False if some have already: a client must wait for the handshake's answer, and frames
    /// that are counted from the middle are not counted.
    pub fn upgrade(&self) -> bool {
        self.0.is_websocket.store(true, Ordering::Relaxed);
        self.0.tail.load(Ordering::Relaxed) == HEAD_END
    }

    /// Whether frames come in.
    pub fn is_websocket(&self) -> bool {
        self.0.is_websocket.load(Ordering::Relaxed)
    }

    /// A message costs so many frames more than the one that it is.
    pub fn charge(&self, more: u32) {
        self.0.owed.fetch_add(more, Ordering::Relaxed);
    }

    /// Whether the peer has sent more frames than it may.
    pub fn has_flooded(&self) -> bool {
        self.0.has_flooded.load(Ordering::Relaxed)
    }

    /// Whether the peer has said a frame's length in more bytes than it takes (RFC 6455, 5.2).
    pub fn is_misframed(&self) -> bool {
        self.0.is_misframed.load(Ordering::Relaxed)
    }
}

/// The highest bit of a length is 0.
const LENGTH_MAX: u64 = u64::MAX >> 1;

/// Frames that a peer may still send: a bucket that fills by the second.
#[derive(Clone, Copy)]
pub struct Balance {
    left: f64,
    at: Instant,
}

impl Balance {
    fn full(bounds: &Bounds) -> Self {
        Self { left: bounds.messages_burst, at: Instant::now() }
    }

    /// Takes so many off; false if there are not that many.
    pub fn take(&mut self, frames: u32, bounds: &Bounds) -> bool {
        let now = Instant::now();
        let refill = now.duration_since(self.at).as_secs_f64() * bounds.messages_per_s;
        self.left = (self.left + refill).min(bounds.messages_burst) - f64::from(frames);
        self.at = now;
        self.left >= 0.0
    }
}

/// Counts a connection's incoming frames.
pub struct Counter {
    intake: Intake,
    frame: Frame,
    /// The last frame that was no control frame was not its message's last.
    in_message: bool,
    bounds: Bounds,
    balance: Balance,
}

/// Where in a frame the next byte is.
#[derive(Clone, Copy)]
enum Frame {
    /// Its first byte.
    Start,
    /// The byte that says whether it is masked, and its length or how long that is.
    Length,
    /// So many bytes of the length are to come, what they have said so far, and what they must say at least; so many bytes
    /// of the mask follow.
    LongLength(u8, u64, u64, u64),
    /// So many bytes of mask and payload.
    Rest(u64),
}

impl Counter {
    pub fn new(intake: Intake, bounds: Bounds) -> Self {
        Self { intake, frame: Frame::Start, in_message: false, bounds, balance: Balance::full(&bounds) }
    }

    /// Of a WebSocket that goes on, between two messages.
    pub fn go_on(balance: Balance, bounds: Bounds) -> Self {
        let intake = Intake::of_websocket();
        Self { intake, frame: Frame::Start, in_message: false, bounds, balance }
    }

    /// What it counts for.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// What the peer may still send, if nothing of a message or a frame has come without the rest.
    pub fn between_messages(&self) -> Option<Balance> {
        let is_between = matches!(self.frame, Frame::Start) && !self.in_message && !self.is_over();
        let owes_nothing = self.intake.0.owed.load(Ordering::Relaxed) == 0;
        (is_between && owes_nothing).then_some(self.balance)
    }

    /// Takes note of bytes that came in. How many of them may be handed on: all, or those before what may not be, after
    /// which nothing may.
    pub fn take(&mut self, bytes: &[u8]) -> usize {
        let shared = &self.intake.0;
        if !shared.is_websocket.load(Ordering::Relaxed) {
            let tail = bytes.iter().rev().take(4).rev();
            let before = shared.tail.load(Ordering::Relaxed);
            shared
                .tail
                .store(tail.fold(before, |tail, byte| tail << 8 | u32::from(*byte)), Ordering::Relaxed);
            return bytes.len();
        }
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if matches!(self.frame, Frame::Start) && !self.allow() {
                self.intake.0.has_flooded.store(true, Ordering::Relaxed);
                return at;
            }
            (self.frame, at) = match self.frame {
                Frame::Start => {
                    let (is_last, is_control) = (byte & 0x80 != 0, byte & 0x08 != 0);
                    self.in_message = if is_control { self.in_message } else { !is_last };
                    (Frame::Length, at + 1)
                }
                Frame::Length => (length(byte), at + 1),
                Frame::LongLength(1, length, least, mask) => {
                    let length = length << 8 | u64::from(byte);
                    if !(least..=LENGTH_MAX).contains(&length) {
                        self.intake.0.is_misframed.store(true, Ordering::Relaxed);
                        return at;
                    }
                    (Frame::rest(length + mask), at + 1)
                }
                Frame::LongLength(left, length, least, mask) => {
                    (Frame::LongLength(left - 1, length << 8 | u64::from(byte), least, mask), at + 1)
                }
                Frame::Rest(left) => {
                    let here = left.min((bytes.len() - at) as u64);
                    (Frame::rest(left - here), at + here as usize)
                }
            };
        }
        bytes.len()
    }

    /// Whether nothing may be handed on any more.
    pub fn is_over(&self) -> bool {
        self.intake.has_flooded() || self.intake.is_misframed()
    }

    fn allow(&mut self) -> bool {
        let owed = self.intake.0.owed.swap(0, Ordering::Relaxed);
        self.balance.take(owed.saturating_add(1), &self.bounds)
    }
}

impl Frame {
    fn rest(bytes: u64) -> Self {
        if bytes == 0 { Self::Start } else { Self::Rest(bytes) }
    }
}

/// What follows a frame's second byte.
fn length(byte: u8) -> Frame {
    let mask = if byte & 0x80 == 0 { 0 } else { 4 };
    match byte & 0x7f {
        126 => Frame::LongLength(2, 0, 126, mask),
        127 => Frame::LongLength(8, 0, 1 << 16, mask),
        short => Frame::rest(u64::from(short) + mask),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn frame(payload: usize) -> Vec<u8> {
        let mut frame = vec![0x89];
        match payload {
            0..126 => frame.push(0x80 | payload as u8),
            126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((payload as u64).to_be_bytes());
            }
        }
        // Mask and payload may look like anything.
        frame.extend(std::iter::repeat_n(0x89, 4 + payload));
        frame
    }

    fn websocket() -> Counter {
        let intake = Intake::default();
        let mut counter = Counter::new(intake.clone(), Bounds::default());
        assert_eq!(counter.take(b"GET / HTTP/1.1\r\n\r"), 17);
        assert_eq!(counter.take(b"\n"), 1);
        assert!(intake.upgrade());
        counter
    }

    #[test]
    fn frames_before_the_handshakes_answer_are_noticed() {
        let intake = Intake::default();
        Counter::new(intake.clone(), Bounds::default()).take(b"GET / HTTP/1.1\r\n\r\n\x89\x80mask");
        assert!(!intake.upgrade());
    }

    #[test]
    fn a_length_is_said_as_shortly_as_it_can_be() {
        let bytes = |length: &[u8]| [&[0x81], length, &[0; 4]].concat();
        let long = |length: u64| [&[0x80 | 127][..], &length.to_be_bytes()].concat();
        for (length, is_misframed) in [
            (vec![0x80 | 126, 0, 125], true),
            (vec![0x80 | 126, 0, 126], false),
            (long(65_535), true),
            (long(65_536), false),
            (long(1 << 63), true),
        ] {
            let mut counter = websocket();
            let frame = bytes(&length);
            let taken = counter.take(&frame);
            assert_eq!((counter.intake.is_misframed(), taken < frame.len()), (is_misframed, is_misframed));
        }
    }

    #[test]
    fn a_balance_fills_by_the_second() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let bounds = Bounds::default();
        assert!(Balance { left: 0.0, at: ago(2) }.take(40, &bounds));
        assert!(!Balance { left: 1.0, at: Instant::now() }.take(21, &bounds));
        assert!(!Balance { left: 0.0, at: ago(3_600) }.take(41, &bounds), "more than the burst");
    }

    #[test]
    fn a_socket_may_rest_between_two_messages_alone() {
        let (whole, first, last) =
            ([0x81, 0x80, 1, 2, 3, 4], [0x01, 0x80, 1, 2, 3, 4], [0x80, 0x80, 1, 2, 3, 4]);
        let mut counter = websocket();
        let rests = |counter: &Counter| counter.between_messages().is_some();
        assert!(rests(&counter) && !counter.intake().has_flooded());
        counter.take(&whole[..3]);
        assert!(!rests(&counter), "half a frame");
        counter.take(&whole[3..]);
        assert!(rests(&counter));
        counter.take(&first);
        counter.take(&frame(0));
        assert!(!rests(&counter), "half a message, with a ping in it");
        counter.take(&last);
        assert!(rests(&counter));
        counter.intake().charge(1);
        assert!(!rests(&counter), "it owes for a message");
        counter.take(&whole);
        assert!(rests(&counter));
        // It goes on where it was: what it had sent counts.
        let mut on = Counter::go_on(counter.between_messages().unwrap(), Bounds::default());
        let sent = (0..100).take_while(|_| on.take(&whole) == whole.len()).count();
        assert!((30..40).contains(&sent) && on.intake().has_flooded() && !rests(&on), "{sent}");
    }

    #[test]
    fn a_costly_message_is_many_frames() {
        let mut counter = websocket();
        let all = frame(0).len();
        let mut sent = 0;
        while counter.take(&frame(0)) == all {
            counter.intake.charge(3);
            sent += 1;
        }
        // 40 at once, each 4 but for the first, which owes nothing yet; one more if the machine took its time.
        assert!((10..=12).contains(&sent), "{sent}");
    }

    proptest! {
        /// However the bytes are cut, the burst's frames pass and the one after it does not.
        #[test]
        fn every_frame_counts_however_it_comes(
            sizes in prop::collection::vec(prop_oneof![9 => 0usize..3, 9 => 120usize..130, 2 => Just(65_536)], 60),
            cut in 1usize..5_000,
        ) {
            let mut counter = websocket();
            let bytes = sizes.iter().map(|size| frame(*size)).collect::<Vec<_>>().concat();
            let mut passed = 0;
            for chunk in bytes.chunks(cut) {
                let taken = counter.take(chunk);
                passed += taken;
                if taken < chunk.len() {
                    break;
                }
            }
            prop_assert!(counter.intake.has_flooded());
            // A frame or two more, if the machine took its time.
            let whole = |count: usize| sizes[..count].iter().map(|size| frame(*size).len()).sum::<usize>();
            let burst = Bounds::default().messages_burst as usize;
            prop_assert!((whole(burst)..=whole(60)).contains(&passed), "{passed}");
        }
    }
}
