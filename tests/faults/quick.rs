//! A few faults in every run of the tests; `make chaos` plays all of them.

use crate::{crowd::Size, kinds::Kind, run::run, schedule::Schedule};

const SMALL: Size = Size { visitors: 160, over_s: 6, rate: 40 };

async fn goes_right(kinds: &[Kind]) {
    let outcome = run(&Schedule::of(1, kinds), SMALL).await;
    assert!(outcome.proof.violations.is_empty(), "{:#?}", outcome.proof);
    assert!(outcome.proof.places >= 150 && outcome.proof.bookings >= 80, "{:?}", outcome.proof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_is_wiped_and_postgres_killed_after_a_commit() {
    goes_right(&[Kind::RedisWiped, Kind::PostgresKilledAfterCommit]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_come_and_go() {
    goes_right(&[Kind::InstancesComeAndGo]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_goes_back_and_an_instance_is_killed() {
    goes_right(&[Kind::RedisWentBack, Kind::InstanceKilled]).await;
}
