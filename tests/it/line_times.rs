//! Times of the line's scripts, each by itself: deadlines that are met at once, outages, a clock that is set back, who is there.
//! The times are written by hand, so nothing is waited for.

use crate::{
    line::{Bench, RULES, Rules, visitor},
    line_rules::by_hand,
};
use waitroom::store::line::{Fence, Fenced};
use wire::domain::{
    line::{JoinMode, Left, Poll},
    phase::Phase,
    place::Stage,
};

/// Longer than any test takes.
const LONG_MS: i64 = 100_000;

async fn score(bench: &Bench, key: &str, member: &str) -> i64 {
    by_hand::<Option<i64>>(bench, "ZSCORE", key, &[member]).await.unwrap()
}

async fn set_score(bench: &Bench, key: &str, member: &str, at_ms: i64) {
    by_hand::<()>(bench, "ZADD", key, &[&at_ms.to_string(), member]).await;
}

async fn set(bench: &Bench, field: &str, value: i64) {
    by_hand::<()>(bench, "HSET", "sale", &[field, &value.to_string()]).await;
}

/// A redeem that was in time may be on its way: half a second after a deadline nothing has lapsed yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_its_way_is_waited_for() {
    let bench = Bench::new(RULES).await;
    bench.crowd(50).await;
    let mut now = bench.tick().await.now_ms;
    for i in 0.. {
        assert!(i < 50, "never in time");
        // The next tick comes in a tenth of a second; a busy machine may call too late.
        let due = now + 50;
        set_score(&bench, "claims", &format!("v{i}"), due).await;
        set_score(&bench, "grants", &format!("v{i}"), due).await;
        let tick = bench.tick().await;
        now = tick.now_ms;
        if now - due <= 500 {
            assert_eq!(tick.lapsed, [0, 0, 0], "{} ms after it was due", now - due);
            break;
        }
    }
}

/// Either deadline ends a turn for a redeem that came after it, before any tick has seen that; but none that an outage is about to be
/// added to.
#[tokio::test(flavor = "multi_thread")]
async fn a_redeem_after_its_time_is_too_late() {
    let bench = Bench::new(RULES).await;
    let kim = bench.join("kim").await;
    let now = bench.tick().await.now_ms;
    let fence = async || bench.line.fence(10, &[(visitor("kim"), kim.grant(), 0)]).await.unwrap()[0];
    for (grant, claim) in [(now - 1_000, now + LONG_MS), (now + LONG_MS, now - 1_000)] {
        set_score(&bench, "grants", "kim", grant).await;
        set_score(&bench, "claims", "kim", claim).await;
        assert_eq!(fence().await, Fenced::Dead, "{grant} {claim} {now}");
    }
    set(&bench, "shifting", LONG_MS).await;
    assert!(matches!(fence().await, Fenced::Yes { .. }));
}

/// A fence that replaced one of a try that nobody settled tells so for as long as it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_is_kept_remembers_an_unsettled_try() {
    let bench = Bench::new(RULES).await;
    let kim = bench.join("kim").await;
    bench.tick().await;
    set_score(&bench, "fences", "kim", 2).await;
    let fenced = bench.line.fence(LONG_MS as u64, &[(visitor("kim"), kim.grant(), 0)]).await.unwrap()[0];
    let Fenced::Yes { until_ms, .. } = fenced else { panic!("{fenced:?}") };
    let mut kept = [Fence { visitor: visitor("kim"), until_ms }];
    bench.line.renew(2 * LONG_MS as u64, &mut kept).await.unwrap();
    assert!(kept[0].until_ms > until_ms, "{kept:?}");
    bench.line.bookings(&[], &kept).await.unwrap();
    assert_eq!(bench.line.leave(&[visitor("kim")]).await.unwrap(), [Left::Unsettled(kim.grant())]);
}

/// When the clock is set back the line goes on at once: deadlines are as far away as they were, and nothing is waited for that the
/// clock shows a second time.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_stops_nothing() {
    let rules = Rules { rate: 100.0, ..RULES };
    let bench = Bench::new(rules).await;
    for name in ["kim", "lee"] {
        bench.join(name).await;
    }
    let before = bench.tick().await;
    // As if it had been an hour later until now.
    let ahead = 3_600_000;
    for field in ["last_tick", "bookable_at", "bucket_at", "outage_end"] {
        set(&bench, field, before.now_ms + ahead).await;
    }
    set(&bench, "admit_after", before.now_ms + ahead - 1).await;
    let deadlines = [
        ("grants", "kim", 60_000),
        ("claims", "kim", 50_000),
        ("grants", "lee", 40_000),
        ("claims", "lee", 30_000),
    ];
    for (key, name, left) in deadlines {
        set_score(&bench, key, name, before.now_ms + ahead + left).await;
    }
    bench.join("park").await;
    let tick = bench.line.tick(0).await.unwrap().1;
    let back = before.now_ms + ahead - tick.now_ms;
    assert_eq!((tick.lapsed, tick.shift_ms), ([0, 0, 0], before.shift_ms));
    for (key, name, left) in deadlines {
        let until = score(&bench, key, name).await;
        assert_eq!(until, before.now_ms + ahead + left - back, "{key} of {name}");
    }
    let told: Vec<_> = bench.history().await.iter().filter_map(|changes| changes.shifted).collect();
    assert_eq!(told, [-back]);
    for field in ["last_tick", "bookable_at", "bucket_at", "outage_end", "admit_after"] {
        let at: i64 = by_hand(&bench, "HGET", "sale", &[field]).await;
        assert!(at <= tick.now_ms, "{field} is {} ms ahead", at - tick.now_ms);
    }
    bench.tick().await;
    assert_eq!(bench.join("park").await.stage, Stage::Granted);
}

/// Nobody is absent for a time in which he could not come.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_no_absence() {
    let rules = Rules { away_ms: 5_000, ..RULES };
    let mut bench = Bench::new(rules).await;
    bench.command(rules, Phase::Paused).await;
    bench.join("kim").await;
    let now = bench.tick().await.now_ms;
    by_hand::<()>(&bench, "HSET", "presence", &["kim", &format!("a:{}", now - LONG_MS)]).await;
    bench.command(rules, Phase::Open).await;
    set(&bench, "last_tick", now - LONG_MS).await;
    set(&bench, "bookable_at", now - LONG_MS).await;
    bench.tick().await;
    assert!(bench.tick().await.shift_ms >= LONG_MS);
    assert_eq!(bench.poll("kim").await.unwrap().stage, Stage::Granted);
}

/// Whose socket lives is there, however short a poll beside it is good for; whose socket's instance has died is there while he polls;
/// and nobody who is there is passed over, though no absence is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_there_is_not_passed_over() {
    let rules = Rules { away_ms: 0, ..RULES };
    let mut bench = Bench::new(rules).await;
    bench.command(rules, Phase::Paused).await;
    for name in ["kim", "lee", "gone"] {
        bench.join(name).await;
    }
    bench.poll("kim").await;
    by_hand::<()>(&bench, "HSET", "presence", &["lee", "i:dead:1", "gone", "i:dead:2"]).await;
    let poll = Poll { visitor: visitor("lee"), poll_ms: LONG_MS as u64 };
    bench.line.poll(&[poll]).await.unwrap();
    bench.command(rules, Phase::Open).await;
    bench.tick().await;
    let stages = async |name| bench.join_as(name, Some(9), JoinMode::Recheck, None).await.unwrap().stage;
    assert_eq!(stages("kim").await, Stage::Granted);
    assert_eq!(stages("lee").await, Stage::Granted);
    assert_eq!(stages("gone").await, Stage::Returned);
    // Who polls, and has not for a while, is not there.
    bench.line.leave(&[visitor("gone")]).await.unwrap();
    bench.join_as("late", None, JoinMode::Join, None).await.unwrap();
    bench.tick().await;
    assert_eq!(bench.line.counts().await.unwrap().away, 1);
}

/// An instance lives for as long as its lease by the clock of now, not by one that was ahead.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_no_longer_than_leases_are() {
    let bench = Bench::new(RULES).await;
    let now = bench.tick().await.now_ms;
    set_score(&bench, "instances", "one", now + LONG_MS).await;
    let tick = bench.tick().await;
    assert_eq!(tick.instances, 1);
    assert!(score(&bench, "instances", "one").await <= tick.now_ms + 5_000);
}

/// After a restore those who come back by their tokens alone are waited for.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_admitted_before_the_line_is_whole() {
    let bench = Bench::new(RULES).await;
    bench.join("kim").await;
    let now = bench.line.tick(0).await.unwrap().1.now_ms;
    bench.join("lee").await;
    set(&bench, "admit_after", now + LONG_MS).await;
    assert_eq!(bench.tick().await.admitted, 0);
    set(&bench, "admit_after", now).await;
    assert!(bench.tick().await.admitted > 0);
}

/// Turns whose time is over and that are being redeemed are nothing that the next call could end: it does not come at once.
#[tokio::test(flavor = "multi_thread")]
async fn turns_that_are_being_redeemed_are_no_rest() {
    let bench = Bench::new(RULES).await;
    let until = (bench.tick().await.now_ms + LONG_MS).to_string();
    for (key, at) in [("grants", "1"), ("fences", &until)] {
        let names: Vec<String> = (0..400).map(|i| format!("v{i}")).collect();
        let members: Vec<&str> = names.iter().flat_map(|name| [at, name]).collect();
        by_hand::<()>(&bench, "ZADD", key, &members).await;
    }
    let tick = bench.tick().await;
    assert!(!tick.goes_on && tick.live == 400, "{tick:?}");
}
