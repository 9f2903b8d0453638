//! Visitors who are none: what they try while they wait must be refused, and what they try afterwards change nothing.

use super::random::Random;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use wire::protocol::client::{BestMessage, ClientMessage, RedeemMessage};

/// Between one trick and the next, from and to.
const PACE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
/// Pings in one go: more than a socket may send.
const FLOOD: u32 = 60;
/// A token that nobody signed: the shape is right.
const FORGED: &str = "k1.eyJrIjoiYm9va2luZyJ9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Tokens that others were given: what leaks in a chat, or is sold.
#[derive(Debug, Default)]
pub struct Pot(Mutex<Option<Box<str>>>);

impl Pot {
    /// A token leaks.
    pub fn put(&self, token: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.into());
    }

    fn look(&self) -> Option<Box<str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How far a bot is.
#[derive(Clone, Copy, Debug)]
pub struct Bot {
    /// When it tries the next trick.
    pub next: Instant,
    tricks: u32,
    /// It has tried its spent token again.
    pub replayed: bool,
}

/// The request ids of tricks; none of a person's begins so.
pub const TRICK: &str = "trick";

impl Bot {
    /// A bot that begins now.
    pub fn new(now: Instant) -> Self {
        Self { next: now, tricks: 0, replayed: false }
    }

    /// The next thing that it tries while it waits.
    pub fn trick(&mut self, pot: &Pot, now: Instant, random: &mut Random) -> ClientMessage {
        let n = self.tricks;
        self.tricks += 1;
        self.next = now + random.time(PACE);
        match n {
            0 => redeem("forged", FORGED.into()),
            1 => ClientMessage::Seats {},
            2 => redeem("foreign", pot.look().unwrap_or_else(|| FORGED.into())),
            _ => {
                if (3..3 + FLOOD).contains(&n) {
                    self.next = now;
                }
                ClientMessage::Ping {}
            }
        }
    }
}

fn redeem(kind: &str, token: Box<str>) -> ClientMessage {
    ClientMessage::Redeem(RedeemMessage {
        request: format!("{TRICK}-{kind}"),
        token: token.into(),
        seats: None,
        best: Some(BestMessage { count: 1, category: None, together: false }),
    })
}
