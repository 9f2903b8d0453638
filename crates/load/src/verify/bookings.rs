//! No seat was sold twice, and what was answered is what the shop has.

use super::Findings;
use crate::{
    facts::{BookingFacts, Micros, VisitorFacts, fingerprint},
    http::ExportRow,
};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus,
    plan::{Plan, SeatIndex},
};

/// One answer about one seat, and whose it is.
struct Claim {
    seat: SeatIndex,
    from: Micros,
    until: Micros,
    booking: Uuid,
    visitor: usize,
}

fn answers(visitors: &[VisitorFacts]) -> impl Iterator<Item = (usize, &BookingFacts)> {
    visitors.iter().enumerate().flat_map(|(n, v)| v.bookings.iter().map(move |b| (n, b)))
}

/// A seat is in at most one live booking: among the answers, as far as each was certainly live (a hold may
/// have ended and its seat been sold again), and in the export. Bookings that the shop released while the
/// run went on are left out.
pub fn seats(visitors: &[VisitorFacts], export: Option<&[ExportRow]>, plan: &Plan, findings: &mut Findings) {
    let rows = export.unwrap_or_default();
    let released = |row: &&ExportRow| row.status == BookingStatus::Released;
    let released: HashSet<Uuid> = rows.iter().filter(released).map(|row| row.booking).collect();
    let mut claims = Vec::new();
    for (visitor, booking) in answers(visitors).filter(|(_, b)| !released.contains(&b.booking)) {
        let (from, until) = (booking.answered, booking.live_until);
        let claim = |seat: &SeatIndex| Claim { seat: *seat, from, until, booking: booking.booking, visitor };
        claims.extend(booking.seats.iter().map(claim).filter(|c| c.from < c.until));
    }
    claims.sort_unstable_by_key(|claim| (claim.seat, claim.from));
    for pair in claims.windows(2) {
        let (a, b) = (&pair[0], &pair[1]);
        if a.seat == b.seat && b.from < a.until && a.booking != b.booking {
            findings.add("seat_twice", || {
                let seat = plan.id_of(a.seat);
                format!(
                    "seat {seat} is in booking {} of visitor {} and in {} of visitor {}",
                    a.booking, a.visitor, b.booking, b.visitor
                )
            });
        }
    }
    let mut owner: HashMap<&str, Uuid> = HashMap::new();
    for row in rows.iter().filter(|row| !released.contains(&row.booking)) {
        for seat in &row.seats {
            if let Some(other) = owner.insert(seat, row.booking).filter(|other| *other != row.booking) {
                findings.add("seat_twice", || {
                    format!("the shop has seat {seat} in {other} and in {}", row.booking)
                });
            }
        }
    }
}

/// Every booking answered is in the export, with the same seats; and every booking there of a visitor of
/// this run was answered to him, unless he never learned what became of his last redeem.
pub fn compare(visitors: &[VisitorFacts], export: &[ExportRow], plan: &Plan, findings: &mut Findings) {
    let rows: HashMap<Uuid, &ExportRow> = export.iter().map(|row| (row.booking, row)).collect();
    let mut answered = HashSet::new();
    for (n, booking) in answers(visitors) {
        answered.insert(booking.booking);
        match rows.get(&booking.booking) {
            None => findings.add("booking_missing", || {
                format!(
                    "booking {} was answered to visitor {n}, and the shop does not have it",
                    booking.booking
                )
            }),
            Some(row) if !same_seats(&booking.seats, row, plan) => findings.add("booking_differs", || {
                format!(
                    "booking {} was answered to visitor {n} with other seats than the shop has",
                    row.booking
                )
            }),
            Some(_) => {}
        }
    }
    let known = visitors.iter().enumerate().filter_map(|(n, v)| Some((v.visitor?, n)));
    let known: HashMap<u64, usize> = known.collect();
    for row in export.iter().filter(|row| !answered.contains(&row.booking)) {
        let visitor = known.get(&fingerprint(&row.visitor));
        if let Some(n) = visitor.filter(|n| !visitors[**n].unsure) {
            findings.add("booking_unanswered", || {
                format!("the shop has booking {} of visitor {n}, who was never told", row.booking)
            });
        }
    }
}

fn same_seats(seats: &[SeatIndex], row: &ExportRow, plan: &Plan) -> bool {
    let told: HashSet<&str> = seats.iter().map(|seat| plan.id_of(*seat)).collect();
    told == row.seats.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{facts::NEVER, verify::verify};

    fn plan() -> Plan {
        Plan::parse(include_bytes!("../../../../data/seating-plan-riethsporthalle.json")).unwrap()
    }

    fn booking(id: u128, seats: &[SeatIndex], answered: Micros, live_until: Micros) -> BookingFacts {
        BookingFacts { booking: Uuid::from_u128(id), seats: seats.to_vec(), answered, live_until }
    }

    fn visitor(name: &str, bookings: Vec<BookingFacts>) -> VisitorFacts {
        VisitorFacts { visitor: Some(fingerprint(name)), bookings, ..Default::default() }
    }

    fn row(id: u128, visitor: &str, seats: &[SeatIndex]) -> ExportRow {
        let (seats, status) = (plan().ids_of(seats), BookingStatus::Confirmed);
        ExportRow { booking: Uuid::from_u128(id), visitor: visitor.into(), seats, status }
    }

    fn kinds(visitors: &[VisitorFacts], export: Option<&[ExportRow]>) -> Vec<&'static str> {
        verify(visitors, 0, export, &plan()).kinds()
    }

    #[test]
    fn an_honest_run_is_silent() {
        let visitors = [visitor("a", vec![booking(1, &[1, 2], 5, NEVER)]), visitor("b", vec![])];
        let others = [row(1, "a", &[2, 1]), row(9, "someone else", &[7])];
        assert!(kinds(&visitors, Some(&others)).is_empty());
    }

    #[test]
    fn a_seat_sold_twice_is_found() {
        let twice = [
            visitor("a", vec![booking(1, &[1, 2], 5, NEVER)]),
            visitor("b", vec![booking(2, &[2], 6, NEVER)]),
        ];
        assert_eq!(kinds(&twice, None), ["seat_twice"]);
        assert_eq!(kinds(&[], Some(&[row(1, "x", &[3]), row(2, "y", &[3])])), ["seat_twice"]);
    }

    #[test]
    fn a_seat_whose_hold_ended_or_was_released_may_be_sold_again() {
        let held =
            [visitor("a", vec![booking(1, &[2], 5, 50)]), visitor("b", vec![booking(2, &[2], 60, NEVER)])];
        assert!(kinds(&held, None).is_empty());
        let overlapping =
            [visitor("a", vec![booking(1, &[2], 5, 50)]), visitor("b", vec![booking(2, &[2], 49, 99)])];
        assert_eq!(kinds(&overlapping, None), ["seat_twice"]);
        let released =
            [visitor("a", vec![booking(1, &[2], 5, NEVER)]), visitor("b", vec![booking(2, &[2], 6, NEVER)])];
        let mut rows = [row(1, "a", &[2]), row(2, "b", &[2])];
        rows[0].status = BookingStatus::Released;
        assert!(kinds(&released, Some(&rows)).is_empty());
    }

    #[test]
    fn a_missing_booking_is_found() {
        let visitors = [visitor("a", vec![booking(1, &[1], 5, NEVER)])];
        assert_eq!(kinds(&visitors, Some(&[])), ["booking_missing"]);
        assert_eq!(kinds(&visitors, Some(&[row(1, "a", &[4])])), ["booking_differs"]);
    }

    #[test]
    fn a_booking_that_nobody_was_told_of_is_found_unless_its_answer_was_lost() {
        let mut visitors = [visitor("a", vec![])];
        let rows = [row(1, "a", &[1])];
        assert_eq!(kinds(&visitors, Some(&rows)), ["booking_unanswered"]);
        visitors[0].unsure = true;
        assert!(kinds(&visitors, Some(&rows)).is_empty());
    }
}
