//! Fences against a real Redis: a grant that is being redeemed never lapses, and never twice at a time.

use crate::{
    line::{Bench, RULES, Rules, visitor},
    line_rules::by_hand,
    world::{Server, Visitor, World},
};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;
use waitroom::store::{
    line::{Fence, Fenced},
    postgres::connect::postgres_pool,
};
use wire::domain::{ids::GrantKey, line::Left, place::Stage};

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_grant_never_lapses_and_an_unheard_one_is_asked_for() {
    let bench = Bench::new(Rules { grant_ttl_ms: 2000, claim_ms: 2000, ..RULES }).await;
    let (kim, lee) = (bench.join("kim").await, bench.join("lee").await);
    bench.tick().await;
    let grants = [(visitor("kim"), kim.grant(), 0), (visitor("lee"), GrantKey { turn: 1, ..lee.grant() }, 0)];
    let fenced = bench.line.fence(6000, &grants).await.unwrap();
    assert!(
        matches!(fenced[..], [Fenced::Yes { owned: 0, .. }, Fenced::Dead]),
        "only the live turn: {fenced:?}"
    );
    assert_eq!(bench.line.fence(6000, &grants[..1]).await.unwrap(), [Fenced::Busy], "one at a time");
    sleep(Duration::from_millis(2700)).await;
    let tick = bench.tick().await;
    assert_eq!(tick.lapsed, [1, 0, 0], "lee, whose grant nobody fenced, has missed his turn; kim has not");
    assert!(tick.expired_fences.is_empty());
    sleep(Duration::from_millis(3600)).await;
    assert_eq!(bench.tick().await.expired_fences, [(visitor("kim"), kim.grant())]);
    assert_eq!(bench.join("kim").await.stage, Stage::Granted, "not before PostgreSQL was asked");
    bench.line.bookings(&[], &[Fence { visitor: visitor("kim"), until_ms: 0 }]).await.unwrap();
    assert_eq!(bench.tick().await.lapsed, [0, 1, 0]);
    assert_eq!(
        bench.line.fence(1500, &grants[..1]).await.unwrap(),
        [Fenced::Dead],
        "a lapsed grant books nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redeem_that_came_in_time_counts_although_it_waited() {
    let bench = Bench::new(Rules { grant_ttl_ms: 2000, claim_ms: 2000, ..RULES }).await;
    let kim = bench.join("kim").await;
    bench.tick().await;
    sleep(Duration::from_millis(2200)).await;
    let fence =
        async |age_ms| bench.line.fence(1000, &[(visitor("kim"), kim.grant(), age_ms)]).await.unwrap()[0];
    assert_eq!(fence(0).await, Fenced::Dead, "too late");
    assert!(matches!(fence(1900).await, Fenced::Yes { owned: 0, .. }), "was in time");
}

/// A writer that was held up must not lift, nor lengthen, the fence of the try that came after its own ran out: the
/// grant would lapse while it is being booked.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_that_has_run_out_leaves_the_next_one_alone() {
    let bench = Bench::new(RULES).await;
    let kim = bench.join("kim").await;
    bench.tick().await;
    let fence = async |ms| bench.line.fence(ms, &[(visitor("kim"), kim.grant(), 0)]).await.unwrap()[0];
    let until = |fenced| match fenced {
        Fenced::Yes { until_ms, .. } => Fence { visitor: visitor("kim"), until_ms },
        other => panic!("{other:?}"),
    };
    let mut first = [until(fence(100).await)];
    sleep(Duration::from_millis(150)).await;
    let mut second = [until(fence(60_000).await)];
    bench.line.renew(60_000, &mut first).await.unwrap();
    assert_eq!(first[0].until_ms, 0, "it has run out");
    bench.line.bookings(&[], &first).await.unwrap();
    assert_eq!(fence(1000).await, Fenced::Busy, "the second stands");
    bench.line.renew(70_000, &mut second).await.unwrap();
    bench.line.bookings(&[], &second).await.unwrap();
    assert!(matches!(fence(1000).await, Fenced::Yes { .. }), "its own falls");
}

/// The writer of a try whose fence has run out may be about to commit: until PostgreSQL was asked, nothing ends the turn, neither
/// the visitor nor a later try of his that came to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_turn_whose_try_nobody_settled_ends_only_by_postgresql() {
    let bench = Bench::new(Rules { grant_ttl_ms: 1500, claim_ms: 1500, ..RULES }).await;
    let kim = bench.join("kim").await;
    bench.tick().await;
    let fence = async |ms| bench.line.fence(ms, &[(visitor("kim"), kim.grant(), 0)]).await.unwrap()[0];
    let leave = async || bench.line.leave(&[visitor("kim")]).await.unwrap()[0];
    assert!(matches!(fence(60_000).await, Fenced::Yes { .. }));
    assert_eq!(leave().await, Left::Busy);
    by_hand::<()>(&bench, "ZADD", "fences", &["2", "kim"]).await;
    let unsettled = Left::Unsettled(kim.grant());
    assert_eq!(leave().await, unsettled, "it has run out, and nobody has settled it");
    let Fenced::Yes { until_ms, .. } = fence(60_000).await else { panic!("another try may come") };
    bench.line.bookings(&[], &[Fence { visitor: visitor("kim"), until_ms }]).await.unwrap();
    assert_eq!(leave().await, unsettled, "the second came to nothing, the first may come still");
    sleep(Duration::from_millis(2100)).await;
    let tick = bench.tick().await;
    assert_eq!((tick.lapsed, tick.expired_fences), ([0, 0, 0], vec![(visitor("kim"), kim.grant())]));
    assert_eq!(fence(1000).await, Fenced::Busy, "nor is anybody told that it has ended");
    let void = Fence { visitor: visitor("kim"), until_ms: Fence::OF_VOID };
    bench.line.bookings(&[], &[void]).await.unwrap();
    assert_eq!(bench.tick().await.lapsed, [0, 1, 0]);
}

/// Somebody whose turn it is, and who has tried to book on an instance that has ended since; so does whoever's turn a restore brings back.
async fn tried_before(server: &Server) -> (String, Visitor) {
    let sale = server.sale(json!({ "max_active": 1 })).await;
    server.open(&sale).await;
    let (mut kim, _) = server.comes(&sale, "kim").await;
    kim.hear("granted").await;
    let fence = redis::cmd("ZADD").arg(format!("waitroom:{{{sale}}}:fences")).arg(1).arg("kim").to_owned();
    fence.query_async::<()>(&mut World::shared().connect_redis().await).await.unwrap();
    (sale, kim)
}

/// What PostgreSQL has of the visitor's tries.
async fn tries(sale: &str) -> Vec<String> {
    let postgres = postgres_pool(&World::shared().postgres.url(), 1).unwrap().get().await.unwrap();
    let query = "SELECT status FROM bookings WHERE sale_id = $1 AND visitor_id = 'kim'";
    postgres.query(query, &[&sale]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Who wants to leave need not wait until the turn is over: that he books nothing is settled then.
#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_has_his_unsettled_try_settled() {
    let server = Server::start().await;
    let (sale, mut kim) = tried_before(&server).await;
    kim.say(json!({ "type": "leave" })).await;
    assert_eq!(kim.hear("lapsed").await["reason"], "left");
    assert_eq!(tries(&sale).await, ["void"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_removed_has_it_settled_too() {
    let server = Server::start().await;
    let (sale, mut kim) = tried_before(&server).await;
    let removed = server.admin("DELETE", &format!("/sales/{sale}/visitors/kim"), None).await;
    assert_eq!((removed.0, &removed.1["ended"]), (200, &json!(true)), "{removed:?}");
    assert_eq!(kim.closed().await, 4403);
    assert_eq!(tries(&sale).await, ["void"]);
    server.stop().await;
}
