//! Reads a visitor's operations in order of time and writes down what they amount to. One pass; each connection is
//! followed by itself, since a visitor may have two for a moment, and what one of them hears may be older.

use super::{
    facts::{CameBack, End, Facts, Grant, How, Moment, Place, Replaced, Shown, Visitor, Wait},
    log::{JoinedOp, Log, Op, What},
};
use crate::{
    facts::{Micros, NEVER},
    history::Token,
};
use wire::{domain::place::LapseReason, protocol::server::PlaceState};

/// Time that the line may need to hear of a booking: until then its place may still look granted.
const TOLD_US: Micros = 10_000_000;
/// A first use sent so shortly before its deadline may come too late.
const CLAIM_MARGIN_US: Micros = 2_000_000;

/// What all visitors' operations amount to. `grant_ttl_us`: how long grants live, if that is known.
pub(super) fn facts(log: &Log, grant_ttl_us: Option<Micros>) -> Facts {
    let mut facts = Facts::default();
    for ops in log.visitors() {
        let mut walk = Walk::new(log, &mut facts, ops[0].visitor, grant_ttl_us);
        ops.iter().for_each(|op| walk.step(op));
        walk.finish();
    }
    facts
}

struct Pending {
    connection: u32,
    sent: Moment,
    cut: bool,
}

#[derive(Default)]
struct Connection {
    number: u32,
    epoch: u64,
    place: Option<u32>,
    waiting: Option<Waiting>,
    redeems: Vec<(u32, Token)>,
}

struct Waiting {
    from: Micros,
    heard: Moment,
}

struct Walk<'a> {
    log: &'a Log,
    facts: &'a mut Facts,
    visitor: Visitor,
    grant_ttl_us: Option<Micros>,
    joins: Vec<Pending>,
    connections: Vec<Connection>,
    grant: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(log: &'a Log, facts: &'a mut Facts, number: u32, grant_ttl_us: Option<Micros>) -> Self {
        let first = facts.places.len() as u32;
        let visitor = Visitor {
            number,
            id: None,
            places: (first, first),
            unknown_join: false,
            unknown_redeem: false,
            unreadable: false,
            known_before: false,
            granted: false,
        };
        Self { log, facts, visitor, grant_ttl_us, joins: Vec::new(), connections: Vec::new(), grant: None }
    }

    fn connection(&mut self, number: u32) -> usize {
        if let Some(known) = self.connections.iter().position(|c| c.number == number) {
            return known;
        }
        self.connections.push(Connection { number, ..Connection::default() });
        self.connections.len() - 1
    }

    fn latest(&self) -> Option<u32> {
        (self.visitor.places.1 > self.visitor.places.0).then(|| self.visitor.places.1 - 1)
    }

    fn step(&mut self, op: &Op) {
        let now = Moment { at: op.at, spot: op.spot };
        let c = self.connection(op.connection);
        match op.what {
            What::Join => self.joins.push(Pending { connection: op.connection, sent: now, cut: false }),
            What::Joined(index) => self.joined(c, now, &self.log.joined[index as usize]),
            What::Rank(rank) => self.rank(c, now, rank),
            What::Granted { expires_ms, claim_ms } => self.granted(c, now, expires_ms, claim_ms),
            What::Lapsed(reason) => self.lapsed(c, now, reason),
            What::Seats => self.used(op.at),
            What::Redeem { request, token } => {
                self.used(op.at);
                self.grant_may_end(op.at);
                self.connections[c].redeems.push((request, token));
            }
            What::Booking(index) => self.booked(c, now, self.log.bookings[index as usize].request),
            What::Refused { request, .. } => {
                self.connections[c].redeems.retain(|(r, _)| *r != request);
            }
            What::Leave => self.leave(c, op.at),
            What::Cut(_) => self.cut(c),
            What::Arrive | What::Breach(_) | What::Phase(_) => {}
        }
    }

    fn joined(&mut self, c: usize, now: Moment, joined: &JoinedOp) {
        let number = self.connections[c].number;
        let answered = self.joins.iter().position(|join| join.connection == number);
        let answered = answered.map(|at| self.joins[at].sent);
        let drawn = self.joins.iter().map(|join| join.sent).min_by_key(|sent| sent.at).unwrap_or(now);
        let first = self.visitor.id.is_none() && self.latest().is_none();
        if first && joined.state != PlaceState::Waiting && !self.joins.iter().any(|join| join.cut) {
            self.visitor.known_before = true;
        }
        self.joins.retain(|join| join.connection != number && !join.cut);
        self.visitor.id = self.visitor.id.or(joined.visitor);
        self.facts.epochs.entry(joined.epoch).and_modify(|at| *at = now.at.min(*at)).or_insert(now.at);
        let place = match joined.seq {
            Some(seq) => {
                let fresh = answered.is_some_and(|sent| sent.spot == drawn.spot);
                Some(self.place(seq, joined, drawn, now, (number, fresh)))
            }
            None if joined.state == PlaceState::Booked => self.latest(),
            None => {
                self.visitor.unreadable = true;
                None
            }
        };
        let connection = &mut self.connections[c];
        let goes_on = connection.place == place && connection.epoch == joined.epoch;
        if !goes_on || joined.state != PlaceState::Waiting {
            self.wait_over(c, None);
        }
        let connection = &mut self.connections[c];
        (connection.place, connection.epoch) = (place, joined.epoch);
        let Some(index) = place else { return };
        self.came_back(index, joined, answered, now);
        let place = self.facts.place(index);
        let known = place.joined.at < now.at || !place.fresh;
        match joined.state {
            PlaceState::Waiting => {
                let connection = &mut self.connections[c];
                let from = connection.waiting.take().map_or(now.at, |waiting| waiting.from);
                connection.waiting = Some(Waiting { from, heard: now });
                let since = answered.map(|sent| sent.at);
                let (epoch, rank, moment) = (joined.epoch, joined.rank, now);
                let shown = Shown { place: index, epoch, rank, moment, since, maybe_returned: known };
                self.facts.shown.push(shown);
                // Who is served ahead of the line, at rank 0, may have missed a turn already.
                self.facts.places[index as usize].first_turn = !known || rank > 0;
            }
            PlaceState::Granted => {
                self.visitor.granted = true;
                let place = &mut self.facts.places[index as usize];
                (place.granted, place.gone) = (true, place.gone.min(now.at));
            }
            PlaceState::Booked if joined.seq.is_some() || self.facts.place(index).granted => {
                self.end(index, now, joined.epoch, How::Booked);
            }
            // An answered booking of an earlier place, or one whose redeem's answer was lost.
            PlaceState::Booked => {
                let place = &mut self.facts.places[index as usize];
                (place.granted, place.gone) = (true, place.gone.min(now.at));
            }
        }
    }

    /// The place of that number; a new one if the visitor had none such.
    fn place(
        &mut self,
        seq: u64,
        joined: &JoinedOp,
        drawn: Moment,
        now: Moment,
        (connection, fresh): (u32, bool),
    ) -> u32 {
        let (from, until) = self.visitor.places;
        if let Some(known) = (from..until).find(|index| self.facts.place(*index).seq == seq) {
            return known;
        }
        if let Some(before) = self.latest().map(|index| (index, self.facts.place(index))) {
            let (index, place) = before;
            if place.open() && !place.unsure && place.first_turn && place.epoch == joined.epoch {
                self.facts.replaced.push(Replaced { place: index, seq, by: now });
            }
        }
        self.facts.places.push(Place {
            visitor: self.visitor.number,
            seq,
            epoch: joined.epoch,
            drawn,
            joined: now,
            connection,
            fresh,
            gone: NEVER,
            in_line_until: 0,
            granted: false,
            turns: 0,
            missed: 0,
            leave_sent: false,
            first_turn: true,
            unsure: false,
            end: None,
        });
        self.visitor.places.1 += 1;
        until
    }

    /// Whether a place that had ended stands again, by the answer to a join that was sent after its end was known.
    fn came_back(&mut self, index: u32, joined: &JoinedOp, answered: Option<Moment>, now: Moment) {
        let (Some(end), Some(sent)) = (self.facts.place(index).end, answered) else { return };
        let grace = match (end.how, joined.state) {
            (_, PlaceState::Booked) => return,
            (How::Booked, _) => TOLD_US,
            (How::Lapsed, _) if end.epoch != joined.epoch => return,
            (How::Lapsed, _) => 0,
        };
        if joined.seq.is_some() && sent.at > end.moment.at + grace {
            self.facts.came_back.push(CameBack { place: index, end: end.moment, again: now });
        }
    }

    fn rank(&mut self, c: usize, now: Moment, rank: u64) {
        let connection = &mut self.connections[c];
        let (Some(place), Some(waiting)) = (connection.place, &mut connection.waiting) else { return };
        // Only who is in the line is shown his rank: what else he hears does not say that he still waits.
        waiting.heard = now;
        let first = self.facts.place(place);
        let maybe_returned = first.connection != connection.number || first.granted || !first.fresh;
        let (epoch, since) = (connection.epoch, None);
        self.facts.shown.push(Shown { place, epoch, rank, moment: now, since, maybe_returned });
    }

    fn granted(&mut self, c: usize, now: Moment, expires_ms: u32, claim_ms: Option<u32>) {
        self.visitor.granted = true;
        let Connection { place: Some(index), epoch, ref waiting, .. } = self.connections[c] else { return };
        let us = |ms: u32| Micros::from(ms) * 1000;
        // What the grant's life lacks had passed when the message was sent.
        let age = self.grant_ttl_us.map_or(0, |ttl| ttl.saturating_sub(us(expires_ms)));
        let decided_by = now.at.saturating_sub(age);
        let waited = waiting.is_some();
        self.wait_over(c, Some(Moment { at: decided_by, spot: now.spot }));
        let place = &mut self.facts.places[index as usize];
        (place.granted, place.gone) = (true, place.gone.min(now.at));
        if place.turns > place.missed {
            return;
        }
        place.turns = place.missed + 1;
        self.grant = Some(self.facts.grants.len());
        self.facts.grants.push(Grant {
            place: index,
            epoch,
            seen: now,
            decided_by,
            waited,
            expires_at: now.at + us(expires_ms),
            claim_at: claim_ms.map_or(NEVER, |ms| now.at + us(ms)),
            ended_by: NEVER,
        });
    }

    /// The turn was used.
    fn used(&mut self, at: Micros) {
        if let Some(grant) = self.grant.map(|grant| &mut self.facts.grants[grant])
            && at + CLAIM_MARGIN_US < grant.claim_at
        {
            grant.claim_at = NEVER;
        }
    }

    fn grant_may_end(&mut self, at: Micros) {
        if let Some(grant) = self.grant.map(|grant| &mut self.facts.grants[grant]) {
            grant.ended_by = grant.ended_by.min(at);
        }
    }

    fn lapsed(&mut self, c: usize, now: Moment, reason: LapseReason) {
        self.wait_over(c, None);
        self.grant_may_end(now.at);
        let Connection { place: Some(index), epoch, .. } = self.connections[c] else { return };
        if reason != LapseReason::Missed {
            self.end(index, now, epoch, How::Lapsed);
            return;
        }
        let place = &mut self.facts.places[index as usize];
        // Told to two connections, it is still one.
        if place.turns > place.missed {
            place.missed += 1;
            if place.missed > 1 {
                self.facts.missed_again.push((index, now));
            }
        }
    }

    fn booked(&mut self, c: usize, now: Moment, request: Option<u32>) {
        let connection = &mut self.connections[c];
        let Some(redeem) = connection.redeems.iter().position(|(r, _)| Some(*r) == request) else { return };
        let (_, token) = connection.redeems.swap_remove(redeem);
        let (place, epoch) = (connection.place, connection.epoch);
        if let Some(index) = place.filter(|index| self.facts.place(*index).granted && token == Token::Own) {
            self.wait_over(c, None);
            self.end(index, now, epoch, How::Booked);
        }
    }

    fn end(&mut self, index: u32, moment: Moment, epoch: u64, how: How) {
        self.grant_may_end(moment.at);
        let place = &mut self.facts.places[index as usize];
        place.gone = place.gone.min(moment.at);
        place.end.get_or_insert(End { moment, epoch, how });
    }

    fn leave(&mut self, c: usize, at: Micros) {
        self.grant_may_end(at);
        self.wait_over(c, None);
        if let Some(index) = self.latest() {
            self.facts.places[index as usize].leave_sent = true;
        }
    }

    /// The wait on this connection is over: by a grant at that time, or nothing is known after what was heard last.
    fn wait_over(&mut self, c: usize, granted: Option<Moment>) {
        let connection = &mut self.connections[c];
        let (Some(place), Some(waiting)) = (connection.place, connection.waiting.take()) else { return };
        let (epoch, number) = (connection.epoch, connection.number);
        let Moment { at: until, spot: last } = granted.unwrap_or(waiting.heard);
        self.facts.waits.push(Wait { place, epoch, from: waiting.from, until, last });
        let place = &mut self.facts.places[place as usize];
        // Who never was away never left the line before his turn.
        if granted.is_some() && place.fresh && place.connection == number && place.joined.at == waiting.from {
            place.in_line_until = until;
        }
    }

    fn cut(&mut self, c: usize) {
        self.wait_over(c, None);
        let connection = self.connections.swap_remove(c);
        self.visitor.unknown_redeem |= !connection.redeems.is_empty();
        for join in self.joins.iter_mut().filter(|join| join.connection == connection.number) {
            join.cut = true;
            self.visitor.unknown_join = true;
        }
        if self.joins.iter().any(|join| join.cut)
            && let Some(index) = self.latest()
        {
            self.facts.places[index as usize].unsure = true;
        }
    }

    fn finish(mut self) {
        for c in 0..self.connections.len() {
            self.wait_over(c, None);
        }
        let open = self.connections.iter().any(|connection| !connection.redeems.is_empty());
        self.visitor.unknown_redeem |= open;
        self.visitor.unknown_join |= !self.joins.is_empty();
        self.facts.visitors.push(self.visitor);
    }
}
