//! What goes over a visitor's wire, as the history says it.

use super::{
    facts::{Breach, PlaceClaim, VisitorFacts},
    history::{Event, Token},
    scene::Scene,
    visitor::Visitor,
};
use tokio::time::Instant;
use wire::protocol::{client::ClientMessage, server::ServerMessage};

/// Writes it down, if a history is kept; what it would be is not even made up otherwise.
pub fn record(scene: &Scene, visitor: &Visitor, at: Instant, event: impl FnOnce() -> Option<Event>) {
    if let Some(recorder) = &scene.recorder
        && let Some(event) = event()
    {
        recorder.record(at, visitor.number(), visitor.connection(), event);
    }
}

/// The server broke its word: counted, and written down.
pub fn breach(scene: &Scene, visitor: &Visitor, facts: &mut VisitorFacts, breach: Breach) {
    record(scene, visitor, Instant::now(), || Some(Event::Breach(breach.to_string())));
    facts.breaches.push(breach);
}

/// A message is sent.
pub fn said(scene: &Scene, visitor: &Visitor, message: &ClientMessage) {
    let now = Instant::now();
    record(scene, visitor, now, || match message {
        ClientMessage::Join { again, .. } => Some(Event::Join { again: *again == Some(true) }),
        ClientMessage::Leave {} => Some(Event::Leave),
        ClientMessage::Seats {} => Some(Event::Seats),
        ClientMessage::Redeem(redeem) => {
            let (token, intended) = visitor.trying(&redeem.request).unwrap_or((Token::Forged, now));
            Some(Event::Redeem {
                request: redeem.request.clone(),
                intended: scene.recorder.as_ref()?.clock().us(intended),
                token,
                seats: redeem.seats.clone(),
                best: redeem.best.as_ref().map(|best| best.count),
            })
        }
        ClientMessage::Ping {} => None,
    });
}

/// A message came; before the visitor has taken it in.
pub fn heard(scene: &Scene, visitor: &Visitor, facts: &VisitorFacts, at: Instant, message: &ServerMessage) {
    record(scene, visitor, at, || {
        Some(match message {
            ServerMessage::Joined(joined) => {
                let claim = joined.place.as_deref().and_then(PlaceClaim::read);
                Event::Joined {
                    seq: claim.as_ref().map(|claim| claim.seq),
                    visitor: claim.filter(|_| facts.visitor.is_none()).map(|claim| claim.visitor),
                    epoch: joined.epoch,
                    state: joined.state,
                    rank: joined.rank,
                    total: joined.total,
                    phase: joined.phase,
                }
            }
            ServerMessage::Rank { rank, .. } => Event::Rank(*rank),
            ServerMessage::Granted(granted) => Event::Granted {
                expires_in_ms: granted.expires_in_ms,
                claim_in_ms: granted.claim_in_ms,
                max_seats: granted.max_seats,
            },
            ServerMessage::Lapsed { reason } => Event::Lapsed(*reason),
            ServerMessage::Booking(booking) => Event::Booking {
                request: booking.request.clone(),
                booking: booking.booking,
                seats: booking.seats.clone(),
                status: booking.status,
                hold_expires_in_ms: booking.hold_expires_in_ms,
            },
            ServerMessage::Refused(refused) => {
                let shown_free =
                    visitor.shown_free(&refused.request).filter(|_| refused.reason == "seat_taken");
                Event::Refused {
                    request: refused.request.clone(),
                    reason: refused.reason.clone(),
                    shown_free,
                }
            }
            ServerMessage::Phase { phase, .. } => Event::Phase(*phase),
            _ => return None,
        })
    });
}
