//! A bug is planted for each promise, and is caught under its name.

use super::*;
use wire::domain::place::LapseReason;

fn is_joined(event: &Event) -> bool {
    matches!(event, Event::Joined { .. })
}

fn is_granted(event: &Event) -> bool {
    matches!(event, Event::Granted { .. })
}

fn is_booking(event: &Event) -> bool {
    matches!(event, Event::Booking { .. })
}

#[test]
fn a_healthy_history_is_proved() {
    for verdict in Recorded::healthy(100).verdicts() {
        assert_eq!(verdict.status, Status::Proved, "{verdict}");
        assert!(verdict.checked >= 100, "{verdict}");
    }
}

#[test]
fn what_shows_too_little_is_said() {
    let lacking = |recorded: &Recorded| -> Vec<Invariant> {
        let verdicts = recorded.verdicts().into_iter().filter(|v| v.status != Status::Proved);
        verdicts.map(|verdict| verdict.invariant).collect()
    };
    let mut recorded = Recorded::healthy(10);
    recorded.settings = None;
    assert_eq!(lacking(&recorded), [Invariant::Admission]);
    let mut recorded = Recorded::healthy(10);
    recorded.state.line = None;
    assert_eq!(lacking(&recorded), [Invariant::Kept]);
    let mut recorded = Recorded::healthy(10);
    recorded.state.shop = None;
    assert_eq!(lacking(&recorded), [Invariant::Seats, Invariant::Bookings]);
    let mut recorded = Recorded::healthy(10);
    recorded.lag_us = None;
    use Invariant::*;
    assert_eq!(lacking(&recorded), [Order, Admission, Seats, Ranks, Drained]);
    let mut recorded = Recorded::healthy(10);
    recorded.shop().settings.rate = 20.0;
    assert_eq!(lacking(&recorded), [Admission]);
    let mut recorded = Recorded::healthy(10);
    recorded.find(3, is_joined).3 = stands(3, None, Standing::Waiting, 3);
    assert_eq!(recorded.violated(), []);
    assert_eq!(lacking(&recorded), [Order, Places, Kept]);
    assert!(Recorded::new().verdicts().iter().all(|verdict| verdict.status == Status::TooLittle));
}

#[test]
fn a_place_drawn_out_of_order() {
    let mut recorded = Recorded::healthy(10);
    for (v, seq) in [(4, 7), (6, 5)] {
        if let Event::Joined { seq: known, .. } = &mut recorded.find(v, is_joined).3 {
            *known = Some(seq);
        }
        recorded.line().places[v as usize].seq = seq;
        recorded.shop().bookings[v as usize].grant = GrantKey { seq, turn: 0 }.grant_id(&sale());
    }
    let verdicts = recorded.verdicts();
    let order = &verdicts[Invariant::Order.number()];
    assert_eq!(order.status, Status::Violated);
    assert!(order.examples[0].text.contains("visitor 4 had place 7"), "{order}");
    // Nine entries a visitor from line 2 on.
    assert_eq!(order.examples[0].lines[0], format!("h.jsonl:{}", 2 + 4 * 9 + 2));
}

#[test]
fn a_grant_out_of_order() {
    let mut recorded = Recorded::healthy(40);
    recorded.stop(3, 20 * S);
    recorded.put(23 * S, 3, 1, Event::Rank(0));
    recorded.put(24 * S, 3, 1, Event::Leave);
    recorded.put(24 * S + 1, 3, 1, Event::Lapsed(LapseReason::Left));
    recorded.keep(3, 4, Stage::Ended);
    assert!(recorded.example(Invariant::Order).text.contains("visitor 3 at place 4 waited"));
}

#[test]
fn a_grant_behind_someone_who_is_still_in_the_line() {
    let mut recorded = Recorded::healthy(10);
    recorded.stop(8, 20 * S);
    recorded.keep(8, 9, Stage::Waiting);
    // The one behind him was shown rank 0, too.
    assert_eq!(recorded.violated(), [Invariant::Order, Invariant::Ranks]);
    let order = &recorded.verdicts()[Invariant::Order.number()];
    assert!(order.examples[0].text.contains("visitor 8 at place 9 is in the line"), "{order}");
}

#[test]
fn a_place_given_to_two() {
    let mut recorded = Recorded::healthy(10);
    recorded.put(205 * MS, 20, 1, Event::Join { again: false });
    recorded.put(206 * MS, 20, 1, joined(20, 10, 9));
    recorded.put(207 * MS, 20, 1, Event::Leave);
    let text = recorded.example(Invariant::Places).text;
    assert!(text.contains("both were given") || text.contains("were both given place 10"), "{text}");
}

#[test]
fn an_ended_place_that_comes_back() {
    let mut recorded = Recorded::healthy(10);
    recorded.stop(9, 19 * S);
    recorded.put(19 * S, 9, 1, Event::Leave);
    recorded.put(19 * S + 1, 9, 1, Event::Lapsed(LapseReason::Left));
    recorded.put(19 * S + 2, 9, 1, Event::Join { again: false });
    recorded.put(19 * S + 3, 9, 1, joined(9, 10, 9));
    recorded.put(19 * S + 4, 9, 1, Event::Leave);
    recorded.keep(9, 10, Stage::Ended);
    assert!(recorded.example(Invariant::Places).text.contains("had ended and stood again"));

    let mut recorded = Recorded::healthy(10);
    recorded.line().places.remove(9);
    recorded.keep(9, 10, Stage::Waiting);
    assert!(recorded.violated().contains(&Invariant::Places));
}

#[test]
fn a_turn_missed_twice_is_not_kept() {
    let mut recorded = Recorded::healthy(10);
    recorded.stop(9, 20 * S);
    for (at, again) in [(21 * S, true), (90 * S, false)] {
        recorded.put(at, 9, 1, grant());
        recorded.put(at + 60 * S, 9, 1, Event::Lapsed(LapseReason::Missed));
        if again {
            recorded.put(at + 61 * S, 9, 1, Event::Join { again: false });
            recorded.put(at + 61 * S + 1, 9, 1, joined(9, 10, 0));
        }
    }
    recorded.keep(9, 10, Stage::Away);
    recorded.ended_us = 200 * S;
    assert!(recorded.example(Invariant::Places).text.contains("missed its turn twice"));
}

#[test]
fn a_line_at_odds_with_itself() {
    let mut recorded = Recorded::healthy(10);
    let visitor = fingerprint("someone else");
    recorded.line().places.push(PlaceState { visitor, seq: 77, stage: Stage::Waiting });
    assert!(recorded.example(Invariant::Kept).text.contains("in no set"));
    recorded.line().line.push((visitor, 77));
    assert_eq!(recorded.violated(), []);
    recorded.line().away.push((visitor, 77));
    assert!(recorded.violated().contains(&Invariant::Places));
}

#[test]
fn admissions_above_the_rate() {
    let mut recorded = Recorded::healthy(100);
    // From 20 s on twice as fast: ten seconds' worth in five.
    for entry in &mut recorded.entries {
        if entry.0 > 19 * S {
            entry.0 = 19 * S + (entry.0 - 19 * S) / 2;
        }
    }
    assert!(recorded.example(Invariant::Admission).text.contains("at 10 a second"));
}

#[test]
fn more_live_grants_than_allowed() {
    let mut recorded = Recorded::healthy(100);
    for entry in &mut recorded.entries {
        if matches!(entry.3, Event::Redeem { .. } | Event::Booking { .. } | Event::Cut(_)) {
            entry.0 += 5 * S;
        }
    }
    assert!(recorded.example(Invariant::Admission).text.contains("max_active is 20"));
}

#[test]
fn an_admission_while_paused() {
    let mut recorded = Recorded::healthy(100);
    recorded.put(22 * S, 99, 1, Event::Phase(Phase::Paused));
    recorded.put(26 * S, 99, 1, Event::Phase(Phase::Open));
    assert!(recorded.example(Invariant::Admission).text.contains("stood still"));
    // Who hears ranks while it stands witnesses it too, whatever comes of his connection.
    let mut unopened = Recorded::healthy(100);
    unopened.put(22 * S, 99, 1, Event::Phase(Phase::Paused));
    assert!(unopened.example(Invariant::Admission).text.contains("stood still"));
    // Who joins in between and hears that it is open puts an end to what is sure.
    let Some(Entry(at, ..)) = recorded.entries.iter().find(|e| is_joined(&e.3)) else { panic!() };
    assert!(*at < 22 * S);
    recorded.put(22 * S + MS, 98, 1, Event::Phase(Phase::Open));
    assert_eq!(recorded.violated(), []);
}

#[test]
fn a_seat_sold_twice() {
    let mut recorded = Recorded::healthy(10);
    let other = Uuid::from_u128(5);
    if let Event::Booking { seats, .. } = &mut recorded.find(4, is_booking).3 {
        *seats = vec![seat(3)];
    }
    let row = recorded.shop().bookings.iter_mut().find(|row| row.booking == other).unwrap();
    row.seats = vec![seat(3)];
    recorded.shop().seats.retain(|(_, by)| *by != other);
    assert!(recorded.example(Invariant::Seats).text.contains("seat A-3 is in booking"));
    // Released meanwhile, it may have been sold again.
    recorded.shop().bookings[3].status = BookingStatus::Released;
    recorded.shop().seats[3].1 = other;
    assert_eq!(recorded.violated(), []);
}

#[test]
fn a_token_that_books_twice_or_forgets() {
    let again = |recorded: &mut Recorded, answer: Event| {
        let at = recorded.find(4, |event| matches!(event, Event::Cut(_))).0;
        recorded.find(4, |event| matches!(event, Event::Cut(_))).0 += S;
        recorded.put(at + 1, 4, 1, redeem("r2", Token::Own));
        recorded.put(at + 2, 4, 1, answer);
    };
    let mut recorded = Recorded::healthy(10);
    again(&mut recorded, booked(Some("r2"), Uuid::from_u128(5), &[&seat(4)]));
    assert_eq!(recorded.violated(), []);

    let mut recorded = Recorded::healthy(10);
    again(&mut recorded, booked(Some("r2"), Uuid::from_u128(99), &["B-1"]));
    recorded.sell(4, 5, Uuid::from_u128(99), &["B-1"]);
    let text = recorded.example(Invariant::Seats).text;
    assert!(text.contains("token"), "{text}");

    let mut recorded = Recorded::healthy(10);
    again(&mut recorded, refused("r2", "seat_taken"));
    assert!(recorded.example(Invariant::Seats).text.contains("was refused: seat_taken"));
}

#[test]
fn bookings_that_the_shop_has_not_or_otherwise() {
    let mut recorded = Recorded::healthy(10);
    recorded.shop().bookings.remove(4);
    recorded.shop().seats.remove(4);
    assert!(recorded.example(Invariant::Bookings).text.contains("does not have it"));

    let mut recorded = Recorded::healthy(10);
    recorded.shop().bookings[4].seats = vec!["Z-1".into()];
    recorded.shop().seats[4].0 = "Z-1".into();
    assert!(recorded.example(Invariant::Bookings).text.contains("other seats"));

    let mut recorded = Recorded::healthy(10);
    recorded.shop().bookings[4].visitor = fingerprint("someone else");
    assert!(recorded.example(Invariant::Bookings).text.contains("another visitor's"));

    let mut recorded = Recorded::healthy(10);
    recorded.shop().bookings[4].status = BookingStatus::Held;
    assert!(recorded.example(Invariant::Bookings).text.contains("as settled"));
}

#[test]
fn a_booking_that_nobody_was_told_of() {
    let mut recorded = Recorded::healthy(10);
    recorded.find(4, is_booking).3 = refused("r1", "seat_taken");
    assert!(recorded.example(Invariant::Bookings).text.contains("never told"));
    // Cut before the answer, he could not be told.
    recorded.entries.retain(|entry| entry.1 != 4 || !matches!(entry.3, Event::Refused { .. }));
    assert_eq!(recorded.violated(), []);
}

#[test]
fn a_rank_that_rises() {
    let mut recorded = Recorded::healthy(10);
    recorded.put(19 * S, 9, 1, Event::Rank(3));
    recorded.put(19 * S + MS, 9, 1, Event::Rank(4));
    assert!(recorded.example(Invariant::Ranks).text.contains("rose from 3 to 4"));
}

#[test]
fn a_rank_that_cannot_be() {
    // Too high for its seq; shown 0 while a hundred wait ahead; and 5 long after all ahead were gone.
    let mut recorded = Recorded::healthy(100);
    if let Event::Joined { rank, .. } = &mut recorded.find(9, is_joined).3 {
        *rank = 10;
    }
    assert!(recorded.example(Invariant::Ranks).text.contains("at most 9"));

    let mut recorded = Recorded::healthy(100);
    recorded.put(15 * S, 99, 1, Event::Rank(0));
    assert!(recorded.example(Invariant::Ranks).text.contains("99 earlier places were in the line"));

    let mut recorded = Recorded::healthy(100);
    recorded.stop(99, 20 * S);
    recorded.put(70 * S, 99, 1, Event::Rank(5));
    recorded.put(70 * S, 99, 1, Event::Leave);
    recorded.keep(99, 100, Stage::Ended);
    assert!(recorded.example(Invariant::Ranks).text.contains("at most 0"));
}

#[test]
fn a_place_that_is_lost_or_invented() {
    let mut recorded = Recorded::healthy(10);
    recorded.stop(9, 20 * S);
    assert!(recorded.example(Invariant::Kept).text.contains("does not have it"));
    recorded.keep(9, 10, Stage::Waiting);
    assert_eq!(recorded.violated(), []);

    // He comes back with his token and is put to the end.
    recorded.line().places.pop();
    recorded.line().line.pop();
    recorded.put(20 * S, 9, 1, Event::Cut(None));
    recorded.put(21 * S, 9, 2, Event::Join { again: false });
    recorded.put(21 * S + 1, 9, 2, joined(9, 11, 0));
    recorded.keep(9, 11, Stage::Waiting);
    assert!(recorded.example(Invariant::Kept).text.contains("came back to place 11"));

    let mut recorded = Recorded::healthy(10);
    recorded.line().places[9].seq = 12;
    assert!(recorded.example(Invariant::Kept).text.contains("never acknowledged"));
}

#[test]
fn tokens_that_must_not_book() {
    for token in [Token::Foreign, Token::Forged, Token::Old] {
        let mut recorded = Recorded::healthy(10);
        recorded.find(4, |event| matches!(event, Event::Redeem { .. })).3 = redeem("r1", token);
        let text = recorded.example(Invariant::Tokens).text;
        assert!(text.contains("not his") || text.contains("old token"), "{text}");
    }
    let mut recorded = Recorded::healthy(10);
    recorded.put(21 * S, 4, 1, Event::Lapsed(LapseReason::Expired));
    let text = recorded.example(Invariant::Tokens).text;
    assert!(text.contains("had lapsed before"), "{text}");
}

#[test]
fn a_booking_without_a_grant() {
    let mut recorded = Recorded::healthy(10);
    recorded.entries.retain(|entry| entry.1 != 4 || !is_granted(&entry.3));
    assert_eq!(recorded.violated(), [Invariant::Tokens]);

    let mut recorded = Recorded::healthy(10);
    recorded.shop().bookings[4].grant = GrantKey { seq: 77, turn: 0 }.grant_id(&sale());
    assert!(recorded.example(Invariant::Tokens).text.contains("no place of his"));
}

#[test]
fn an_answer_that_comes_far_too_late() {
    let mut recorded = Recorded::healthy(10);
    recorded.put(S, 20, 1, Event::Join { again: false });
    recorded.put(62 * S, 20, 1, joined(20, 21, 20));
    let late = |recorded: &Recorded| recorded.verdicts()[Invariant::Drained.number()].to_string();
    assert!(late(&recorded).contains("no answer for 61 s"), "{}", late(&recorded));
    let mut cut = Recorded::healthy(10);
    cut.put(S, 20, 1, Event::Join { again: false });
    cut.put(70 * S, 20, 1, Event::Cut(None));
    assert!(late(&cut).contains("no answer for 69 s"), "{}", late(&cut));
}

#[test]
fn lines_that_were_lost_or_added_are_missed() {
    let mut recorded = Recorded::healthy(10);
    recorded.missing = 1;
    assert!(recorded.verdicts().iter().all(|verdict| verdict.status == Status::TooLittle));
}

#[test]
fn someone_left_hanging() {
    let mut recorded = Recorded::healthy(10);
    recorded.put(23 * S, 20, 1, Event::Join { again: false });
    assert_eq!(recorded.violated(), []);
    let drained = &recorded.verdicts()[Invariant::Drained.number()];
    assert_eq!((drained.status, drained.checked), (Status::TooLittle, 11));
    recorded.ended_us = 90 * S;
    assert!(recorded.example(Invariant::Drained).text.contains("no answer for 67 s"));
}

#[test]
fn a_breach_on_its_face() {
    let mut recorded = Recorded::healthy(10);
    recorded.put(19 * S, 9, 1, Event::Breach("seats_changed 4 came after version 2".into()));
    assert!(recorded.example(Invariant::Contract).text.contains("seats_changed 4"));
}
