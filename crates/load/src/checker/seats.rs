//! Invariant 4: a seat is in at most one live booking. Invariant 5: what was answered is what the shop has.

use super::{
    facts::Facts,
    finding::{Findings, Invariant},
    log::{BookingOp, Log, Spot, What},
    state::{ShopBooking, ShopState},
};
use crate::facts::{Micros, NEVER};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;
use wire::domain::booking::BookingStatus;

/// One answer about one seat.
struct Claim {
    seat: u32,
    from: Micros,
    until: Micros,
    booking: Uuid,
    visitor: u32,
    spot: Spot,
}

fn answers(log: &Log) -> impl Iterator<Item = (Micros, u32, Spot, &BookingOp)> {
    log.visitors().flatten().filter_map(|op| match op.what {
        What::Booking(index) => Some((op.at, op.visitor, op.spot, &log.bookings[index as usize])),
        _ => None,
    })
}

/// Among the answers, as far as each was certainly live: a hold may have ended and its seat been sold again. Bookings
/// that were released, nobody knows when, are left out.
pub(super) fn answered(log: &Log, shop: &ShopState, tolerance: Micros, findings: &mut Findings) {
    let released = shop.bookings.iter().filter(|row| row.status == BookingStatus::Released);
    let released: HashSet<Uuid> = released.map(|row| row.booking).collect();
    let mut claims = Vec::new();
    for (at, visitor, spot, booking) in answers(log) {
        let until = match (booking.status, booking.hold_ms) {
            (BookingStatus::Confirmed, _) => NEVER,
            (BookingStatus::Held, Some(hold_ms)) => (at + hold_ms * 1000).saturating_sub(tolerance),
            _ => continue,
        };
        if !released.contains(&booking.booking) && at < until {
            let claim =
                |seat: &u32| Claim { seat: *seat, from: at, until, booking: booking.booking, visitor, spot };
            claims.extend(booking.seats.iter().map(claim));
        }
    }
    claims.sort_unstable_by_key(|claim| (claim.seat, claim.from, claim.booking));
    findings.over(Invariant::Seats, claims.len());
    for seat in claims.chunk_by(|a, b| a.seat == b.seat) {
        let mut longest = &seat[0];
        for claim in seat {
            if claim.booking != longest.booking && claim.from < longest.until {
                findings.add(Invariant::Seats, [longest.spot, claim.spot], || {
                    format!(
                        "seat {} is in booking {} of visitor {} and in {} of visitor {}",
                        log.seats.name(claim.seat),
                        longest.booking,
                        longest.visitor,
                        claim.booking,
                        claim.visitor
                    )
                });
            }
            if claim.until > longest.until || claim.booking == longest.booking {
                longest = claim;
            }
        }
    }
}

/// In the shop itself: a seat once, a grant once, and the taken seats are those of the live bookings.
pub(super) fn sold(shop: &ShopState, findings: &mut Findings) {
    findings.over(Invariant::Seats, shop.seats.len());
    let (mut owner, mut grants) = (HashMap::new(), HashMap::new());
    let rows: HashMap<&str, Uuid> = shop.seats.iter().map(|(seat, by)| (seat.as_str(), *by)).collect();
    for row in &shop.bookings {
        if let Some(other) = grants.insert(row.grant, row.booking) {
            findings.add(Invariant::Seats, [], || {
                format!("bookings {other} and {} were made with the same token", row.booking)
            });
        }
        for seat in row.seats.iter().filter(|_| row.status != BookingStatus::Released) {
            if let Some(other) = owner.insert(seat.as_str(), row.booking) {
                findings.add(Invariant::Seats, [], || {
                    format!("seat {seat} is in {other} and in {}", row.booking)
                });
            }
            if rows.get(seat.as_str()) != Some(&row.booking) {
                findings.add(Invariant::Seats, [], || {
                    format!("booking {} has seat {seat}, which is not taken by it", row.booking)
                });
            }
        }
    }
    for (seat, by) in shop.seats.iter().filter(|(seat, _)| !owner.contains_key(seat.as_str())) {
        findings.add(Invariant::Seats, [], || {
            format!("seat {seat} is taken by booking {by}, which has no such seat or does not live")
        });
    }
}

/// Every booking answered is in the shop, its visitor's, with the same seats and a status that can follow; and every
/// booking there of a visitor of the run was answered to him, unless he never learned what became of a redeem.
pub(super) fn compare(log: &Log, facts: &Facts, shop: &ShopState, findings: &mut Findings) {
    let rows: HashMap<Uuid, &ShopBooking> = shop.bookings.iter().map(|row| (row.booking, row)).collect();
    let ids: HashMap<u32, u64> = facts.visitors.iter().filter_map(|v| Some((v.number, v.id?))).collect();
    let mut told = HashSet::new();
    for (_, visitor, spot, booking) in answers(log) {
        told.insert(booking.booking);
        findings.over(Invariant::Bookings, 1);
        let fault = match rows.get(&booking.booking) {
            None => Some("and the shop does not have it"),
            Some(row) if ids.get(&visitor).is_some_and(|id| *id != row.visitor) => {
                Some("and the shop has it as another visitor's")
            }
            Some(row) if !same_seats(log, booking, row) => Some("with other seats than the shop has"),
            Some(row) if booking.status != BookingStatus::Held && row.status == BookingStatus::Held => {
                Some("as settled, and the shop has it held")
            }
            Some(_) => None,
        };
        if let Some(fault) = fault {
            findings.add(Invariant::Bookings, [spot], || {
                format!("booking {} was answered to visitor {visitor}, {fault}", booking.booking)
            });
        }
    }
    let excused = |v: &&super::facts::Visitor| !v.unknown_redeem && !v.known_before;
    let visitors: HashMap<u64, u32> =
        facts.visitors.iter().filter(excused).filter_map(|v| Some((v.id?, v.number))).collect();
    for row in shop.bookings.iter().filter(|row| !told.contains(&row.booking)) {
        if let Some(visitor) = visitors.get(&row.visitor) {
            findings.add(Invariant::Bookings, [], || {
                format!("the shop has booking {} of visitor {visitor}, who was never told", row.booking)
            });
        }
    }
}

fn same_seats(log: &Log, booking: &BookingOp, row: &ShopBooking) -> bool {
    let told: HashSet<&str> = booking.seats.iter().map(|seat| log.seats.name(*seat)).collect();
    told == row.seats.iter().map(String::as_str).collect()
}
