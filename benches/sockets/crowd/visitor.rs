//! One visitor: what he hears, and what he does then.

use super::{
    Crowded,
    door::cut,
    frames::{self, Frame},
};
use rustix::fd::OwnedFd;

/// How far he is.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub enum Stage {
    #[default]
    Away,
    Connects,
    Upgrades,
    Joins,
    Waits,
    /// It is his turn.
    Granted,
}

/// Nothing was told.
const NONE: u32 = u32::MAX;
/// The page's first pause before it comes back, at random up to this; it doubles …
const PAUSE_MS: u32 = 500;
/// … up to this.
const PAUSE_MS_MAX: u32 = 15_000;
/// Ranks below this are near: they have a pace of their own.
const NEAR: u32 = 1_000;

pub struct Visitor {
    pub fd: Option<OwnedFd>,
    /// Which connection of his this is: what is heard of an earlier one counts no more.
    pub turn: u32,
    /// As last told; kept while he is away.
    rank: u32,
    /// When he was told, or came.
    pub told_ms: u32,
    pub stage: Stage,
    tries: u8,
    /// His token.
    pub place: Box<[u8]>,
}

impl Default for Visitor {
    fn default() -> Self {
        let (turn, told_ms, tries) = (0, 0, 0);
        Self { fd: None, turn, rank: NONE, told_ms, stage: Stage::Away, tries, place: Box::default() }
    }
}

impl Visitor {
    pub fn is_near(&self) -> bool {
        self.rank < NEAR
    }
}

impl Crowded {
    /// The answer to the upgrade.
    pub(super) fn upgraded(&mut self, n: u32, head: &[u8]) {
        if !head.starts_with(b"HTTP/1.1 101") {
            let status = String::from_utf8_lossy(head.get(9..12).unwrap_or_default()).into_owned();
            self.notes.refused += 1;
            return self.broke(n, &format!("answered {status}"));
        }
        let visitor = &mut self.visitors[n as usize];
        if !self.manners.joins {
            return self.comes_in(n);
        }
        visitor.stage = Stage::Joins;
        let Some(fd) = &visitor.fd else { return };
        let sent = match &visitor.place[..] {
            [] => frames::send_text(fd, &[br#"{"type":"join"}"#]),
            place => frames::send_text(fd, &[br#"{"type":"join","place":""#, place, br#""}"#]),
        };
        if let Err(error) = sent {
            self.broke(n, &format!("join: {error}"));
        }
    }

    /// He has what he came for.
    pub(super) fn comes_in(&mut self, n: u32) {
        let now = self.now();
        let visitor = &mut self.visitors[n as usize];
        self.notes.came(now, now.saturating_sub(visitor.told_ms));
        self.underway -= 1;
        (visitor.stage, visitor.tries, visitor.told_ms) = (Stage::Waits, 0, now);
    }

    pub(super) fn take(&mut self, n: u32, frame: Frame) {
        match frame {
            Frame::Text(message) => self.told(n, message),
            Frame::Ping(payload) => {
                self.notes.pings += 1;
                let fd = self.visitors[n as usize].fd.as_ref();
                fd.map(|fd| frames::send_pong(fd, payload));
            }
            Frame::Close(code) => self.broke(n, &format!("closed {code}")),
            Frame::Other => {}
        }
    }

    fn told(&mut self, n: u32, message: &[u8]) {
        const HEAD: usize = br#"{"type":""#.len();
        match message.get(HEAD..HEAD + 4) {
            Some(b"rank") => self.ranked(n, message),
            Some(b"join") => self.joined(n, message),
            Some(b"gran") => self.granted(n),
            // He left, or his turn is over: a new one comes in his stead.
            Some(b"laps") => {
                self.notes.lapsed += 1;
                self.visitors[n as usize].place = Box::default();
                self.close(n);
                self.come_at(self.now() + self.manners.away_ms, n);
            }
            Some(b"reco") => {
                let after = frames::number(message, b"\"after_ms\":").unwrap_or(0);
                self.notes.sent_on += 1;
                self.close(n);
                self.come_at(self.now() + after, n);
            }
            Some(b"erro") => {
                let code = frames::after(message, b"\"code\":\"", b'"').unwrap_or_default();
                self.broke(n, &String::from_utf8_lossy(code));
            }
            _ => self.notes.others += 1,
        }
    }

    pub(super) fn ranked(&mut self, n: u32, message: &[u8]) {
        let (now, rank) = (self.now(), frames::number(message, b"\"rank\":").unwrap_or(NONE));
        let visitor = &mut self.visitors[n as usize];
        let age = now.saturating_sub(visitor.told_ms);
        self.notes.ranked(age, visitor.is_near(), rank > visitor.rank, message.len());
        (visitor.rank, visitor.told_ms) = (rank, now);
    }

    fn joined(&mut self, n: u32, message: &[u8]) {
        let rank = frames::number(message, b"\"rank\":").unwrap_or(NONE);
        let waits = frames::after(message, b"\"state\":\"", b'"') == Some(b"waiting");
        let visitor = &mut self.visitors[n as usize];
        let (returns, before) = (!visitor.place.is_empty(), visitor.rank);
        visitor.rank = rank;
        if self.manners.keeps_places {
            visitor.place = frames::after(message, b"\"place\":\"", b'"').unwrap_or_default().into();
        }
        if visitor.stage == Stage::Joins {
            self.comes_in(n);
        }
        // Who comes back stands where he stood, or further ahead.
        self.notes.joined(returns, returns && waits && rank > before);
    }

    /// He does what he is told to with it.
    fn granted(&mut self, n: u32) {
        self.notes.granted += 1;
        let visitor = &mut self.visitors[n as usize];
        visitor.stage = Stage::Granted;
        if let (true, Some(fd)) = (self.manners.leaves, &visitor.fd) {
            let _ = frames::send_text(fd, &[br#"{"type":"leave"}"#]);
        }
    }

    /// The connection ended, and not because he wanted it.
    pub(super) fn broke(&mut self, n: u32, why: &str) {
        let was_in = matches!(self.visitors[n as usize].stage, Stage::Waits | Stage::Granted);
        self.notes.dropped += u64::from(was_in);
        self.notes.trouble(why);
        self.close(n);
        self.come_later(n);
    }

    pub(super) fn close(&mut self, n: u32) -> Option<OwnedFd> {
        let visitor = &mut self.visitors[n as usize];
        if matches!(visitor.stage, Stage::Connects | Stage::Upgrades | Stage::Joins) {
            self.underway -= 1;
        }
        visitor.stage = Stage::Away;
        if visitor.place.is_empty() {
            visitor.rank = NONE;
        }
        self.tails.remove(&n);
        visitor.fd.take()
    }

    /// As the page does: after a pause that is drawn, and doubles.
    pub(super) fn come_later(&mut self, n: u32) {
        let tries = self.visitors[n as usize].tries;
        self.visitors[n as usize].tries = tries.saturating_add(1);
        let up_to = (PAUSE_MS << tries.min(8)).min(PAUSE_MS_MAX);
        let pause = self.random(up_to);
        self.come_at(self.now() + pause, n);
    }

    /// In the order of their times.
    pub(super) fn come_at(&mut self, at: u32, n: u32) {
        let behind = self.due.partition_point(|(due, _)| *due <= at);
        self.due.insert(behind, (at, n));
    }

    /// All connections end at once; everyone comes back as the page does.
    pub(super) fn cut(&mut self) {
        let now = self.now();
        self.notes.begin_coming(now, true);
        let mut back = Vec::with_capacity(self.visitors.len());
        for n in 0..self.visitors.len() as u32 {
            if let Some(fd) = self.close(n) {
                cut(fd);
                back.push((now + self.random(PAUSE_MS), n));
            }
        }
        self.due.extend(back);
        self.due.make_contiguous().sort_unstable();
    }
}
