//! A visitor's standing in words of the wire; the same over socket and HTTP.

use super::who::{Known, Who, needs_identity};
use crate::{
    edge::{Edge, error::unavailable},
    metrics,
    room::{Room, errors::RoomError, redeems::Redeem},
};
use jiff::Timestamp;
use std::time::Instant;
use wire::{
    domain::{
        booking::{Booking, BookingStatus, Wish},
        ids::{GrantKey, VisitorId},
        line::{Join, JoinMode, LineAnswer, Stranger},
        phase::Phase,
        place::{Stage, Standing},
        plan::{Plan, SeatIndex},
        refusal::Refusal,
        token::Token,
    },
    protocol::{
        client::RedeemMessage,
        close::ErrorCode,
        server::{ErrorMessage, Granted, Joined, PlaceState},
    },
};

/// A grant that lives.
#[derive(Clone, Copy, Debug)]
pub struct LiveGrant {
    /// Which.
    pub key: GrantKey,
    /// Seats booked before.
    pub owned: u32,
    /// When it ends, in Redis' ms.
    pub deadline_ms: i64,
    /// When it counts as missed, in Redis' ms; nothing once it was used.
    pub claim_ms: Option<i64>,
}

/// The `joined` for an answer of the line; nothing without a place.
pub fn joined(edge: &Edge, room: &Room, who: &Who, answer: &LineAnswer) -> Option<Joined> {
    let standing = answer.standing?;
    let (state, live) = match standing.stage {
        Stage::Waiting | Stage::Returned | Stage::Away => (PlaceState::Waiting, true),
        Stage::Granted => (PlaceState::Granted, true),
        Stage::Booked => (PlaceState::Booked, false),
        Stage::Ended => return None,
    };
    let epoch = answer.position.epoch;
    let (sale, visitor, until) = (room.sale.id.clone(), who.visitor.clone(), who.until);
    let token = Token::Place { sale, visitor, seq: standing.seq, epoch, until };
    let waiting = state == PlaceState::Waiting;
    Some(Joined {
        place: live.then(|| edge.keys.sign(&token)),
        state,
        rank: standing.rank,
        total: answer.total,
        eta_s: if waiting { room.line.eta_s(standing.rank) } else { None },
        phase: answer.phase,
        opens_at: room.line.settings().opens_at,
        now: Timestamp::now(),
        epoch,
    })
}

/// The grant in an answer of the line.
pub fn live_grant(answer: &LineAnswer) -> Option<LiveGrant> {
    let standing = answer.standing.filter(|standing| standing.stage == Stage::Granted)?;
    let claim_ms = (standing.claim_ms != 0).then_some(standing.claim_ms);
    Some(LiveGrant {
        key: standing.grant(),
        owned: standing.owned,
        deadline_ms: standing.deadline_ms,
        claim_ms,
    })
}

/// Redis' clock is known to within the time of an answer: nobody is told of more than there is, by that. Longer than that it may be,
/// where the operator has shortened it since.
fn no_more_than(whole_s: u32, left_ms: u64) -> u64 {
    const CLOCK_MS: u64 = 1_000;
    let whole_ms = u64::from(whole_s) * 1_000;
    if left_ms < whole_ms + CLOCK_MS { left_ms.min(whole_ms) } else { left_ms }
}

/// The `granted` for a grant.
pub fn granted(edge: &Edge, room: &Room, visitor: &VisitorId, grant: &LiveGrant) -> Granted {
    let token = Token::Booking { sale: room.sale.id.clone(), visitor: visitor.clone(), grant: grant.key };
    let settings = room.line.settings();
    Granted {
        token: edge.keys.sign(&token),
        expires_in_ms: no_more_than(settings.grant_ttl_s, room.line.until_ms(grant.deadline_ms)),
        claim_in_ms: grant.claim_ms.map(|at| no_more_than(settings.claim_s, room.line.until_ms(at))),
        max_seats: room.line.max_seats_of(grant.owned),
    }
}

/// Whether somebody who has just been made may ask for a place, as far as it is known without asking: a network that has drawn all
/// that it may shall not keep the line busy.
pub fn may_draw(edge: &Edge, room: &Room, who: &Who, stranger: Option<Stranger>) -> Result<(), ErrorMessage> {
    let full = stranger.filter(|_| who.known == Known::New);
    match full.and_then(|stranger| edge.state.full.until(&room.sale.id, stranger.network, Instant::now())) {
        Some(again) => Err(unavailable(RoomError::NetworkFull { again })),
        None => Ok(()),
    }
}

/// Joins: who has booked and wants another place gets one while he may book more.
#[tracing::instrument(level = "debug", skip_all, fields(sale = %room.sale.id))]
pub async fn join(
    edge: &Edge,
    room: &Room,
    who: &Who,
    stranger: Option<Stranger>,
    connection: Option<u64>,
    poll_ms: u64,
    again: bool,
) -> Result<LineAnswer, ErrorMessage> {
    let is_entitled = who.is_entitled(room);
    let mode = match again {
        _ if !is_entitled => JoinMode::Recheck,
        true => again_mode(room, &who.visitor).await?,
        false => JoinMode::Join,
    };
    let visitor = who.visitor.clone();
    let join = Join { visitor, connection, poll_ms, mode, token_seq: who.token_seq, stranger };
    let answer = room.line.join(join).await;
    if let (Err(RoomError::NetworkFull { again }), Some(stranger)) = (&answer, stranger) {
        edge.state.full.remember(&room.sale.id, stranger.network, Instant::now() + *again);
    }
    let answer = answer.map_err(unavailable)?;
    let is_over = |place: &Standing| place.stage == Stage::Ended || again && place.stage == Stage::Booked;
    let wants_new = answer.phase != Phase::Closed && answer.standing.as_ref().is_none_or(is_over);
    match answer.removed {
        true => Err(removed()),
        false if !is_entitled && wants_new => Err(needs_identity()),
        false => Ok(answer),
    }
}

/// What a visitor hears whom the operator has sent away.
pub fn removed() -> ErrorMessage {
    let message = "the organiser has ended your place in this sale";
    ErrorMessage::new(ErrorCode::Removed, message)
}

async fn again_mode(room: &Room, visitor: &VisitorId) -> Result<JoinMode, ErrorMessage> {
    let bookings = room.seats.bookings_of(visitor).await.map_err(unavailable)?;
    let owned: usize =
        bookings.iter().filter(|b| b.status != BookingStatus::Released).map(|b| b.seats.len()).sum();
    let owned = u32::try_from(owned).unwrap_or(u32::MAX);
    let max = room.line.settings().max_seats;
    if owned >= max {
        let message = format!("you have booked {owned} seats, and {max} are allowed");
        return Err(ErrorMessage::new(ErrorCode::LimitReached, message));
    }
    Ok(JoinMode::Again { owned })
}

/// The bookings to be told to a visitor who has booked: those that live, or else the last one.
pub fn to_tell(mut bookings: Vec<Booking>) -> Vec<Booking> {
    let any_live = bookings.iter().any(|b| b.status != BookingStatus::Released);
    if any_live {
        bookings.retain(|b| b.status != BookingStatus::Released);
    } else if bookings.len() > 1 {
        bookings.drain(..bookings.len() - 1);
    }
    bookings
}

/// The grant that a booking token is for, if it is this visitor's.
pub fn grant_of(edge: &Edge, room: &Room, visitor: &VisitorId, token: &str) -> Option<GrantKey> {
    match edge.keys.verify(token)? {
        Token::Booking { sale, visitor: owner, grant } if sale == room.sale.id && owner == *visitor => {
            Some(grant)
        }
        _ => None,
    }
}

/// Spends a grant for what a message wants.
#[tracing::instrument(level = "debug", skip_all, fields(sale = %room.sale.id))]
pub async fn redeem(
    room: &Room,
    visitor: &VisitorId,
    grant: Option<GrantKey>,
    message: &RedeemMessage,
) -> Result<Booking, Refusal> {
    let Some(grant) = grant else {
        metrics::token_invalid(room.sale.id.as_str());
        return Err(Refusal::TokenInvalid);
    };
    let wish = wish(&room.sale.plan, message);
    room.redeems.redeem(Redeem { visitor: visitor.clone(), grant, wish }).await
}

/// Names become indexes. What the plan does not know is refused only after the token was looked at: a token that has
/// booked gets its booking, whatever is asked for now.
fn wish(plan: &Plan, message: &RedeemMessage) -> Result<Wish, Refusal> {
    if let Some(best) = &message.best {
        let category = match &best.category {
            Some(name) => Some(plan.category_of(name).ok_or_else(|| Refusal::UnknownSeat(Vec::new()))?),
            None => None,
        };
        return Ok(Wish::Best { count: best.count as usize, category, together: best.together });
    }
    let names = message.seats.as_deref().unwrap_or_default();
    let unknown: Vec<String> = names.iter().filter(|name| plan.index_of(name).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(Refusal::UnknownSeat(unknown));
    }
    let mut seats: Vec<SeatIndex> = names.iter().filter_map(|name| plan.index_of(name)).collect();
    seats.sort_unstable();
    seats.dedup();
    Ok(Wish::Seats(seats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_of_more_time_than_a_turn_has() {
        let told = [29_000, 30_000, 30_040, 45_000].map(|left_ms| no_more_than(30, left_ms));
        assert_eq!(
            told,
            [29_000, 30_000, 30_000, 45_000],
            "the last began before the operator shortened turns"
        );
    }
}
