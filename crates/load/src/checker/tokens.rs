//! Invariants 4 and 8: a token books at most once, always the same, and only the token of a live grant books.

use super::{
    facts::{Facts, Moment, Visitor},
    finding::{Findings, Invariant},
    log::{BookingOp, Log, Op, Spot, What},
    state::ShopState,
};
use crate::history::Token;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;
use wire::domain::{
    ids::{GrantKey, Seq},
    place::LapseReason,
};

/// Every redeem and its answer.
pub(super) fn answers(log: &Log, facts: &Facts, findings: &mut Findings) {
    for (ops, visitor) in log.visitors().zip(&facts.visitors) {
        let mut walk = Walk::new(log, visitor, findings);
        ops.iter().for_each(|op| walk.step(op));
    }
}

/// A redeem without an answer as yet, with what its visitor knew when he sent it.
struct Redeem {
    connection: u32,
    request: u32,
    token: Token,
    sent: Moment,
    place: Option<Seq>,
    granted: bool,
    lapsed: Option<Spot>,
    booked: Option<(Uuid, Spot)>,
}

struct Walk<'a, 'b, 'c> {
    log: &'a Log,
    visitor: &'a Visitor,
    findings: &'b mut Findings<'c>,
    connections: Vec<(u32, Seq)>,
    latest: Option<Seq>,
    granted: bool,
    granted_on: u32,
    /// The last grant is known to have ended unspent.
    lapsed: Option<Spot>,
    redeems: Vec<Redeem>,
    /// A redeem was sent whose answer never came: any booking may be its.
    unsure: bool,
    bookings: Vec<Uuid>,
    by_place: Vec<(Seq, Uuid, Spot)>,
}

impl<'a, 'b, 'c> Walk<'a, 'b, 'c> {
    fn new(log: &'a Log, visitor: &'a Visitor, findings: &'b mut Findings<'c>) -> Self {
        Self {
            log,
            visitor,
            findings,
            connections: Vec::new(),
            latest: None,
            granted: false,
            granted_on: 0,
            lapsed: None,
            redeems: Vec::new(),
            unsure: false,
            bookings: Vec::new(),
            by_place: Vec::new(),
        }
    }

    fn step(&mut self, op: &Op) {
        match op.what {
            What::Joined(index) => {
                let seq = self.log.joined[index as usize].seq;
                self.connections.retain(|(connection, _)| *connection != op.connection);
                self.connections.extend(seq.map(|seq| (op.connection, seq)));
                self.latest = seq.or(self.latest);
            }
            What::Granted { .. } => {
                (self.granted, self.granted_on, self.lapsed) = (true, op.connection, None);
            }
            // Another connection may hear late of an earlier grant.
            What::Lapsed(LapseReason::Missed | LapseReason::Expired) if op.connection == self.granted_on => {
                self.lapsed = Some(op.spot);
            }
            What::Redeem { request, token } => self.redeem(op, request, token),
            What::Booking(index) => self.booked(op, &self.log.bookings[index as usize]),
            What::Refused { request, reason } => self.refused(op, request, reason),
            What::Cut(_) => {
                let before = self.redeems.len();
                self.redeems.retain(|redeem| redeem.connection != op.connection);
                self.unsure |= self.redeems.len() < before;
            }
            _ => {}
        }
    }

    fn redeem(&mut self, op: &Op, request: u32, token: Token) {
        self.findings.over(Invariant::Tokens, 1);
        let here = self.connections.iter().find(|(connection, _)| *connection == op.connection);
        let place = here.map(|(_, seq)| *seq).or(self.latest);
        let booked = self.by_place.iter().find(|(seq, ..)| Some(*seq) == place);
        self.redeems.push(Redeem {
            connection: op.connection,
            request,
            token,
            sent: Moment { at: op.at, spot: op.spot },
            place,
            granted: self.granted,
            lapsed: self.lapsed,
            booked: booked.map(|(_, booking, spot)| (*booking, *spot)),
        });
    }

    fn answered(&mut self, op: &Op, request: u32) -> Option<Redeem> {
        let mine = |redeem: &Redeem| redeem.connection == op.connection && redeem.request == request;
        self.redeems.iter().position(mine).map(|at| self.redeems.swap_remove(at))
    }

    fn booked(&mut self, op: &Op, booking: &BookingOp) {
        let (visitor, id) = (op.visitor, booking.booking);
        let redeem = booking.request.and_then(|request| self.answered(op, request));
        let known = self.bookings.contains(&id);
        // Nothing else that was sent can have made it.
        let fresh = !known && !self.unsure && self.redeems.iter().all(|other| other.token != Token::Own);
        let known_before = self.visitor.known_before;
        let granted = redeem.as_ref().map_or(self.granted, |redeem| redeem.granted);
        let sent = redeem.as_ref().map(|redeem| redeem.sent.spot);
        let spots = |other: Option<Spot>| other.into_iter().chain(sent).chain([op.spot]);
        if !granted && !known && !known_before {
            self.findings.add(Invariant::Tokens, spots(None), || {
                format!("visitor {visitor} got booking {id} without ever having been granted")
            });
        }
        if let Some(redeem) = &redeem {
            let lapsed = redeem.lapsed.filter(|_| fresh);
            match redeem.token {
                Token::Foreign | Token::Forged => self.findings.add(Invariant::Tokens, spots(None), || {
                    format!("visitor {visitor} got booking {id} for a token that is not his")
                }),
                Token::Old if fresh && !known_before => {
                    self.findings.add(Invariant::Tokens, spots(lapsed), || {
                        format!("visitor {visitor} got the new booking {id} for an old token")
                    });
                }
                Token::Own if lapsed.is_some() => self.findings.add(Invariant::Tokens, spots(lapsed), || {
                    format!(
                        "visitor {visitor} got booking {id} for a grant that had lapsed before he sent it"
                    )
                }),
                Token::Own => self.once(op, redeem, id),
                Token::Old => {}
            }
        }
        if !known {
            self.bookings.push(id);
        }
    }

    /// A place ends with its booking, so that its token has one at most.
    fn once(&mut self, op: &Op, redeem: &Redeem, id: Uuid) {
        let Some(place) = redeem.place else { return };
        match self.by_place.iter().find(|(seq, ..)| *seq == place) {
            Some((_, other, spot)) if *other != id => {
                self.findings.add(Invariant::Seats, [*spot, redeem.sent.spot, op.spot], || {
                    let visitor = op.visitor;
                    format!(
                        "the token of place {place} of visitor {visitor} got booking {other} and then {id}"
                    )
                });
            }
            Some(_) => {}
            None => self.by_place.push((place, id, op.spot)),
        }
    }

    fn refused(&mut self, op: &Op, request: u32, reason: u16) {
        let Some(redeem) = self.answered(op, request).filter(|redeem| redeem.token == Token::Own) else {
            return;
        };
        let (visitor, reason) = (op.visitor, self.log.reasons.name(u32::from(reason)));
        if let Some((booking, spot)) = redeem.booked.filter(|_| reason != "busy") {
            self.findings.add(Invariant::Seats, [spot, redeem.sent.spot, op.spot], || {
                format!("visitor {visitor}'s token had booking {booking} and was refused: {reason}")
            });
        }
        if reason == "token_invalid" {
            self.findings.add(Invariant::Contract, [redeem.sent.spot, op.spot], || {
                format!("visitor {visitor}'s own token was called invalid")
            });
        }
    }
}

/// Every booking of a visitor of the run was made with a grant of one of his own places, which he saw.
pub(super) fn grants(facts: &Facts, shop: &ShopState, findings: &mut Findings) {
    let visitors: HashMap<u64, &Visitor> =
        facts.visitors.iter().filter_map(|visitor| Some((visitor.id?, visitor))).collect();
    for row in &shop.bookings {
        let Some(visitor) = visitors.get(&row.visitor).filter(|visitor| !visitor.known_before) else {
            continue;
        };
        findings.over(Invariant::Tokens, 1);
        let (number, booking) = (visitor.number, row.booking);
        if !visitor.granted {
            findings.add(Invariant::Tokens, [], || {
                format!("the shop has booking {booking} of visitor {number}, who never saw a grant")
            });
        }
        let ids: HashSet<Uuid> = facts
            .places_of(visitor)
            .iter()
            .flat_map(|place| [0, 1].map(|turn| GrantKey { seq: place.seq, turn }.grant_id(&shop.sale)))
            .collect();
        if !ids.contains(&row.grant) && !visitor.unreadable && !visitor.unknown_join {
            findings.add(Invariant::Tokens, [], || {
                format!("booking {booking} of visitor {number} was made with a grant of no place of his")
            });
        }
    }
}
