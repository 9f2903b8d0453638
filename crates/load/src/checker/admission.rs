//! Invariant 3: admissions keep to the rate, live grants to `max_active`, and nobody is admitted while the sale stands.

use super::{
    facts::{Facts, Grant},
    finding::{Findings, Invariant},
    log::{Log, Op, Spot, What},
    state::ShopState,
};
use crate::facts::{Micros, NEVER};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;
use wire::domain::{booking::BookingStatus, line::TICK_MS_MAX, phase::Phase, sale::SaleSettings};

/// Time for which one tick may admit: one that is late by a stall of the instances.
const TICK_S: f64 = TICK_MS_MAX as f64 / 1000.0;

/// In any window, at most `rate` × window + one tick were admitted. A grant was decided before it was read, at most by
/// `tolerance`, so a window counts that much longer. The worst window ends at some grant; the best beginning for each
/// is kept from those before: O(n) after sorting.
pub(super) fn rate(facts: &Facts, settings: &SaleSettings, tolerance: Micros, findings: &mut Findings) {
    let mut grants: Vec<&Grant> = facts.grants.iter().collect();
    grants.sort_unstable_by_key(|grant| grant.decided_by);
    findings.over(Invariant::Admission, grants.len());
    let seconds = |us: Micros| us as f64 / 1e6;
    // A bucket keeps less than one admission, and the first and the last of a window count both.
    let allowed = settings.rate * (seconds(tolerance) + TICK_S) + 1.0;
    let mut start: Option<(f64, usize)> = None;
    for (i, grant) in grants.iter().enumerate() {
        let above = i as f64 - settings.rate * seconds(grant.decided_by);
        let (lowest, from) = *start.get_or_insert((above, i));
        if above < lowest {
            start = Some((above, i));
        } else if above - lowest + 1.0 > allowed {
            let first = grants[from];
            findings.add(Invariant::Admission, [first.seen.spot, grant.seen.spot], || {
                let window_ms = (grant.decided_by - first.decided_by) / 1000;
                let rate = settings.rate;
                format!("{} admissions within {window_ms} ms, at {rate} a second", i - from + 1)
            });
            // The next finding is another window's.
            start = None;
        }
    }
}

/// At no moment do grants that surely live, and bookings that surely are held, exceed `max_active`.
pub(super) fn active(
    log: &Log,
    facts: &Facts,
    settings: &SaleSettings,
    shop: Option<&ShopState>,
    tolerance: Micros,
    findings: &mut Findings,
) {
    let mut changes: Vec<(Micros, i32, Spot)> = Vec::new();
    let mut span = |from: Micros, until: Micros, spot: Spot| {
        if from < until {
            changes.extend([(from, 1, spot), (until, -1, spot)]);
        }
    };
    for grant in &facts.grants {
        let deadline = grant.expires_at.min(grant.claim_at).min(grant.ended_by);
        let until = deadline.min(facts.epoch_end(grant.epoch)).saturating_sub(tolerance);
        span(grant.seen.at, until, grant.seen.spot);
    }
    // When a hold was confirmed or released is not written down: those count that are held to this day.
    let held = shop.iter().flat_map(|shop| &shop.bookings).filter(|b| b.status == BookingStatus::Held);
    let mut held: HashSet<Uuid> = held.map(|booking| booking.booking).collect();
    for op in log.visitors().flatten() {
        let What::Booking(index) = op.what else { continue };
        let booking = &log.bookings[index as usize];
        if let Some(hold_ms) = booking.hold_ms.filter(|_| held.remove(&booking.booking)) {
            span(op.at, (op.at + hold_ms * 1000).saturating_sub(tolerance), op.spot);
        }
    }
    changes.sort_unstable_by_key(|(at, by, _)| (*at, *by));
    let (mut live, mut above) = (0, false);
    for (_, by, spot) in changes {
        live += by;
        let over = i64::from(live) > i64::from(settings.max_active);
        if over && !above {
            findings.add(Invariant::Admission, [spot], || {
                format!(
                    "{live} grants and held bookings lived at once, and max_active is {}",
                    settings.max_active
                )
            });
        }
        above = over;
    }
}

/// Nobody is admitted while the sale is scheduled, paused or closed. It surely is from the moment at which a connection
/// was told so until the last that it heard without being told otherwise, or until anyone was, less the time that this may have taken.
pub(super) fn phases(log: &Log, facts: &Facts, tolerance: Micros, findings: &mut Findings) {
    let (mut told_open, mut standing) = (Vec::new(), Vec::new());
    for ops in log.visitors() {
        witness(log, ops, &mut told_open, &mut standing);
        // Closed is for good.
        let closed = ops.iter().find(|op| matches!(op.what, What::Phase(Phase::Closed)));
        standing.extend(closed.map(|op| (op.at, NEVER, op.spot)));
    }
    told_open.sort_unstable();
    let mut spans: Vec<(Micros, Micros, Spot)> = standing
        .into_iter()
        .filter_map(|(from, until, spot)| {
            let next = told_open.partition_point(|at| *at <= from);
            let until = told_open.get(next).map_or(until, |open| until.min(*open));
            let (from, until) = (from + tolerance, until.saturating_sub(tolerance));
            (from < until).then_some((from, until, spot))
        })
        .collect();
    spans.sort_unstable_by_key(|(from, until, _)| (*from, *until));
    // Of the spans that began before, the one that lasts longest decides.
    let mut longest: Vec<(Micros, Micros, Spot)> = Vec::with_capacity(spans.len());
    for span in spans {
        let best =
            longest.last().filter(|best| best.1 > span.1).map_or(span, |best| (span.0, best.1, best.2));
        longest.push(best);
    }
    for grant in &facts.grants {
        let before = longest.partition_point(|(from, ..)| *from < grant.decided_by);
        let Some((_, until, spot)) = before.checked_sub(1).map(|i| longest[i]) else { continue };
        if grant.decided_by < until {
            findings.add(Invariant::Admission, [spot, grant.seen.spot], || {
                let place = facts.place(grant.place);
                format!("visitor {} was admitted while the sale stood still", place.visitor)
            });
        }
    }
}

/// What one visitor's connections were told: when that it is open, and from when until when that it stands.
fn witness(log: &Log, ops: &[Op], told_open: &mut Vec<Micros>, standing: &mut Vec<(Micros, Micros, Spot)>) {
    let stands = |phase| matches!(phase, Phase::Scheduled | Phase::Paused | Phase::Closed);
    let mut since: HashMap<u32, (Micros, Micros, Spot)> = HashMap::new();
    for op in ops {
        let told = match op.what {
            What::Phase(phase) => Some(phase),
            What::Joined(index) => Some(log.joined[index as usize].phase),
            // A phase is told before what comes after it: until here it was the old one.
            What::Rank(_)
            | What::Granted { .. }
            | What::Lapsed(_)
            | What::Booking(_)
            | What::Refused { .. } => None,
            // What this connection was not told any more, it does not witness.
            What::Cut(_) => {
                standing.extend(since.remove(&op.connection));
                continue;
            }
            What::Arrive | What::Join | What::Seats | What::Redeem { .. } | What::Leave | What::Breach(_) => {
                continue;
            }
        };
        if let Some((_, until, _)) = since.get_mut(&op.connection) {
            *until = op.at;
        }
        match told {
            Some(phase) if stands(phase) => {
                since.entry(op.connection).or_insert((op.at, op.at, op.spot));
            }
            Some(_) => {
                standing.extend(since.remove(&op.connection));
                told_open.push(op.at);
            }
            None => {}
        }
    }
    standing.extend(since.into_values());
}
