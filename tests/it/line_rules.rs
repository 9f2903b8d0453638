//! Small rules of the line's scripts, each by itself: who stands where, what is counted, what is told.

use crate::{
    line::{Bench, RULES, Rules, visitor},
    world::World,
};
use redis::FromRedisValue;
use serde_json::{Value, json};
use std::time::Instant;
use uuid::Uuid;
use waitroom::store::{
    line::{Committed, Fence, Fenced, LineSettings, Lost, Removed, Returning, Told},
    redis::{Redis, Site},
};
use wire::domain::{
    booking::BookingStatus,
    ids::{GrantKey, SEQS_LEFT_OUT},
    journal::{Ledger, LiveGrant},
    line::{Join, JoinMode, Left, Position, Stranger},
    phase::Phase,
    place::Stage,
    seats::SeatSet,
};

/// A command on a key of the line, as no program of ours gives it.
pub async fn by_hand<T: FromRedisValue>(bench: &Bench, command: &str, key: &str, args: &[&str]) -> T {
    let mut command = redis::cmd(command);
    command.arg(format!("waitroom:{{{}}}:{key}", bench.sale)).arg(args);
    command.query_async(&mut World::shared().connect_redis().await).await.unwrap()
}

/// Whose turn it is: who joins now, alone in the line.
async fn granted(bench: &Bench, name: &str) -> GrantKey {
    let place = bench.join(name).await;
    bench.tick().await;
    assert_eq!(bench.join(name).await.stage, Stage::Granted);
    place.grant()
}

fn booked(name: &str, grant: GrantKey, seat: u32, status: BookingStatus) -> [Told; 1] {
    let booking = Uuid::from_u128(seat.into());
    let (visitor, grant, seats) = (visitor(name), Some(grant), vec![seat]);
    [Told::Booking(Committed { visitor, grant, booking, status, seats })]
}

/// One who missed his turn, and one who missed it and is back.
async fn away_and_returned(bench: &mut Bench) {
    granted(bench, "away").await;
    granted(bench, "back").await;
    bench.command(RULES, Phase::Paused).await;
    for name in ["away", "back"] {
        by_hand::<()>(bench, "ZADD", "claims", &["1", name]).await;
    }
    assert_eq!(bench.tick().await.lapsed, [2, 0, 0]);
    assert_eq!(bench.line.counts().await.unwrap().away, 2);
    assert_eq!(bench.poll("away").await.unwrap().stage, Stage::Away, "a poll brings no missed turn back");
    assert_eq!(bench.join("back").await.stage, Stage::Returned);
    let counts = bench.line.counts().await.unwrap();
    assert_eq!((counts.away, counts.waiting), (1, 1));
}

/// Who gives up a place that is kept for him, or is served ahead with it, is in no queue any more; the operator's word does the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_is_in_no_queue() {
    for is_removed in [false, true] {
        let mut bench = Bench::new(RULES).await;
        away_and_returned(&mut bench).await;
        for name in ["away", "back"] {
            if is_removed {
                let removed = bench.line.remove(&visitor(name), None).await.unwrap();
                assert_eq!(removed, Removed::Done { ended: true });
            } else {
                assert_eq!(bench.line.leave(&[visitor(name)]).await.unwrap(), [Left::Ended]);
            }
        }
        let counts = bench.line.counts().await.unwrap();
        assert_eq!((counts.away, counts.waiting, counts.lapsed_total), (0, 0, 2), "removed: {is_removed}");
        bench.command(RULES, Phase::Open).await;
        assert_eq!(bench.tick().await.admitted, 0);
    }
}

/// A turn that was given up counts as lapsed, and one that was booked does not end by leaving.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_booked_has_nothing_to_leave() {
    let bench = Bench::new(RULES).await;
    let grant = granted(&bench, "kim").await;
    granted(&bench, "lee").await;
    bench.line.bookings(&booked("kim", grant, 1, BookingStatus::Confirmed), &[]).await.unwrap();
    let left = bench.line.leave(&[visitor("kim"), visitor("lee")]).await.unwrap();
    assert_eq!(left, [Left::Nothing, Left::Ended]);
    assert_eq!(bench.join("kim").await.stage, Stage::Booked);
    assert_eq!(bench.line.counts().await.unwrap().lapsed_total, 1);
}

/// What spent another turn leaves this one alone; and what is spent leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_spends_its_own_turn_wholly() {
    let bench = Bench::new(RULES).await;
    let grant = granted(&bench, "kim").await;
    bench.line.fence(60_000, &[(visitor("kim"), grant, 0)]).await.unwrap();
    by_hand::<()>(&bench, "ZADD", "claims", &["1", "kim"]).await;
    let other = GrantKey { seq: grant.seq + 1, ..grant };
    bench.line.bookings(&booked("kim", other, 1, BookingStatus::Confirmed), &[]).await.unwrap();
    assert_eq!(bench.join("kim").await.stage, Stage::Granted);
    bench.line.bookings(&booked("kim", grant, 2, BookingStatus::Confirmed), &[]).await.unwrap();
    for key in ["grants", "claims", "fences"] {
        assert_eq!(by_hand::<u64>(&bench, "ZCARD", key, &[]).await, 0, "{key}");
    }
}

/// A first use is told once, whether a socket or a redeem tells of it, however often; and two tries of one batch are two tries.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_is_used_for_the_first_time_once() {
    let bench = Bench::new(RULES).await;
    let (kim, lee) = (granted(&bench, "kim").await, granted(&bench, "lee").await);
    let twice = [visitor("kim"), visitor("kim")];
    assert_eq!(bench.line.claim(&twice).await.unwrap(), [true, true]);
    assert_eq!(bench.line.claim(&twice[..1]).await.unwrap(), [true]);
    let tries = [(visitor("lee"), lee, 0), (visitor("lee"), lee, 0), (visitor("kim"), kim, 0)];
    let fenced = bench.line.fence(60_000, &tries).await.unwrap();
    assert!(matches!(fenced[..], [Fenced::Yes { .. }, Fenced::Busy, Fenced::Yes { .. }]), "{fenced:?}");
    let claimed: Vec<_> = bench.history().await.into_iter().flat_map(|changes| changes.claimed).collect();
    assert_eq!(claimed, [(visitor("kim"), kim.seq), (visitor("lee"), lee.seq)]);
}

/// What he had booked before goes with a place, with the one after it, and is told to whoever wants to book with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_booked_before_goes_along() {
    let bench = Bench::new(RULES).await;
    bench.join_as("kim", Some(1), JoinMode::Again { owned: 2 }, None).await.unwrap();
    bench.line.leave(&[visitor("kim")]).await.unwrap();
    assert_eq!(bench.join("kim").await.owned, 2);
    bench.tick().await;
    let grant = bench.join("kim").await.grant();
    let fenced = bench.line.fence(60_000, &[(visitor("kim"), grant, 0)]).await.unwrap();
    assert!(matches!(fenced[..], [Fenced::Yes { owned: 2, .. }]), "{fenced:?}");
}

/// A fence that stands is lifted by its own try alone, not by one that has run out nor by what is known of an older one.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_stands_is_lifted_by_its_own_try() {
    let bench = Bench::new(RULES).await;
    let kim = granted(&bench, "kim").await;
    let fence = async || bench.line.fence(60_000, &[(visitor("kim"), kim, 0)]).await.unwrap()[0];
    assert!(matches!(fence().await, Fenced::Yes { .. }));
    for until_ms in [0, Fence::OF_VOID] {
        bench.line.bookings(&[], &[Fence { visitor: visitor("kim"), until_ms }]).await.unwrap();
        assert_eq!(fence().await, Fenced::Busy, "{until_ms}");
    }
    assert_eq!(bench.line.remove(&visitor("kim"), None).await.unwrap(), Removed::Busy);
}

/// Who asks for his place alone draws none; nor does anyone in a sale that is over, where nobody comes back either.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_draws_who_may_not() {
    let mut bench = Bench::new(RULES).await;
    assert!(bench.join_as("kim", Some(1), JoinMode::Recheck, None).await.is_none());
    away_and_returned(&mut bench).await;
    by_hand::<()>(&bench, "HSET", "places", &["away", "a:1:0:0"]).await;
    bench.command(RULES, Phase::Closed).await;
    assert!(bench.join_as("kim", Some(1), JoinMode::Join, None).await.is_none());
    assert!(bench.join_as("kim", Some(1), JoinMode::Join, Some(7)).await.is_none());
    assert_eq!(bench.poll("away").await.unwrap().stage, Stage::Away);
    assert_eq!(bench.join("away").await.stage, Stage::Away);
}

/// What the journal needs of a place is told: what it was drawn after, whose it is, that it is served ahead.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_journal_needs_is_told() {
    let mut bench = Bench::new(RULES).await;
    let told = async |bench: &Bench| {
        let last = ["+", "-", "COUNT", "1"];
        let entries: Vec<(String, Vec<String>)> = by_hand(bench, "XREVRANGE", "events", &last).await;
        serde_json::from_str::<Value>(&entries[0].1[1]).unwrap()
    };
    for seq in [1, 2] {
        bench.join("kim").await;
        assert_eq!(told(&bench).await["drawn"], json!([["kim", seq, 0, seq - 1]]));
        bench.line.leave(&[visitor("kim")]).await.unwrap();
    }
    bench.join_as("lee", Some(1), JoinMode::Join, Some(7)).await.unwrap();
    let entry = told(&bench).await;
    assert_eq!((&entry["restored"], &entry["found"]), (&json!([7]), &json!([["lee", 7]])));
    bench.line.leave(&[visitor("lee")]).await.unwrap();
    away_and_returned(&mut bench).await;
    assert_eq!(told(&bench).await["returned"], json!([["back", 9]]));
    bench.command(RULES, Phase::Open).await;
    bench.tick().await;
    let entry = told(&bench).await;
    assert_eq!((&entry["admitted"], &entry["by"]), (&json!([["back", 9, 1, 0, 1]]), &json!("one")));
}

/// Strangers' counts begin anew ten minutes after the first, whoever comes meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn counts_of_strangers_end() {
    let bench = Bench::new(RULES).await;
    let draws = async |name: &str| {
        let stranger = Some(Stranger { network: 7, places_max: 2 });
        let (connection, mode) = (Some(1), JoinMode::Join);
        let join = Join { visitor: visitor(name), connection, poll_ms: 0, mode, token_seq: None, stranger };
        bench.line.join(&[join]).await.unwrap();
    };
    draws("kim").await;
    by_hand::<()>(&bench, "PEXPIRE", "strangers", &["500000"]).await;
    draws("lee").await;
    let left: i64 = by_hand(&bench, "PTTL", "strangers", &[]).await;
    assert!((1..=500_000).contains(&left), "{left}");
}

/// Places that were passed over are all kept, also those at which a tick stopped.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_are_passed_over_none_is_lost() {
    let rules = Rules { away_ms: 1, ..RULES };
    let mut bench = Bench::new(rules).await;
    bench.command(rules, Phase::Paused).await;
    bench.crowd(300).await;
    let gone: Vec<_> = (0..300).map(|i| (visitor(&format!("v{i}")), i)).collect();
    bench.line.gone(&gone).await.unwrap();
    bench.command(rules, Phase::Open).await;
    let mut aways = Vec::new();
    for _ in 0..2 {
        bench.tick().await;
        let counts = bench.line.counts().await.unwrap();
        assert_eq!(counts.away + counts.waiting, 300);
        aways.push(counts.away);
    }
    assert_eq!(aways, [256, 300]);
    assert_eq!(bench.poll("v256").await.unwrap().stage, Stage::Returned);
}

/// A sale that was sold out has no admissions saved up when a seat is freed.
#[tokio::test(flavor = "multi_thread")]
async fn a_seat_that_is_freed_is_followed_by_no_burst() {
    let rate = 100.0;
    let bench = Bench::new(Rules { rate, ..RULES }).await;
    bench.crowd(90).await;
    let seats = |booked| [Told::Seats { booked, seats: (0..100).collect() }];
    bench.line.bookings(&seats(true), &[]).await.unwrap();
    assert_eq!(bench.tick().await.phase, Phase::SoldOut);
    bench.let_pass(250).await;
    let freed = Instant::now();
    bench.line.bookings(&seats(false), &[]).await.unwrap();
    let admitted = bench.line.tick(0).await.unwrap().1.admitted;
    assert!(admitted as f64 <= rate * freed.elapsed().as_secs_f64() + 1.0, "{admitted}");
}

/// Settings that come late, after newer ones, change nothing.
#[tokio::test(flavor = "multi_thread")]
async fn older_settings_are_not_put_in_force() {
    let mut bench = Bench::new(RULES).await;
    bench.command(RULES, Phase::Paused).await;
    let none = SeatSet::new(100);
    let late = LineSettings {
        version: 1,
        command: Phase::Open,
        rate: 1.0,
        max_active: 1,
        grant_ttl_ms: 1,
        claim_ms: 1,
        away_ms: 1,
        blocked: &none,
        banned: &[visitor("kim")],
    };
    assert!(bench.line.apply(&late).await.unwrap());
    assert_eq!(bench.tick().await.phase, Phase::Paused);
    assert_eq!(bench.join("kim").await.stage, Stage::Waiting);
}

/// Another process of Redis may not know the last numbers that were drawn: none of them is drawn again.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_leaves_numbers_out() {
    let bench = Bench::new(RULES).await;
    let kim = bench.join("kim").await;
    by_hand::<()>(&bench, "HSET", "sale", &["run_id", "another"]).await;
    let site = Site::parse(&World::shared().redis.url()).unwrap();
    let line = Redis::connect(site, "two").await.unwrap().line(&bench.sale);
    line.take_over(Position::default()).await.unwrap();
    line.take_over(Position::default()).await.unwrap();
    assert_eq!(bench.join("lee").await.seq, kim.seq + SEQS_LEFT_OUT + 1, "once");
}

/// A line that is being restored, with what Redis has of kim; then with what the journal has.
async fn restored(there: &str, queue: &str, journal: (Stage, u64)) -> (Bench, String) {
    let bench = Bench::new(RULES).await;
    by_hand::<()>(&bench, "HSET", "places", &["kim", there]).await;
    by_hand::<()>(&bench, "ZADD", queue, &["5", "kim"]).await;
    by_hand::<()>(&bench, "HSET", "sale", &["restoring", "1"]).await;
    let (stage, seq) = journal;
    let grant =
        (stage == Stage::Granted).then_some(LiveGrant { deadline_ms: 9_000_000, claim_ms: 8_000_000 });
    let kim = Returning { visitor: visitor("kim"), seq, stage, turn: 0, owned: 0, grant };
    let lost = Lost { epoch: 1, at_ms: 1_000_000 };
    let stale = Lost { epoch: 2, ..lost };
    assert!(!bench.line.restore(&stale, std::slice::from_ref(&kim)).await.unwrap());
    assert!(!bench.line.restored(&stale, 1, &Ledger::default(), &[]).await.unwrap());
    assert!(bench.line.restore(&lost, std::slice::from_ref(&kim)).await.unwrap());
    let mut ledger = Ledger::default();
    ledger.admitted = 5;
    assert!(bench.line.restored(&lost, 1, &ledger, &[]).await.unwrap());
    // An instance that comes late has nothing to say any more.
    assert!(!bench.line.restored(&lost, 1, &Ledger::default(), &[]).await.unwrap());
    let late = Returning { stage: Stage::Ended, seq: 1_000, ..kim };
    assert!(!bench.line.restore(&lost, &[late]).await.unwrap());
    assert_eq!(bench.line.counts().await.unwrap().admitted_total, 5);
    let record = by_hand(&bench, "HGET", "places", &["kim"]).await;
    (bench, record)
}

/// What Redis still had and what the journal has become one place: what has ended stays ended, a booking is known, and of two that
/// both live or have both ended the later counts.
#[tokio::test(flavor = "multi_thread")]
async fn one_place_is_made_of_what_redis_had_and_of_what_is_on_record() {
    use Stage::{Booked, Ended, Granted, Waiting};
    for (there, journal, becomes) in [
        ("x:7:0:0", (Waiting, 7), "x:7:0:0"),
        ("x:7:0:0", (Booked, 7), "b:7:0:0"),
        ("b:7:0:0", (Ended, 7), "b:7:0:0"),
        ("w:7:0:0", (Ended, 7), "x:7:0:0"),
        ("w:7:0:0", (Granted, 7), "g:7:0:0"),
        ("w:8:0:0", (Booked, 7), "w:8:0:0"),
        ("b:8:0:0", (Waiting, 7), "w:7:0:0"),
        ("x:7:0:0", (Waiting, 8), "w:8:0:0"),
        ("w:8:0:0", (Waiting, 7), "w:8:0:0"),
        ("w:7:0:0", (Waiting, 8), "w:8:0:0"),
        ("x:7:0:0", (Booked, 8), "b:8:0:0"),
        ("b:8:0:0", (Ended, 7), "b:8:0:0"),
    ] {
        let queue = if there.starts_with('w') { "line" } else { "presence_of_nobody" };
        let (bench, record) = restored(there, queue, journal).await;
        assert_eq!(record, becomes, "{there} and {journal:?}");
        let expected = u64::from(becomes.starts_with('w'));
        let line: u64 = by_hand(&bench, "ZCARD", "line", &[]).await;
        assert_eq!(line, expected, "{there} and {journal:?}");
    }
}

/// A turn that Redis still had and that is over by the journal leaves nothing behind; one that comes back has the time that was
/// left, and the fence of the try that is under way.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_comes_back_with_its_time_and_its_fence() {
    for key in ["grants", "claims", "fences"] {
        let (bench, _) = restored("g:7:0:0", key, (Stage::Ended, 7)).await;
        assert_eq!(by_hand::<u64>(&bench, "ZCARD", key, &[]).await, 0, "{key}");
    }
    let (bench, _) = restored("g:7:0:0", "fences", (Stage::Granted, 7)).await;
    let tick = bench.tick().await;
    assert_eq!(by_hand::<u64>(&bench, "ZSCORE", "fences", &["kim"]).await, 5);
    let standing = bench.join("kim").await;
    // Of 9,000 and 8,000 seconds 1,000 had passed when the line was lost; it was restored a moment ago.
    assert!((7_900_000..8_000_000).contains(&(standing.deadline_ms - tick.now_ms)), "{standing:?}");
    assert_eq!(standing.deadline_ms - standing.claim_ms, 1_000_000);
    assert!(tick.shift_ms >= standing.deadline_ms - 9_000_000, "{standing:?}");
    // Nobody was absent until then, and whoever comes back by his token alone is waited for.
    let (outage_end, admit_after): (i64, i64) =
        by_hand(&bench, "HMGET", "sale", &["outage_end", "admit_after"]).await;
    assert!(outage_end >= standing.deadline_ms - 8_000_000);
    assert_eq!(admit_after - outage_end, 2_500);
    let (bench, _) = restored("g:7:0:0", "claims", (Stage::Granted, 7)).await;
    assert_eq!(bench.join("kim").await.stage, Stage::Granted);
}
