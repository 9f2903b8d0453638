//! A visitor's turn: which seats he asks for, and what he does when he does not get them.

use super::{behaviour::Pick, facts::Breach, random::Random};
use std::time::Duration;
use tokio::time::Instant;
use wire::{
    domain::{
        plan::{Plan, SeatIndex},
        seats::SeatSet,
    },
    protocol::{
        client::{BestMessage, RedeemMessage},
        server::{Granted, Refused, SeatMap},
    },
};

/// The front: so many of the seats that are still free, in plan order. Everyone wants these, but not all the very same.
const FRONT_SEATS: usize = 100;
/// How often a visitor tries before he gives up.
const TRIES_MAX: u32 = 10;
/// How long he looks for other seats after a refusal, from and to.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));
/// How long he waits when the server is busy, from and to.
const BUSY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(1));

/// What follows a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another try, at [`Turn::due`].
    Again,
    /// Enough tries, or no hope.
    GiveUp,
    /// Nothing is left.
    SoldOut,
    /// The grant has ended.
    Lapsed,
    /// The token, which is good, was called bad.
    Forged,
}

/// A try that is not answered yet.
#[derive(Debug)]
pub struct Try {
    /// When it was meant to be sent.
    pub intended: Instant,
    /// When it was sent.
    pub sent: Instant,
    request: u32,
    wish: Wanted,
    /// Of seats that were picked: whether his map, as he knew it then, showed all of them free.
    pub shown_free: Option<bool>,
}

#[derive(Debug)]
enum Wanted {
    Best(u32),
    Seats(Vec<SeatIndex>),
}

struct Map {
    version: u64,
    taken: SeatSet,
}

/// A grant in use.
pub struct Turn {
    token: Box<str>,
    count: u32,
    pick: Pick,
    map: Option<Map>,
    redeem_at: Instant,
    tries: u32,
    /// When the seat map was asked for, until it came.
    pub seats_asked: Option<Instant>,
    /// The try under way.
    pub sent: Option<Try>,
    /// A try was cut off before its answer: it may have booked.
    pub unsure: bool,
    /// Tries that the server was too busy to decide, as far as it knew: any of them may have booked.
    busy: Vec<Try>,
}

impl Turn {
    /// The turn that `granted` gives, to be used from `redeem_at` on.
    pub fn new(granted: Granted, count: u32, pick: Pick, redeem_at: Instant) -> Self {
        Self {
            token: granted.token.into(),
            count: count.min(granted.max_seats.max(1)),
            pick,
            map: None,
            redeem_at,
            tries: 0,
            seats_asked: None,
            sent: None,
            unsure: false,
            busy: Vec::new(),
        }
    }

    /// The connection is gone, and with it the map and the answer to what was asked.
    pub fn cut(&mut self) {
        self.unsure |= self.sent.take().is_some();
        self.map = None;
    }

    /// When the next try is to be sent; none while one is under way, or before there is a map to pick from.
    pub fn due(&self) -> Option<Instant> {
        let ready = self.sent.is_none() && (self.pick == Pick::Server || self.map.is_some());
        ready.then_some(self.redeem_at)
    }

    /// The next try.
    pub fn redeem(&mut self, request: u32, now: Instant, plan: &Plan, random: &mut Random) -> RedeemMessage {
        self.tries += 1;
        let picked = self.pick(plan.seats.len(), random);
        let wish = picked.map_or(Wanted::Best(self.count), Wanted::Seats);
        let (seats, best) = match &wish {
            Wanted::Seats(seats) => (Some(plan.ids_of(seats)), None),
            Wanted::Best(count) => {
                (None, Some(BestMessage { count: *count, category: None, together: false }))
            }
        };
        let shown_free = match (&wish, &self.map) {
            (Wanted::Seats(seats), Some(map)) => Some(seats.iter().all(|seat| !map.taken.contains(*seat))),
            _ => None,
        };
        self.sent = Some(Try { intended: self.redeem_at, sent: now, request, wish, shown_free });
        RedeemMessage { request: request_id(request), token: self.token.to_string(), seats, best }
    }

    /// The token once more, after it has booked.
    pub fn replay(&mut self, request: u32, now: Instant) -> RedeemMessage {
        let best = BestMessage { count: 1, category: None, together: false };
        self.sent = Some(Try { intended: now, sent: now, request, wish: Wanted::Best(1), shown_free: None });
        RedeemMessage {
            request: request_id(request),
            token: self.token.to_string(),
            seats: None,
            best: Some(best),
        }
    }

    /// The first free seats from a random free one on, anywhere or near the front; none if the server shall choose, or too few are free.
    fn pick(&self, seats: usize, random: &mut Random) -> Option<Vec<SeatIndex>> {
        let map = self.map.as_ref()?;
        // Among the free ones: counted among all seats, the first behind a sold block would be everyone's.
        let among = match self.pick {
            Pick::Server => return None,
            Pick::Front => FRONT_SEATS,
            Pick::Anywhere => (seats - map.taken.len()).max(1),
        };
        let mut free = (0..seats).filter(|seat| !map.taken.contains(*seat as SeatIndex));
        let start = free.nth(random.next() as usize % among).unwrap_or(0);
        let round = (0..seats).map(|i| ((start + i) % seats) as SeatIndex);
        let picked: Vec<_> = round.filter(|s| !map.taken.contains(*s)).take(self.count as usize).collect();
        (picked.len() == self.count as usize).then_some(picked)
    }

    /// Takes the map that was asked for, or says what is wrong with it.
    pub fn see_map(&mut self, map: &SeatMap, seats: usize, now: Instant) -> Result<(), Breach> {
        let taken = SeatSet::from_base64(seats, &map.taken)
            .ok_or_else(|| Breach::Garbled("seat_map: not the base64 of a map as long as the plan".into()))?;
        if self.pick != Pick::Server && self.map.is_none() {
            // Nobody clicks a seat before he sees the seats.
            self.redeem_at = self.redeem_at.max(now);
        }
        self.map = Some(Map { version: map.version, taken });
        Ok(())
    }

    /// Follows a change of the map.
    pub fn see_change(
        &mut self,
        version: u64,
        taken: &[SeatIndex],
        freed: &[SeatIndex],
    ) -> Result<(), Breach> {
        // Before the map: a change that overtook nothing that we rely on.
        let Some(map) = &mut self.map else { return Ok(()) };
        let before = std::mem::replace(&mut map.version, version);
        taken.iter().for_each(|seat| {
            map.taken.insert(*seat);
        });
        freed.iter().for_each(|seat| {
            map.taken.remove(*seat);
        });
        if version == before + 1 { Ok(()) } else { Err(Breach::SeatVersion(before, version)) }
    }

    /// What his map said of the seats of the try that `request` names.
    pub fn shown_free(&self, request: &str) -> Option<bool> {
        self.sent.as_ref().filter(|sent| request_id(sent.request) == request)?.shown_free
    }

    /// Takes the try that `request` names, if it is the one under way.
    pub fn answered(&mut self, request: &str) -> Option<Try> {
        let ours = self.sent.as_ref().is_some_and(|sent| request_id(sent.request) == request);
        if ours { self.sent.take() } else { None }
    }

    /// Whether some try may have booked, although none was answered so.
    pub fn may_have_booked(&self) -> bool {
        self.unsure || !self.busy.is_empty()
    }

    /// Whether a booking of these seats is what this try asked for, or an earlier one that may have booked.
    pub fn asked_for(&self, tried: &Try, seats: &[SeatIndex]) -> bool {
        self.unsure || tried.got(seats) || self.busy.iter().any(|earlier| earlier.got(seats))
    }

    /// What to do after a refusal of this try.
    pub fn refused(
        &mut self,
        tried: Try,
        refused: &Refused,
        plan: &Plan,
        now: Instant,
        random: &mut Random,
    ) -> After {
        match refused.reason.as_str() {
            "sold_out" => return After::SoldOut,
            "token_invalid" => return After::Forged,
            "token_expired" | "not_granted" => return After::Lapsed,
            "unknown_seat" => return After::GiveUp,
            "no_seats_together" | "too_many_seats" => self.count = (self.count / 2).max(1),
            _ => {}
        }
        if refused.reason == "busy" {
            // It says nothing of the seats: whoever has a turn tries on for as long as it lasts.
            self.tries = self.tries.saturating_sub(1);
            self.busy.push(tried);
        }
        if !refused.retry || self.tries >= TRIES_MAX {
            return After::GiveUp;
        }
        if let Some(map) = &mut self.map {
            let taken = refused.seats.iter().flatten().filter_map(|id| plan.index_of(id));
            taken.for_each(|seat| {
                map.taken.insert(seat);
            });
        }
        self.redeem_at = now + random.time(if refused.reason == "busy" { BUSY } else { LOOK_AGAIN });
        After::Again
    }
}

impl Try {
    /// Whether a booking of these seats is what was asked for: all of it, not a part.
    fn got(&self, seats: &[SeatIndex]) -> bool {
        match &self.wish {
            Wanted::Best(count) => seats.len() == *count as usize,
            Wanted::Seats(wanted) => {
                seats.len() == wanted.len() && wanted.iter().all(|seat| seats.contains(seat))
            }
        }
    }
}

fn request_id(request: u32) -> String {
    format!("r{request}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Store troubles of some seconds are no reason to give a turn up.
    #[test]
    fn who_has_a_turn_tries_on_while_the_server_is_busy() {
        let plan = Plan::parse(include_bytes!("../../../data/seating-plan-riethsporthalle.json")).unwrap();
        let granted = Granted { token: "t".into(), expires_in_ms: 1, claim_in_ms: None, max_seats: 1 };
        let (now, mut random) = (Instant::now(), Random::new(1));
        let mut after = |reason: &str, tries: u32| {
            let mut turn = Turn::new(granted.clone(), 1, Pick::Server, now);
            let refused = Refused { request: "r1".into(), reason: reason.into(), seats: None, retry: true };
            let mut last = After::Again;
            for request in 0..tries {
                turn.redeem(request, now, &plan, &mut random);
                let tried = turn.sent.take().unwrap();
                last = turn.refused(tried, &refused, &plan, now, &mut random);
            }
            last
        };
        assert_eq!(after("busy", 5 * TRIES_MAX), After::Again);
        assert_eq!(after("seat_taken", TRIES_MAX - 1), After::Again);
        assert_eq!(after("seat_taken", TRIES_MAX), After::GiveUp);
    }

    #[test]
    fn a_booking_may_be_that_of_a_try_that_was_called_busy_and_of_no_other() {
        let plan = Plan::parse(include_bytes!("../../../data/seating-plan-riethsporthalle.json")).unwrap();
        let granted = Granted { token: "t".into(), expires_in_ms: 1, claim_in_ms: None, max_seats: 1 };
        let (now, mut random) = (Instant::now(), Random::new(1));
        let mut turn = Turn::new(granted, 1, Pick::Server, now);
        let mut is_refused = |seat: SeatIndex, reason: &str| {
            turn.redeem(1, now, &plan, &mut random);
            let tried = Try { wish: Wanted::Seats(vec![seat]), ..turn.sent.take().unwrap() };
            let refused = Refused { request: "r1".into(), reason: reason.into(), seats: None, retry: true };
            turn.refused(tried, &refused, &plan, now, &mut random);
        };
        is_refused(1, "seat_taken");
        is_refused(2, "busy");
        assert!(turn.may_have_booked());
        turn.redeem(1, now, &plan, &mut random);
        let tried = Try { wish: Wanted::Seats(vec![3]), ..turn.sent.take().unwrap() };
        assert!(turn.asked_for(&tried, &[3]) && turn.asked_for(&tried, &[2]));
        assert!(!turn.asked_for(&tried, &[1]) && !turn.asked_for(&tried, &[2, 3]));
    }
}
