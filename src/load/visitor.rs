//! One simulated visitor: what he says next, given what he heard. No I/O; time is an argument.

use super::{
    facts::{BookingFacts, Breach, NEVER},
    meters::Measure,
    outcome::Outcome,
    random::Random,
    scene::Moment,
    turn::{After, Turn},
};
use crate::{
    domain::{booking::BookingStatus, phase::Phase},
    protocol::{
        client::ClientMessage,
        server::{BookingMessage, Granted, Joined, LapseReason, PlaceState, Refused, ServerMessage},
    },
};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use tokio::time::Instant;

/// How long a visitor who left waits to be told so.
const GOODBYE: Duration = Duration::from_secs(5);

/// What a visitor does next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Waits.
    Wait,
    /// Sends this.
    Say(ClientMessage),
    /// His connection breaks off; he is back after that time.
    Vanish(Duration),
    /// It is over.
    Done(Outcome),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    Waiting,
    Granted,
    /// The grant ended while a redeem was under way, which may still succeed.
    Ending(Outcome),
    Leaving(Outcome),
}

#[derive(Clone, Copy)]
enum Whim {
    Leave,
    Vanish,
}

/// A visitor's mind; small, since there are many.
pub struct Visitor {
    random: Random,
    identity: Option<Box<str>>,
    place: Option<Box<str>>,
    stage: Stage,
    /// When he was meant to arrive, until he has joined.
    intended: Option<Instant>,
    join_sent: Instant,
    /// When his connection was lost, until he has joined again.
    lost: Option<Instant>,
    rank: Option<(u64, Instant)>,
    turn: Option<Box<Turn>>,
    whim: Option<(Instant, Whim)>,
    goodbye: Option<Instant>,
    requests: u32,
}

impl Visitor {
    /// A visitor who is to arrive at `intended`; anonymous without an identity.
    pub fn new(random: Random, identity: Option<String>, intended: Instant) -> Self {
        Self {
            random,
            identity: identity.map(Into::into),
            place: None,
            stage: Stage::Joining,
            intended: Some(intended),
            join_sent: intended,
            lost: None,
            rank: None,
            turn: None,
            whim: None,
            goodbye: None,
            requests: 0,
        }
    }

    /// His dice.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Whether he holds a place token.
    pub fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// Whether the server has acknowledged his place on this connection.
    pub fn has_joined(&self) -> bool {
        self.stage != Stage::Joining
    }

    /// The first message on a connection, or after a missed turn.
    pub fn join(&mut self, moment: &mut Moment) -> ClientMessage {
        self.stage = Stage::Joining;
        self.rank = None;
        self.join_sent = moment.now;
        let sent = moment.micros();
        moment.facts.see_join(sent);
        let identity = self.identity.as_deref().filter(|_| self.place.is_none()).map(Into::into);
        ClientMessage::Join { identity, place: self.place.as_deref().map(Into::into), again: None }
    }

    /// The connection is gone. Whoever was about to go anyway does not come back: then his outcome.
    pub fn cut(&mut self, now: Instant) -> Option<Outcome> {
        if let Stage::Leaving(outcome) | Stage::Ending(outcome) = self.stage {
            return Some(outcome);
        }
        if let Some(turn) = &mut self.turn {
            turn.cut();
        }
        self.lost.get_or_insert(now);
        self.stage = Stage::Joining;
        None
    }

    /// When he wants to be asked next.
    pub fn deadline(&self) -> Option<Instant> {
        let redeem = self.turn.as_ref().filter(|_| self.stage == Stage::Granted).and_then(|t| t.due());
        let whim = self.whim.filter(|_| self.stage == Stage::Waiting).map(|(at, _)| at);
        let goodbye = self.goodbye.filter(|_| matches!(self.stage, Stage::Leaving(_)));
        [redeem, whim, goodbye].into_iter().flatten().min()
    }

    /// His time has come.
    pub fn tick(&mut self, moment: &mut Moment) -> Step {
        if self.goodbye.is_some_and(|at| at <= moment.now)
            && let Stage::Leaving(outcome) = self.stage
        {
            return Step::Done(outcome);
        }
        if self.stage == Stage::Waiting
            && let Some((_, whim)) = self.whim.take_if(|(at, _)| *at <= moment.now)
        {
            return match whim {
                Whim::Leave => self.leave(Outcome::Left, moment),
                Whim::Vanish => Step::Vanish(self.random.time(moment.scene.behaviour.absence)),
            };
        }
        self.redeem_if_due(moment)
    }

    fn redeem_if_due(&mut self, moment: &mut Moment) -> Step {
        let Some(turn) = self.turn.as_mut().filter(|_| self.stage == Stage::Granted) else {
            return Step::Wait;
        };
        if turn.due().is_none_or(|at| at > moment.now) {
            return Step::Wait;
        }
        self.requests += 1;
        moment.facts.unsure = true;
        let message = turn.redeem(self.requests, moment.now, &moment.scene.plan, &mut self.random);
        Step::Say(ClientMessage::Redeem(message))
    }

    /// Anything came from the server: it still counts him among those who wait.
    pub fn hears(&mut self, moment: &mut Moment) {
        let now = moment.micros();
        if let (Stage::Waiting, Some(place)) = (self.stage, moment.facts.places.last_mut()) {
            place.heard = now;
        }
    }

    /// A message came.
    pub fn hear(&mut self, message: ServerMessage, moment: &mut Moment) -> Step {
        match message {
            ServerMessage::Joined(joined) => self.joined(joined, moment),
            ServerMessage::Rank { rank, .. } => self.ranked(rank, moment),
            ServerMessage::Granted(granted) => self.granted(granted, moment),
            ServerMessage::Lapsed { reason } => self.lapsed(reason, moment),
            ServerMessage::SeatMap(_) | ServerMessage::SeatsChanged { .. } => {
                self.see_seats(&message, moment)
            }
            ServerMessage::Booking(booking) => self.booked(&booking, moment),
            ServerMessage::Refused(refused) => self.refused(&refused, moment),
            ServerMessage::Phase { phase: Phase::SoldOut, .. } if self.stage == Stage::Waiting => {
                self.leave(Outcome::SoldOut, moment)
            }
            ServerMessage::Error(error) => {
                moment.scene.meters.errors.add(&format!("{:?}", error.code));
                Step::Wait
            }
            _ => Step::Wait,
        }
    }

    fn joined(&mut self, joined: Joined, moment: &mut Moment) -> Step {
        let meters = &moment.scene.meters;
        if self.stage == Stage::Joining {
            meters.record(Measure::JoinAnswer, moment.now - self.join_sent);
        }
        if let Some(intended) = self.intended.take() {
            meters.record(Measure::Join, moment.now.saturating_duration_since(intended));
            meters.joined.fetch_add(1, Relaxed);
        }
        if let Some(lost) = self.lost.take() {
            meters.record(Measure::Reconnect, moment.now - lost);
        }
        self.rank = Some((joined.rank, moment.now));
        if let Some(token) = joined.place {
            let (now, join_sent) = (moment.micros(), moment.scene.micros(self.join_sent));
            moment.facts.see_place(&token, joined.state == PlaceState::Granted, join_sent, now);
            self.place = Some(token.into());
        }
        if let Stage::Leaving(_) | Stage::Ending(_) = self.stage {
            return Step::Wait;
        }
        match joined.state {
            PlaceState::Booked => {
                moment.facts.end_place();
                self.stage = Stage::Granted;
                Step::Wait
            }
            PlaceState::Granted => {
                self.stage = Stage::Granted;
                Step::Wait
            }
            PlaceState::Waiting => {
                self.stage = Stage::Waiting;
                self.turn = None;
                if joined.phase == Phase::SoldOut {
                    return self.leave(Outcome::SoldOut, moment);
                }
                self.whim = self.whim.or_else(|| self.draw_whim(moment));
                Step::Wait
            }
        }
    }

    fn draw_whim(&mut self, moment: &Moment) -> Option<(Instant, Whim)> {
        let behaviour = &moment.scene.behaviour;
        let whim = if self.random.chance(behaviour.leave_chance) {
            Whim::Leave
        } else if self.random.chance(behaviour.vanish_chance) {
            Whim::Vanish
        } else {
            return None;
        };
        Some((moment.now + self.random.time(behaviour.whim), whim))
    }

    fn ranked(&mut self, rank: u64, moment: &mut Moment) -> Step {
        if let Some((before, at)) = self.rank.replace((rank, moment.now)) {
            moment.scene.meters.record(Measure::RankGap, moment.now - at);
            if rank > before {
                moment.facts.breaches.push(Breach::RankRose(before, rank));
            }
        }
        Step::Wait
    }

    fn granted(&mut self, granted: Granted, moment: &mut Moment) -> Step {
        if let Stage::Leaving(_) | Stage::Ending(_) = self.stage {
            return Step::Wait;
        }
        let now = moment.micros();
        if let Some(wait) = moment.facts.see_grant(self.stage == Stage::Waiting, now) {
            moment.scene.meters.record(Measure::Wait, Duration::from_micros(wait));
        }
        self.stage = Stage::Granted;
        let behaviour = &moment.scene.behaviour;
        let unsure = self.turn.take().is_some_and(|turn| turn.unsure || turn.sent.is_some());
        // Who was cut off in the middle of a redeem wants to know what became of it.
        let think = if unsure { Duration::ZERO } else { self.random.time(behaviour.think) };
        let count = self.random.count(behaviour.seats);
        let explicit = behaviour.explicit(&mut self.random);
        let mut turn = Turn::new(granted, count, explicit, moment.now + think);
        turn.unsure = unsure;
        turn.seats_asked = Some(moment.now);
        self.turn = Some(Box::new(turn));
        Step::Say(ClientMessage::Seats {})
    }

    fn lapsed(&mut self, reason: LapseReason, moment: &mut Moment) -> Step {
        let outcome = match (reason, self.stage) {
            (LapseReason::Missed, _) => {
                self.turn = None;
                return Step::Say(self.join(moment));
            }
            (_, Stage::Leaving(outcome)) => outcome,
            (LapseReason::Expired, _) => Outcome::Lapsed,
            (LapseReason::Left, _) => Outcome::Left,
            (LapseReason::Closed, _) => Outcome::Closed,
        };
        moment.facts.end_place();
        if self.turn.as_ref().is_some_and(|turn| turn.sent.is_some()) {
            self.stage = Stage::Ending(outcome);
            return Step::Wait;
        }
        Step::Done(outcome)
    }

    fn see_seats(&mut self, message: &ServerMessage, moment: &mut Moment) -> Step {
        let Some(turn) = &mut self.turn else { return Step::Wait };
        let seen = match message {
            ServerMessage::SeatMap(map) => {
                if let Some(asked) = turn.seats_asked.take() {
                    moment.scene.meters.record(Measure::SeatMap, moment.now - asked);
                }
                turn.see_map(map, moment.scene.plan.seats.len(), moment.now)
            }
            ServerMessage::SeatsChanged { version, taken, freed } => turn.see_change(*version, taken, freed),
            _ => Ok(()),
        };
        moment.facts.breaches.extend(seen.err());
        Step::Wait
    }

    fn booked(&mut self, booking: &BookingMessage, moment: &mut Moment) -> Step {
        let plan = &moment.scene.plan;
        let seats: Vec<_> = booking.seats.iter().filter_map(|id| plan.index_of(id)).collect();
        let tried = booking.request.as_ref().and_then(|r| self.turn.as_mut()?.answered(r));
        let unsure = self.turn.as_ref().is_some_and(|turn| turn.unsure);
        if let Some(tried) = &tried {
            moment.scene.meters.record(Measure::Redeem, moment.now - tried.intended);
        }
        // After an unsure try the answer may be that one's booking.
        let wrong = tried.as_ref().is_some_and(|tried| !unsure && !tried.got(&seats));
        if wrong || seats.len() != booking.seats.len() {
            moment.facts.breaches.push(Breach::WrongSeats(booking.booking));
        }
        let asked = moment.scene.micros(tried.map_or(self.join_sent, |tried| tried.sent));
        let live_until = match booking.status {
            BookingStatus::Confirmed => NEVER,
            BookingStatus::Held => asked + booking.hold_expires_in_ms.unwrap_or(0) * 1000,
            BookingStatus::Released => 0,
        };
        let answered = moment.micros();
        moment.facts.see_booking(BookingFacts { booking: booking.booking, seats, answered, live_until });
        moment.facts.unsure = false;
        moment.facts.end_place();
        Step::Done(Outcome::Booked)
    }

    fn refused(&mut self, refused: &Refused, moment: &mut Moment) -> Step {
        moment.scene.meters.refusals.add(&refused.reason);
        let Some(turn) = &mut self.turn else { return Step::Wait };
        let Some(tried) = turn.answered(&refused.request) else { return Step::Wait };
        moment.scene.meters.record(Measure::Refused, moment.now - tried.intended);
        moment.facts.unsure = turn.unsure;
        if let Stage::Ending(outcome) = self.stage {
            return Step::Done(outcome);
        }
        match turn.refused(refused, &moment.scene.plan, moment.now, &mut self.random) {
            After::Again => Step::Wait,
            After::SoldOut => self.leave(Outcome::SoldOut, moment),
            After::GiveUp => self.leave(Outcome::GaveUp, moment),
            After::Lapsed => {
                moment.facts.end_place();
                Step::Done(Outcome::Lapsed)
            }
            After::Forged => {
                moment.facts.breaches.push(Breach::TokenRefused);
                self.leave(Outcome::GaveUp, moment)
            }
        }
    }

    fn leave(&mut self, outcome: Outcome, moment: &mut Moment) -> Step {
        moment.facts.end_place();
        self.stage = Stage::Leaving(outcome);
        self.goodbye = Some(moment.now + GOODBYE);
        Step::Say(ClientMessage::Leave {})
    }
}
