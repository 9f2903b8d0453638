//! What a visitor hears, and what he does next.

use super::{Asked, Stage, Step, Visitor};
use crate::{
    bot::TRICK,
    facts::{BookingFacts, Breach, NEVER},
    meters::{Measure, lock},
    outcome::Outcome,
    scene::Moment,
    turn::{After, Turn},
    whim,
};
use std::{sync::atomic::Ordering::Relaxed, time::Duration};
use wire::{
    domain::{booking::BookingStatus, phase::Phase},
    protocol::{
        client::ClientMessage,
        server::{BookingMessage, Granted, Joined, LapseReason, PlaceState, Refused, ServerMessage},
    },
};

/// The reason's name on the wire.
const SEAT_TAKEN: &str = "seat_taken";
/// How long a visitor who left waits to be told so.
const GOODBYE: Duration = Duration::from_secs(5);

impl Visitor {
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
                self.work = error.proof.map(|work| Box::new(Asked::Work(work)));
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
            // Who comes back to the head of the line may have missed a turn already, and may miss the next one unseen too.
            let granted_unseen =
                joined.state == PlaceState::Granted || self.place.is_some() && joined.rank == 0;
            moment.facts.see_place(&token, granted_unseen, join_sent, now);
            (self.place, self.work) = (Some(token.into()), None);
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
                self.whim = self.whim.or_else(|| whim::draw(moment, &mut self.random));
                Step::Wait
            }
        }
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
        // Of the visitor, since the turn in which he tried may be over for him by now: a grant that he let pass, a line that was restored.
        let unsure = moment.facts.unsure;
        if self.random.chance(behaviour.no_show_chance) {
            self.turn = None;
            return Step::Wait;
        }
        if behaviour.bot_share > 0.0 {
            moment.scene.pot.put(&granted.token);
        }
        // Who was cut off in the middle of a redeem wants to know what became of it.
        let think = if unsure { Duration::ZERO } else { self.random.time(behaviour.think) };
        let count = self.random.count(behaviour.seats);
        let pick = behaviour.pick(&mut self.random);
        let mut turn = Turn::new(granted, count, pick, moment.now + think);
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
        if booking.request.as_ref().is_some_and(|request| request.starts_with(TRICK)) {
            moment.facts.breaches.push(Breach::TrickBooked(booking.booking));
            return Step::Wait;
        }
        if self.bot.as_ref().is_some_and(|bot| bot.replayed) {
            if moment.facts.bookings.last().is_some_and(|first| first.booking != booking.booking) {
                moment.facts.breaches.push(Breach::BookedTwice(booking.booking));
            }
            return Step::Done(Outcome::Booked);
        }
        let plan = &moment.scene.plan;
        let seats: Vec<_> = booking.seats.iter().filter_map(|id| plan.index_of(id)).collect();
        let tried = booking.request.as_ref().and_then(|r| self.turn.as_mut()?.answered(r));
        if let Some(tried) = &tried {
            moment.scene.meters.record(Measure::Redeem, moment.now - tried.intended);
            if let Some(shown_free) = tried.shown_free {
                lock(&moment.scene.meters.clicks).see(Some(shown_free), false);
            }
        }
        let asked = |tried| self.turn.as_ref().is_some_and(|turn| turn.asked_for(tried, &seats));
        let wrong = tried.as_ref().is_some_and(|tried| !asked(tried));
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
        self.replay(moment)
    }

    /// A bot tries its spent token once more; a person goes home.
    fn replay(&mut self, moment: &Moment) -> Step {
        let (Some(bot), Some(turn)) = (&mut self.bot, &mut self.turn) else {
            return Step::Done(Outcome::Booked);
        };
        bot.replayed = true;
        self.requests += 1;
        Step::Say(ClientMessage::Redeem(turn.replay(self.requests, moment.now)))
    }

    fn refused(&mut self, refused: &Refused, moment: &mut Moment) -> Step {
        moment.scene.meters.refusals.add(&refused.reason);
        let Some(turn) = &mut self.turn else { return Step::Wait };
        let Some(tried) = turn.answered(&refused.request) else { return Step::Wait };
        moment.scene.meters.record(Measure::Refused, moment.now - tried.intended);
        if let Some(shown_free) = tried.shown_free {
            lock(&moment.scene.meters.clicks).see(Some(shown_free), refused.reason == SEAT_TAKEN);
        }
        let next = turn.refused(tried, refused, &moment.scene.plan, moment.now, &mut self.random);
        moment.facts.unsure = turn.may_have_booked();
        if let Stage::Ending(outcome) = self.stage {
            return Step::Done(outcome);
        }
        match next {
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

    pub(super) fn leave(&mut self, outcome: Outcome, moment: &mut Moment) -> Step {
        moment.facts.end_place();
        self.stage = Stage::Leaving(outcome);
        self.goodbye = Some(moment.now + GOODBYE);
        Step::Say(ClientMessage::Leave {})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{behaviour::Behaviour, facts::VisitorFacts, random::Random, scene::Scene};
    use tokio::time::Instant;
    use uuid::Uuid;
    use wire::domain::plan::Plan;

    fn granted(token: &str) -> ServerMessage {
        let granted = Granted { token: token.into(), expires_in_ms: 9, claim_in_ms: None, max_seats: 4 };
        ServerMessage::Granted(granted)
    }

    fn booking(plan: &Plan, request: &str) -> ServerMessage {
        ServerMessage::Booking(BookingMessage {
            request: Some(request.into()),
            booking: Uuid::nil(),
            seats: plan.ids_of(&[0, 1]),
            status: BookingStatus::Confirmed,
            hold_expires_in_ms: None,
            together: true,
        })
    }

    /// One seat is asked for and the connection is cut; a grant that he lets pass may lie between; he asks for
    /// one seat again and gets two.
    fn breaches(cut: bool, lets_pass: bool) -> Vec<Breach> {
        let plan = Plan::parse(include_bytes!("../../../../data/seating-plan-riethsporthalle.json")).unwrap();
        let behaviour = Behaviour { seats: (1, 1), think: Default::default(), ..Behaviour::default() };
        let mut scene = Scene::new(plan, behaviour);
        let (mut facts, now) = (VisitorFacts::default(), Instant::now());
        let mut visitor = Visitor::new(0, Random::new(1), None, now);
        visitor.hear(granted("one"), &mut Moment { scene: &scene, facts: &mut facts, now });
        if cut {
            visitor.tick(&mut Moment { scene: &scene, facts: &mut facts, now });
            visitor.cut(now);
            scene.behaviour.no_show_chance = if lets_pass { 1.0 } else { 0.0 };
            visitor.hear(granted("one"), &mut Moment { scene: &scene, facts: &mut facts, now });
            scene.behaviour.no_show_chance = 0.0;
            visitor.cut(now);
            visitor.hear(granted("one"), &mut Moment { scene: &scene, facts: &mut facts, now });
        }
        visitor.tick(&mut Moment { scene: &scene, facts: &mut facts, now });
        let answer = booking(&scene.plan, &format!("r{}", visitor.requests));
        visitor.hear(answer, &mut Moment { scene: &scene, facts: &mut facts, now });
        facts.breaches
    }

    #[test]
    fn a_booking_may_be_that_of_a_try_before_the_last_cut_and_of_no_other() {
        assert_eq!(breaches(false, false), [Breach::WrongSeats(Uuid::nil())]);
        assert_eq!(breaches(true, false), []);
        assert_eq!(breaches(true, true), []);
    }
}
