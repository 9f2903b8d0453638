//! A history in little memory: 40 bytes an operation, sorted by visitor and time.

use crate::{
    facts::{Micros, fingerprint},
    history::{Entry, Event, Part, Token},
};
use std::collections::HashMap;
use uuid::Uuid;
use wire::{
    domain::{booking::BookingStatus, ids::Seq, phase::Phase, place::LapseReason},
    protocol::server::PlaceState,
};

/// Where an operation is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The file.
    pub part: u16,
    /// Its line.
    pub line: u32,
}

/// One operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Op {
    pub at: Micros,
    pub visitor: u32,
    pub connection: u32,
    pub spot: Spot,
    pub what: What,
}

/// What happened; what is long lies beside, by its index.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Arrive,
    Join,
    Joined(u32),
    Rank(u64),
    Granted { expires_ms: u32, claim_ms: Option<u32> },
    Lapsed(LapseReason),
    Seats,
    Redeem { request: u32, token: Token },
    Booking(u32),
    Refused { request: u32, reason: u16 },
    Leave,
    Phase(Phase),
    Breach(u32),
    Cut(Option<u16>),
}

/// A `joined`.
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinedOp {
    pub visitor: Option<u64>,
    pub seq: Option<Seq>,
    pub epoch: u64,
    pub state: PlaceState,
    pub rank: u64,
    pub phase: Phase,
}

/// A `booking`.
#[derive(Clone, Debug)]
pub(super) struct BookingOp {
    pub request: Option<u32>,
    pub booking: Uuid,
    pub seats: Box<[u32]>,
    pub status: BookingStatus,
    pub hold_ms: Option<u64>,
}

/// Words that occur often, each kept once.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: HashMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    pub fn of(&mut self, name: &str) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let id = self.names.len() as u32;
        self.by_name.insert(name.into(), id);
        self.names.push(name.into());
        id
    }

    pub fn name(&self, id: u32) -> &str {
        self.names.get(id as usize).map_or("?", String::as_str)
    }
}

/// The histories of a run, as they are taken in.
#[derive(Debug, Default)]
pub struct Log {
    parts: Vec<Part>,
    /// Entries of all parts up to each one's end.
    taken: Vec<usize>,
    ops: Vec<Op>,
    pub(super) joined: Vec<JoinedOp>,
    pub(super) bookings: Vec<BookingOp>,
    pub(super) seats: Names,
    pub(super) reasons: Names,
    pub(super) breaches: Vec<String>,
}

impl Log {
    /// Takes in an entry of the part that will be [`Log::part_done`] next.
    pub fn take(&mut self, line: u64, Entry(at, visitor, connection, event): Entry) {
        let spot = Spot {
            part: u16::try_from(self.parts.len()).unwrap_or(u16::MAX),
            line: u32::try_from(line).unwrap_or(u32::MAX),
        };
        let what = self.compact(event);
        self.ops.push(Op { at, visitor, connection, spot, what });
    }

    /// The part whose entries were taken last is over.
    pub fn part_done(&mut self, part: Part) {
        self.parts.push(part);
        self.taken.push(self.ops.len());
    }

    /// Parts that have not as many entries as their ends speak of: which, how many, how many it should be.
    pub(super) fn miscounted(&self) -> impl Iterator<Item = (&Part, u64, u64)> {
        let before = [0].iter().chain(&self.taken);
        let counts = self.taken.iter().zip(before).map(|(upto, from)| (upto - from) as u64);
        let counted = self.parts.iter().zip(counts);
        counted
            .filter_map(|(part, count)| Some((part, count, part.footer.as_ref()?.entries)))
            .filter(|(_, count, said)| count != said)
    }

    /// No entry will come any more.
    pub fn sort(&mut self) {
        self.ops.sort_unstable_by_key(|op| (op.visitor, op.at, op.spot.line));
    }

    fn compact(&mut self, event: Event) -> What {
        match event {
            Event::Arrive { .. } => What::Arrive,
            Event::Join { .. } => What::Join,
            Event::Joined { visitor, seq, epoch, state, rank, total: _, phase } => {
                let visitor = visitor.as_deref().map(fingerprint);
                self.joined.push(JoinedOp { visitor, seq, epoch, state, rank, phase });
                What::Joined(self.joined.len() as u32 - 1)
            }
            Event::Rank(rank) => What::Rank(rank),
            Event::Granted { expires_in_ms, claim_in_ms, .. } => {
                let short = |ms| u32::try_from(ms).unwrap_or(u32::MAX);
                What::Granted { expires_ms: short(expires_in_ms), claim_ms: claim_in_ms.map(short) }
            }
            Event::Lapsed(reason) => What::Lapsed(reason),
            Event::Seats => What::Seats,
            Event::Redeem { request, token, .. } => What::Redeem { request: short(&request), token },
            Event::Booking { request, booking, seats, status, hold_expires_in_ms } => {
                let seats = seats.iter().map(|seat| self.seats.of(seat)).collect();
                let (request, hold_ms) = (request.as_deref().map(short), hold_expires_in_ms);
                self.bookings.push(BookingOp { request, booking, seats, status, hold_ms });
                What::Booking(self.bookings.len() as u32 - 1)
            }
            Event::Refused { request, reason, .. } => {
                let reason = u16::try_from(self.reasons.of(&reason)).unwrap_or(u16::MAX);
                What::Refused { request: short(&request), reason }
            }
            Event::Leave => What::Leave,
            Event::Phase(phase) => What::Phase(phase),
            Event::Breach(text) => {
                self.breaches.push(text);
                What::Breach(self.breaches.len() as u32 - 1)
            }
            Event::Cut(code) => What::Cut(code),
        }
    }

    /// The files.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// How many operations.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Each visitor's operations in order of time.
    pub(super) fn visitors(&self) -> impl Iterator<Item = &[Op]> {
        self.ops.chunk_by(|a, b| a.visitor == b.visitor)
    }

    /// How late the generators were at worst; nothing if one did not live to say so.
    pub(super) fn lag_us(&self) -> Option<Micros> {
        let lags = self.parts.iter().map(|part| part.footer.as_ref().map(|footer| footer.lag_us));
        lags.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    pub(super) fn place_of(&self, spot: Spot) -> String {
        let file = self.parts.get(usize::from(spot.part)).map(|part| part.path.display().to_string());
        format!("{}:{}", file.unwrap_or_default(), spot.line)
    }
}

/// Four bytes that stand for a request's id: it has to be told only from the few others of its visitor.
fn short(request: &str) -> u32 {
    fingerprint(request) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_small() {
        assert!(size_of::<Op>() <= 40, "{}", size_of::<Op>());
    }
}
