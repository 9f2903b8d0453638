//! Lives of a line, and its end: what a new one leaves behind, what another process of Redis must know, what the journal has, and
//! what is done about a visitor of a sale that is over.

use crate::{
    line::{Bench, RULES, visitor},
    line_rules::by_hand,
    world::{Server, World},
};
use serde_json::{Value, json};
use std::collections::HashSet;
use waitroom::store::{
    line::{Install, LineSettings, Removed, Takeover},
    postgres::connect,
    redis::{Redis, Site},
    sales::Sales,
};
use wire::domain::{
    ids::SaleId,
    line::{JoinMode, Position},
    phase::Phase,
    place::Stage,
    seats::SeatSet,
};

async fn field(bench: &Bench, name: &str) -> Option<i64> {
    by_hand(bench, "HGET", "sale", &[name]).await
}

/// What the life before was in the midst of is no matter of the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_life_goes_on_with_nothing_of_the_one_before() {
    let bench = Bench::new(RULES).await;
    by_hand::<()>(&bench, "SADD", "held", &["a-booking"]).await;
    let begun = ["shifting", "begun_by", "unshifted_grants", "unshifted_claims"];
    for name in begun {
        by_hand::<()>(&bench, "HSET", "sale", &[name, "1"]).await;
    }
    let none = SeatSet::new(100);
    let install = Install {
        epoch: 2,
        first_epoch: 0,
        lost_epoch: 1,
        command: Phase::Open,
        first_seq: 0,
        seats: 100,
        shift_ms: 0,
        booked_seats: &none,
        held: &HashSet::new(),
        visitors: &[],
    };
    assert!(bench.line.install(&install).await.unwrap());
    assert!(!bench.line.install(&install).await.unwrap(), "it has begun");
    for name in begun {
        assert_eq!(field(&bench, name).await, None, "{name}");
    }
    assert_eq!(by_hand::<u64>(&bench, "SCARD", "held", &[]).await, 0);
}

/// What was told before a process took over must have been there then: that it has written as much since is no proof.
#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_told_must_have_been_there() {
    let bench = Bench::new(RULES).await;
    for name in ["kim", "lee", "park"] {
        bench.join(name).await;
    }
    let n = bench.line.position().await.unwrap().unwrap().0.n;
    by_hand::<()>(&bench, "HSET", "sale", &["taken_n", &(n - 2).to_string()]).await;
    for (told, found) in [(n - 1, Takeover::Lost(1)), (n - 2, Takeover::Whole)] {
        let site = Site::parse(&World::shared().redis.url()).unwrap();
        let line = Redis::connect(site, "two").await.unwrap().line(&bench.sale);
        line.is_told(Position { epoch: 1, n: told });
        assert_eq!(line.take_over(Position::default()).await.unwrap(), found, "{told} of {n}");
    }
}

/// How much waits for the journal is what it has not yet; and it never has less than it had, nor what is of another life.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_journal_has_does_not_wait_for_it() {
    let bench = Bench::new(RULES).await;
    for (name, value) in [("unjournaled_max", "10000"), ("written", "1000000")] {
        by_hand::<()>(&bench, "HSET", "sale", &[name, value]).await;
    }
    assert!(bench.join_as("kim", Some(1), JoinMode::Join, None).await.is_none());
    for (epoch, written) in [(1, 999_999), (1, 500), (2, 1_500_000)] {
        bench.line.journaled(epoch, written, 0).await.unwrap();
        assert_eq!(field(&bench, "journaled").await, Some(999_999), "{epoch} {written}");
    }
    assert_eq!(bench.join("kim").await.stage, Stage::Waiting);
}

/// Seats that the operator keeps are told by their numbers.
#[tokio::test(flavor = "multi_thread")]
async fn blocked_seats_are_told() {
    let bench = Bench::new(RULES).await;
    let mut blocked = SeatSet::new(100);
    for seat in [0, 9, 15, 98] {
        blocked.insert(seat);
    }
    let settings = LineSettings {
        version: 2,
        command: Phase::Open,
        rate: 1.0,
        max_active: 1,
        grant_ttl_ms: 1,
        claim_ms: 1,
        away_ms: 1,
        blocked: &blocked,
        banned: &[],
    };
    assert!(bench.line.apply(&settings).await.unwrap());
    let last = ["+", "-", "COUNT", "1"];
    let entries: Vec<(String, Vec<String>)> = by_hand(&bench, "XREVRANGE", "events", &last).await;
    let entry: Value = serde_json::from_str(&entries[0].1[1]).unwrap();
    assert_eq!(entry["in_force"]["blocked"], json!([0, 9, 15, 98]));
    assert_eq!(bench.line.counts().await.unwrap().seats_left, 96);
}

/// In a sale that is over nothing ends any more; whoever is forgotten stands where he stood, as nobody, and is on no list.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_when_it_is_over_stands_there_as_nobody() {
    let mut bench = Bench::new(RULES).await;
    let kim = bench.join("kim").await;
    bench.tick().await;
    bench.command(RULES, Phase::Closed).await;
    by_hand::<()>(&bench, "SADD", "banned", &["kim"]).await;
    let done = Removed::Done { ended: false };
    assert_eq!(bench.line.remove(&visitor("kim"), None).await.unwrap(), done);
    let record: String = by_hand(&bench, "HGET", "places", &["kim"]).await;
    assert_eq!(record, format!("g:{}:0:0", kim.seq));
    assert_eq!(bench.line.remove(&visitor("kim"), Some(&[])).await.unwrap(), done);
    let nobody = format!("forgotten:{}", kim.seq);
    for key in ["grants", "claims"] {
        assert_eq!(by_hand::<Vec<String>>(&bench, "ZRANGE", key, &["0", "-1"]).await, [&*nobody], "{key}");
    }
    assert_eq!(by_hand::<Vec<String>>(&bench, "HKEYS", "places", &[]).await, [nobody]);
    assert_eq!(by_hand::<u64>(&bench, "SCARD", "banned", &[]).await, 0);
}

/// Several notice at once that Redis has lost the line, and one notices late.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_life_is_begun_once_and_not_by_who_is_late() {
    let server = Server::start().await;
    let id = SaleId::parse(&server.sale(json!({})).await).unwrap();
    let sales = Sales::new(connect::postgres_pool(&World::shared().postgres.url(), 2).unwrap());
    let (sale, _) = sales.load(&id).await.unwrap().unwrap();
    let last = sales.last_epoch(&sale).await.unwrap();
    let (one, other) = tokio::join!(sales.next_epoch(&sale, last), sales.next_epoch(&sale, last));
    let begun = [one.unwrap(), other.unwrap(), sales.next_epoch(&sale, last).await.unwrap()];
    assert_eq!(begun.into_iter().flatten().collect::<Vec<_>>(), [(last + 1, 0)]);
    assert_eq!(sales.last_epoch(&sale).await.unwrap(), last + 1);
    server.stop().await;
}
