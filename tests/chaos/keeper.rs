//! Who keeps the journal is cut off from Redis alone: another goes on with it.

use crate::stage::{Instance, Stage, settings};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use waitroom::store::postgres::connect;

const PATIENCE: Duration = Duration::from_secs(120);

/// Who keeps the journal, and up to which entry it is written.
async fn head(stage: &Stage) -> (String, i64) {
    let query = "SELECT holder, n FROM journal_heads WHERE sale_id = $1";
    let client = connect::postgres_single(&stage.postgres_url).await.unwrap();
    let row = client.query_opt(query, &[&stage.sale.as_str()]).await.unwrap();
    row.map_or_else(Default::default, |row| (row.get(0), row.get(1)))
}

/// Waits until one of these keeps it, and it has all that is in the stream; that one.
async fn kept<'a>(stage: &Stage, by: &[&'a Instance]) -> &'a Instance {
    let all_is_there = async {
        loop {
            let n: i64 = stage.redis(&["HGET", &stage.key("sale"), "n"]).await;
            let (holder, journaled) = head(stage).await;
            let keeper = by.iter().find(|instance| instance.name == holder);
            if let Some(keeper) = keeper.filter(|_| journaled >= n) {
                return *keeper;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, all_is_there).await.expect("what happens does not go on record")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_that_only_postgresql_still_hears_lets_another_keep_the_journal() {
    let stage = Stage::shared(3, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    stage.holders(&a, 3).await;
    let keeper = kept(&stage, &[&a, &b]).await;
    let other = if keeper.name == a.name { &b } else { &a };
    keeper.redis.sever();
    stage.holders(other, 3).await;
    kept(&stage, &[other]).await;
    keeper.redis.heal();
    let holders = stage.holders(keeper, 3).await;
    stage.redeem_surely(keeper, &holders[0], &[0]).await.unwrap();
    kept(&stage, &[&a, &b]).await;
    // In one life, and without a gap.
    let query = "SELECT count(*), min(n), max(n), min(epoch), max(epoch) FROM journal WHERE sale_id = $1";
    let client = connect::postgres_single(&stage.postgres_url).await.unwrap();
    let row = client.query_one(query, &[&stage.sale.as_str()]).await.unwrap();
    let [count, rest @ ..] = [0, 1, 2, 3, 4].map(|column| row.get::<_, i64>(column));
    assert_eq!(rest, [1, count, 1, 1]);
    stage.assert_sold_right(&[&a, &b]).await;
}
