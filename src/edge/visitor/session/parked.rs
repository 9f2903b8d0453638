//! A conversation without a task. Who waits says nothing for an hour, and hears one number: he costs a file and what is to be
//! known of him. Ranks and what all hear are written there and then, pings are answered; anything else wakes the session.

use super::{
    Session,
    talk::{Step, Talk},
};
use crate::{
    edge::listener::Resting,
    metrics,
    room::sockets::{News, Parked, RankUpdate, Socket, Took},
};
use std::{
    io::{ErrorKind, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
};
use wire::{domain::line::Position, protocol::server::ServerMessage};

/// The first byte of a whole text frame, ping, pong.
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// A control frame's payload has at most so many bytes, and its length is one byte (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: usize = 125;
const MASK_BYTES: usize = 4;

/// A parked conversation.
pub(super) struct ParkedTalk {
    pub talk: Talk,
    pub resting: Resting,
    /// The peer has hung up.
    pub is_over: bool,
}

impl AsFd for ParkedTalk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.resting.stream.as_fd()
    }
}

impl Parked for ParkedTalk {
    fn hear(&mut self, position: Position, news: &News) -> Took {
        match self.talk.weigh(position, news) {
            Step::Nothing => Took::Silent,
            Step::Ping => self.write(&[PING, 0]),
            Step::Say(message) => self.say(&message),
            Step::Do(_) => Took::Not,
        }
    }

    fn show(&mut self, update: RankUpdate, asks: bool) -> Took {
        let Some(message) = self.talk.rank(update) else { return Took::Silent };
        metrics::rank_push(update.at.elapsed());
        let mut frames = text_frame(&message.to_json());
        if asks {
            frames.extend([PING, 0]);
        }
        self.write(&frames)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Took {
        let read = match self.resting.stream.read(buffer) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Took::Silent;
            }
            read => read.unwrap_or(0),
        };
        self.is_over = read == 0;
        let mut rest = &mut buffer[..read];
        let mut took = if self.is_over { Took::Not } else { Took::Silent };
        while took != Took::Not && took != Took::Full && !rest.is_empty() {
            let Some((first, payload)) = control_frame(rest) else {
                took = Took::Not;
                break;
            };
            let bytes = 2 + MASK_BYTES + payload;
            if !self.resting.balance.take(1, &self.talk.edge.bounds) {
                took = Took::Not;
                break;
            }
            let (frame, others) = rest.split_at_mut(bytes);
            if first == PING {
                took = self.write(&answer(frame));
            }
            rest = others;
        }
        self.resting.unread = rest.to_vec();
        took
    }

    fn wake(self: Box<Self>, socket: Arc<Socket>) {
        if self.is_over {
            // Thousands a second, where a crowd comes and goes: there is nothing left that a task would wait for.
            return self.talk.room.detach(&self.talk.visitor, &socket);
        }
        tokio::spawn(Session::wake(*self, socket));
    }
}

/// A ping or pong at the front that is whole and needs no more than that: its first byte, and how long its payload is.
fn control_frame(bytes: &[u8]) -> Option<(u8, usize)> {
    let (first, length) = (*bytes.first()?, *bytes.get(1)?);
    let payload = usize::from(length & 0x7f);
    let is_masked = length & 0x80 != 0;
    let is_whole = bytes.len() >= 2 + MASK_BYTES + payload;
    let fits = matches!(first, PING | PONG) && is_masked && payload <= CONTROL_BYTES_MAX && is_whole;
    fits.then_some((first, payload))
}

/// The pong for a ping, which says the same (RFC 6455, 5.5.3).
fn answer(ping: &[u8]) -> Vec<u8> {
    let (mask, payload) = ping[2..].split_at(MASK_BYTES);
    let said = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [PONG, payload.len() as u8].into_iter().chain(said).collect()
}

impl ParkedTalk {
    fn say(&mut self, message: &ServerMessage) -> Took {
        self.write(&text_frame(&message.to_json()))
    }

    /// Writes a frame; what the peer does not take now is kept for the session, which waits.
    fn write(&mut self, frame: &[u8]) -> Took {
        let written = loop {
            match self.resting.stream.write(frame) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written.unwrap_or(0),
            }
        };
        if written == frame.len() {
            return Took::Said;
        }
        self.resting.unwritten = frame[written..].to_vec();
        Took::Full
    }
}

fn text_frame(text: &str) -> Vec<u8> {
    let length = text.len();
    let mut frame = Vec::with_capacity(length + 10);
    frame.push(TEXT);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(text.as_bytes());
    frame
}
