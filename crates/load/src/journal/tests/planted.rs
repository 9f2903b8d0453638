//! A bug is planted for each promise, and is caught under its name.

use super::*;
use Rule::*;

fn after(plant: impl FnOnce(&mut Recorded)) -> Vec<Rule> {
    let mut recorded = Recorded::healthy();
    plant(&mut recorded);
    let report = recorded.report();
    assert_eq!(report.status, Status::Violated, "{report}");
    violated(&report)
}

#[test]
fn a_healthy_journal_is_proved_and_counted() {
    let report = Recorded::healthy().report();
    assert_eq!(report.status, Status::Proved, "{report}");
    let n = &report.numbers;
    assert_eq!((n.drawn, n.drawn_again, n.admitted, n.admitted_returned), (11, 1, 9, 2));
    assert_eq!((n.passed_over, n.missed, n.left, n.returned, n.bookings), (1, 1, 2, 2, 5));
    assert_eq!((n.seats_sold, n.waiting, n.live_max, n.lives), (5, 3, 2, 1));
}

#[test]
fn what_shows_too_little_is_said() {
    let mut nobody = Recorded::healthy();
    nobody.entries.truncate(5);
    nobody.sold.clear();
    assert_eq!(nobody.report().status, Status::TooLittle);
    let mut empty = Recorded::healthy();
    empty.entries.clear();
    empty.sold.clear();
    assert_eq!(empty.report().status, Status::TooLittle);
    // An older program had begun the line.
    let mut middle = Recorded::healthy();
    middle.entries.drain(..5);
    assert_eq!(middle.report().status, Status::TooLittle, "{}", middle.report());
}

/// Whoever drops a journal's end leaves a sound chain.
#[test]
fn a_closed_sales_journal_tells_that_it_was_closed() {
    let told = |recorded: &Recorded| {
        let mut proof = Proof::new(&Header { closed: true, ..header() }, Vec::new());
        recorded.items().into_iter().for_each(|item| proof.take(item));
        proof.finish().status
    };
    let mut recorded = Recorded::healthy();
    assert_eq!(told(&recorded), Status::TooLittle);
    recorded.say(40_000, r#""phase":"closed""#);
    assert_eq!(told(&recorded), Status::Proved);
}

#[test]
fn what_a_newer_program_wrote_is_not_judged_and_no_violation() {
    let mut newer = Recorded::healthy();
    newer.change(r#""missed""#, r#""a newer reason""#);
    let report = newer.report();
    assert_eq!(report.status, Status::TooLittle, "{report}");
    assert!(report.to_string().contains("check with the newest"), "{report}");
}

#[test]
fn someone_who_is_passed_over_without_a_word() {
    let silent = after(|r| r.change(r#""away":[7]"#, r#""away":[]"#));
    assert_eq!(silent, [Order, Places], "7 comes back without having been away");
    let swapped = after(|r| r.change(r#""admitted":[{"seq":1,"#, r#""admitted":[{"seq":9,"#));
    assert!(swapped.contains(&Order), "{swapped:?}");
}

#[test]
fn who_returned_is_served_first_and_in_order() {
    let swap = r#"{"seq":7,"turn":0,"returned":true},{"seq":6,"turn":1,"returned":true}"#;
    let known = r#"{"seq":6,"turn":1,"returned":true},{"seq":7,"turn":0,"returned":true}"#;
    assert_eq!(after(|r| r.change(known, swap)), [Order]);
    let line = r#"{"seq":9,"turn":0,"returned":false}"#;
    assert!(after(|r| r.change(known, line)).contains(&Order));
}

#[test]
fn a_place_too_many_or_too_few() {
    assert_eq!(after(|r| r.change(r#""again":[[11,7,0]]"#, r#""again":[[11,9,0]]"#)), [Places], "9 waits");
    assert_eq!(
        after(|r| r.change(r#""drawn":[[11,11]],"again":[[11,7,0]]"#, r#""drawn":[[13,13]]"#)),
        [Places]
    );
    assert_eq!(after(|r| r.say(16_000, r#""found":[1]"#)), [Places], "1 has booked");
    assert_eq!(after(|r| r.say(16_000, r#""found":[9]"#)), [Places], "9 is in the line");
    assert_eq!(after(|r| r.say(16_000, r#""returned":[8]"#)), [Places], "8 is over");
    assert_eq!(after(|r| r.say(16_000, r#""left":[7]"#)), [Places], "7 is over");
    assert_eq!(after(|r| r.say(16_000, r#""drawn":[[1000000001,1000000001]]"#)), [Places], "of another life");
    let other_process = r#""drawn":[[100011,100012]],"again":[[100011,7,0]]"#;
    let mut taken_over = Recorded::healthy();
    taken_over.change(r#""drawn":[[11,11]],"again":[[11,7,0]]"#, other_process);
    assert_eq!(taken_over.report().status, Status::Proved);
    let off = r#""drawn":[[100012,100012]],"again":[[100012,7,0]]"#;
    assert_eq!(after(|r| r.change(r#""drawn":[[11,11]],"again":[[11,7,0]]"#, off)), [Places]);
    let twice = |r: &mut Recorded| {
        r.say(15_600, r#""left":[11]"#);
        r.say(15_700, r#""drawn":[[12,12]],"again":[[12,7,0]]"#);
    };
    assert_eq!(after(twice), [Places], "7 was followed by 11 already");
}

#[test]
fn too_many_too_soon_or_at_the_wrong_time() {
    let turn = |seq| format!(r#"{{"seq":{seq},"turn":0,"returned":false}}"#);
    let five = (9..=13).map(turn).collect::<Vec<_>>().join(",");
    let admit = |r: &mut Recorded, at: i64, who: &str| {
        let (deadline, claim) = (OPEN + at + 20_000, OPEN + at + 5000);
        r.say(at, &format!(r#""admitted":[{who}],"deadline":{deadline},"claim":{claim}"#));
    };
    let mut burst = Recorded::healthy();
    burst.say(15_600, r#""drawn":[[12,13]]"#);
    admit(&mut burst, 90_000, &five);
    let text = burst.report().to_string();
    assert!(text.contains("5 admissions within 0 ms") && text.contains("max_active is 3"), "{text}");
    assert_eq!(after(|r| r.admit(14_050, 9, false, "")), [Admission], "two ticks within 90 ms");
    let while_not_open = |phase: &str| {
        after(|r| {
            r.say(16_000, &format!(r#""phase":"{phase}""#));
            r.admit(17_000, 9, false, "");
        })
    };
    for phase in ["paused", "sold_out", "all_held", "closed"] {
        assert_eq!(while_not_open(phase), [Admission], "{phase}");
    }
    let early = after(|r| {
        let open = r.entries.remove(r.position(r#""phase":"open""#));
        let last = r.position(r#""seq":5,"booking""#);
        r.entries.insert(last, open);
    });
    assert_eq!(early, [Admission], "before the sale was opened");
    let made_up_for = after(|r| {
        r.change(r#""max_active":3"#, r#""max_active":9"#);
        r.say(15_600, r#""phase":"paused""#);
        r.say(15_700, r#""phase":"open""#);
        admit(r, 15_710, &[9, 10, 11].map(turn).join(","));
    });
    assert_eq!(made_up_for, [Admission], "less than a late tick's, of a pause");
    let few_seats =
        after(|r| r.change(r#""blocked":[19]"#, r#""blocked":[6,7,8,9,10,11,12,13,14,15,16,17,18,19]"#));
    assert_eq!(few_seats, [Admission], "two turns for one free seat");
    let reopened = after(|r| {
        r.say(16_000, r#""phase":"closed""#);
        r.say(17_000, r#""phase":"open""#);
    });
    assert_eq!(reopened, [Admission]);
}

/// What is due beyond what one call of a tick may do comes with the next, at once.
#[test]
fn a_tick_of_many_is_several_entries() {
    let mut recorded = Recorded { entries: Vec::new(), sold: Vec::new() };
    recorded.say(-2000, r#""installed":{"seats":20,"booked":[],"held":0},"phase":"scheduled""#);
    recorded.say(-2000, r#""settings":{"rate":10.0,"max_active":20,"grant_ttl_ms":20000,"claim_ms":5000,"away_ms":30000,"blocked":[]}"#);
    recorded.say(-1500, r#""drawn":[[1,9]]"#);
    recorded.say(0, r#""phase":"open""#);
    let two_within = |recorded: &Recorded, lapsed: usize, lives: bool| {
        let mut recorded = recorded.clone();
        if lives {
            recorded.admit(4_000, 1, false, "");
        }
        let lapsed: Vec<_> = (0..lapsed).map(|_| r#"[9,"expired"]"#).collect();
        recorded.admit(5_000, 2, false, &format!(r#","lapsed":[{}]"#, lapsed.join(",")));
        recorded.admit(5_002, 3, false, "");
        recorded.report().to_string().contains("two ticks admitted within 2 ms")
    };
    assert!(two_within(&recorded, 0, false) && two_within(&recorded, 299, false));
    assert!(!two_within(&recorded, 300, false));
    // One that is being redeemed is among those that were due, and not among those that lapsed.
    assert!(!two_within(&recorded, 299, true));
}

#[test]
fn a_turn_that_ends_early_or_lasts_otherwise() {
    assert_eq!(after(|r| r.change(r#""at":1763800011600,"#, r#""at":1763800010600,"#)), [Turns]);
    let shifted = |r: &mut Recorded| r.say(10_000, r#""shifted":9000"#);
    let early = after(|r| {
        shifted(r);
        let last = r.entries.pop().unwrap();
        let at = r.position("missed");
        r.entries.insert(at, last);
    });
    assert_eq!(early, [Turns], "an outage was added to it");
    assert_eq!(after(|r| r.change(r#""deadline":1763800021000"#, r#""deadline":1763800011000"#)), [Turns]);
    assert_eq!(after(|r| r.say(15_000, r#""claimed":[9]"#)), [Turns]);
    assert_eq!(after(|r| r.say(15_000, r#""lapsed":[[9,"expired"]]"#)), [Turns]);
    assert_eq!(after(|r| r.say(15_000, r#""lapsed":[[6,"closed"]]"#)), [Turns], "the sale is open");
}

#[test]
fn a_booking_without_a_turn_and_a_seat_sold_twice() {
    assert_eq!(after(|r| r.book(16_000, 9)), [Seats], "9 waits");
    let twice = after(|r| {
        r.book(16_000, 6);
        r.change(r#""status":"confirmed","seats":[6]"#, r#""status":"confirmed","seats":[5]"#);
        r.sold.last_mut().unwrap().seats = vec![5];
    });
    assert_eq!(twice, [Seats]);
    // Told late, but told: the first one was released before the other was made.
    let mut late = Recorded::healthy();
    late.book(16_000, 6);
    late.change(r#""status":"confirmed","seats":[6]"#, r#""status":"confirmed","seats":[5]"#);
    late.sold.last_mut().unwrap().seats = vec![5];
    late.say(16_500, &format!(r#""freed":[{{"booking":"{}","status":"released","seats":[5]}}]"#, booking(5)));
    late.sold[4].status = wire::domain::booking::BookingStatus::Released;
    assert_eq!(late.violated(), []);
}

#[test]
fn bookings_that_are_not_the_journals() {
    assert_eq!(after(|r| drop(r.sold.pop())), [Bookings], "PostgreSQL has it no more");
    assert_eq!(after(|r| r.sold[0].seats = vec![9]), [Bookings]);
    let released = wire::domain::booking::BookingStatus::Released;
    assert_eq!(after(|r| r.sold[0].status = released), [Bookings]);
    let unheard = after(|r| {
        r.entries.remove(r.position(&booking(3)));
    });
    assert_eq!(unheard, [Bookings], "the journal was not told");
    // After the close a journal need not hear of it any more.
    let mut closed = Recorded::healthy();
    closed.say(20_000, r#""phase":"closed""#);
    closed.sold[0].status = released;
    assert_eq!((closed.violated(), closed.report().numbers.changed_later), (vec![], 1));
}

#[test]
fn a_line_that_was_lost_and_restored_goes_on_as_it_stood() {
    let mut recorded = Recorded::healthy();
    let booked = r#""installed":{"seats":20,"booked":[1,2,3,4,5],"held":0},"shifted":60000,"restored_by":"a newer program""#;
    recorded.say(60_000, booked);
    recorded.say(
        60_010,
        r#""settings":{"rate":10.0,"max_active":3,"grant_ttl_ms":20000,"claim_ms":5000},"phase":"open""#,
    );
    recorded.admit(61_000, 9, false, "");
    recorded.say(61_500, r#""drawn":[[1000000001,1000000002]]"#);
    recorded.admit(62_000, 10, false, "");
    let last = recorded.entries.len() - 5;
    recorded.entries[last..].iter_mut().for_each(|(epoch, _)| *epoch = 2);
    let report = recorded.report();
    assert_eq!((report.status, report.numbers.lives), (Status::Proved, 2), "{report}");
    // Whoever waits since the first life stands before the second one's.
    let mut unfair = recorded.clone();
    unfair.entries.pop();
    unfair.admit(62_000, 1_000_000_001, false, "");
    unfair.entries.last_mut().unwrap().0 = 2;
    assert_eq!(unfair.violated(), [Order]);
    let mut back = recorded.clone();
    back.say(63_000, r#""found":[8]"#);
    back.entries.last_mut().unwrap().0 = 2;
    assert_eq!(back.violated(), [Places], "what has ended stays ended");
}

#[test]
fn a_booking_whose_turn_was_lost_with_the_line_is_no_fault() {
    let mut lost = Recorded::healthy();
    // PostgreSQL had place 9's booking of seat 9 when the line began anew; that its turn came nobody had journaled.
    lost.say(20_000, r#""installed":{"seats":20,"booked":[1,2,3,4,5,9],"held":0},"phase":"open""#);
    lost.book(20_500, 9);
    // Neither place nor turn of this one was known.
    let mut unknown = lost.clone();
    unknown.change("[1,2,3,4,5,9]", "[1,2,3,4,5,9,12]");
    unknown.say(20_400, r#""found":[12]"#);
    unknown.book(20_500, 12);
    for recorded in [&mut lost, &mut unknown] {
        let first = recorded.position(r#""installed":{"seats":20,"booked":[1"#);
        recorded.entries[first..].iter_mut().for_each(|(epoch, _)| *epoch = 2);
        assert_eq!(recorded.violated(), []);
    }
    // Once that was told, and the seat is free again, nobody books it without a turn.
    let mut again = lost.clone();
    let freed = format!(r#"{{"seq":null,"booking":"{}","status":"released","seats":[9]}}"#, booking(9));
    again.say(21_000, &format!(r#""freed":[{freed}]"#));
    again.book(21_500, 10);
    again.change(r#""seats":[10]"#, r#""seats":[9]"#);
    let first = again.position(r#""installed":{"seats":20,"booked":[1"#);
    again.entries[first..].iter_mut().for_each(|(epoch, _)| *epoch = 2);
    assert!(again.violated().contains(&Seats));
    // A seat that was free then has been booked for a turn that was none.
    lost.change("[1,2,3,4,5,9]", "[1,2,3,4,5]");
    assert_eq!(lost.violated(), [Seats]);
}
