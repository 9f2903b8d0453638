//! One simulated visitor: what he says next, given what he heard. No I/O; time is an argument.

mod hears;

use super::{
    bot::{Bot, TRICK},
    history::Token,
    outcome::{Outcome, pause},
    random::Random,
    scene::{Moment, Scene},
    turn::Turn,
    whim::Whim,
};
use std::time::Duration;
use tokio::time::Instant;
use wire::{domain::work::Work, protocol::client::ClientMessage};

/// What a visitor does next.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Waits.
    Wait,
    /// Sends this.
    Say(ClientMessage),
    /// His connection breaks off; he is back after that time.
    Vanish(Duration),
    /// He opens the line in a second tab, which takes over.
    SecondTab,
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

/// Work that is asked of him.
enum Asked {
    /// Not done yet.
    Work(Work),
    /// Done: the proof.
    Done(String),
}

/// A visitor's mind; small, since there are many.
pub struct Visitor {
    /// His number in the run, and the how-manieth connection this is.
    number: u32,
    connection: u32,
    random: Random,
    identity: Option<Box<str>>,
    place: Option<Box<str>>,
    /// Work that the server asks for before it gives him a place.
    work: Option<Box<Asked>>,
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
    bot: Option<Box<Bot>>,
    /// All sockets were cut, and his was among them, or he came later.
    herded: bool,
}

impl Visitor {
    /// Visitor `number` of the run, who is to arrive at `intended`; anonymous without an identity.
    pub fn new(number: u32, random: Random, identity: Option<String>, intended: Instant) -> Self {
        Self {
            number,
            connection: 0,
            random,
            identity: identity.map(Into::into),
            place: None,
            work: None,
            stage: Stage::Joining,
            intended: Some(intended),
            join_sent: intended,
            lost: None,
            rank: None,
            turn: None,
            whim: None,
            goodbye: None,
            requests: 0,
            bot: None,
            herded: false,
        }
    }

    /// He is a program that tries what it should not.
    pub fn turn_bot(&mut self, now: Instant) {
        self.bot = Some(Box::new(Bot::new(now)));
    }

    /// His number in the run.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The how-manieth of his connections this is, from 1; 0 before the first.
    pub fn connection(&self) -> u32 {
        self.connection
    }

    /// He has a connection, again.
    pub fn connected(&mut self) {
        self.connection += 1;
    }

    /// Of the redeem that is being sent: which token, and when it was meant to be sent; nothing of a trick.
    pub fn trying(&self, request: &str) -> Option<(Token, Instant)> {
        if request.starts_with(TRICK) {
            let kind = if request.ends_with("foreign") { Token::Foreign } else { Token::Forged };
            return Some((kind, Instant::now()));
        }
        let replay = self.bot.as_ref().is_some_and(|bot| bot.replayed);
        let intended = self.turn.as_ref()?.sent.as_ref()?.intended;
        Some((if replay { Token::Old } else { Token::Own }, intended))
    }

    /// What his map said of the seats that he clicked on in that redeem.
    pub fn shown_free(&self, request: &str) -> Option<bool> {
        self.turn.as_ref()?.shown_free(request)
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
        let proof = match self.work.as_deref() {
            Some(Asked::Done(proof)) if self.place.is_none() => Some(proof.clone()),
            _ => None,
        };
        ClientMessage::Join { identity, place: self.place.as_deref().map(Into::into), again: None, proof }
    }

    /// Work that is to be done before the next join.
    pub fn work(&self) -> Option<Work> {
        match self.work.as_deref() {
            Some(Asked::Work(work)) => Some(work.clone()),
            _ => None,
        }
    }

    /// It is done.
    pub fn has_worked(&mut self, proof: String) {
        self.work = Some(Box::new(Asked::Done(proof)));
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
    pub fn deadline(&self, scene: &Scene) -> Option<Instant> {
        let herd = scene.herd().filter(|_| !self.herded && self.has_joined());
        let trick = self.bot.as_ref().filter(|_| self.stage == Stage::Waiting).map(|bot| bot.next);
        let redeem = self.turn.as_ref().filter(|_| self.stage == Stage::Granted).and_then(|t| t.due());
        let whim = self.whim.filter(|_| self.stage == Stage::Waiting).map(|(at, _)| at);
        let goodbye = self.goodbye.filter(|_| matches!(self.stage, Stage::Leaving(_)));
        [redeem, whim, goodbye, herd, trick].into_iter().flatten().min()
    }

    /// His time has come.
    pub fn tick(&mut self, moment: &mut Moment) -> Step {
        if self.goodbye.is_some_and(|at| at <= moment.now)
            && let Stage::Leaving(outcome) = self.stage
        {
            return Step::Done(outcome);
        }
        if !self.herded && moment.scene.herd().is_some_and(|at| at <= moment.now) {
            self.herded = true;
            return Step::Vanish(pause(0, false, &mut self.random));
        }
        if self.stage != Stage::Waiting {
            return self.redeem_if_due(moment);
        }
        if let Some((_, whim)) = self.whim.take_if(|(at, _)| *at <= moment.now) {
            return match whim {
                Whim::Leave => self.leave(Outcome::Left, moment),
                Whim::Vanish => Step::Vanish(self.random.time(moment.scene.behaviour.absence)),
                Whim::SecondTab => Step::SecondTab,
            };
        }
        match self.bot.as_mut().filter(|bot| bot.next <= moment.now) {
            Some(bot) => Step::Say(bot.trick(&moment.scene.pot, moment.now, &mut self.random)),
            None => Step::Wait,
        }
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
}
