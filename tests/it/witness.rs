//! What instances heard of a line before Redis lost it, and nobody had journaled, goes on record in time.

use crate::{
    restore::{PATIENCE, flush, journaled, stands},
    world::{Server, World},
};
use deadpool_postgres::{Client, Pool};
use redis::aio::MultiplexedConnection;
use serde_json::json;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use waitroom::store::{
    journal::{Journal, Record, Writer},
    line::stream::Entry,
    postgres::connect::postgres_pool,
};
use wire::domain::{ids::SaleId, line::Position};

/// All entries that the stream has.
async fn stream(redis: &mut MultiplexedConnection, sale: &str) -> Vec<Entry> {
    let all = redis::cmd("XRANGE").arg(format!("waitroom:{{{sale}}}:events")).arg("-").arg("+").to_owned();
    let listed: Vec<(String, HashMap<String, String>)> = all.query_async(redis).await.unwrap();
    let entry = |(id, mut fields): (String, HashMap<String, String>)| {
        let (epoch, n) = id.split_once('-').unwrap();
        let position = Position { epoch: epoch.parse().unwrap(), n: n.parse().unwrap() };
        Entry::read(position, fields.remove("d").unwrap().into())
    };
    listed.into_iter().map(entry).collect()
}

/// Those of them that the journal has not go on record, as by an instance that had heard them.
async fn bear_witness(journal: &Journal, stream: Vec<Entry>) {
    let tail = journal.tail().await.unwrap().unwrap();
    let unknown = stream.into_iter().filter(|entry| entry.position > tail.position);
    let records: Vec<_> = unknown.map(|entry| Record::of(entry).unwrap()).collect();
    journal.append(Writer::Witness, &tail, &records).await.unwrap();
}

/// Locks the end of the journal on the pool's one connection, for whatever that does next: its commit ends it.
async fn lock_end(pool: &Pool, sale: &str) {
    let lock = format!("BEGIN; SELECT FROM journal_heads WHERE sale_id = '{sale}' FOR UPDATE");
    pool.get().await.unwrap().batch_execute(&lock).await.unwrap();
}

async fn somebody_waits_for_it(postgres: &Client) {
    let waits =
        "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%journal_heads%'";
    let began = Instant::now();
    while postgres.query_opt(waits, &[]).await.unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "nobody comes that far");
        sleep(Duration::from_millis(20)).await;
    }
}

/// An instance that lost Redis for a moment may be faster than whoever keeps the journal: that is no other history.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_of_a_line_that_is_well_begins_no_new_life() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (_kim, _) = server.comes(&sale, "kim").await;
    journaled(&world, &sale).await;
    let pool = postgres_pool(&world.postgres.url(), 1).unwrap();
    let postgres = postgres_pool(&world.postgres.url(), 1).unwrap().get().await.unwrap();
    // Whoever keeps it says so again, and has read all that there is.
    lock_end(&pool, &sale).await;
    somebody_waits_for_it(&postgres).await;
    let (_lee, _) = server.comes(&sale, "lee").await;
    let mut redis = world.connect_redis().await;
    bear_witness(&Journal::new(pool, SaleId::parse(&sale).unwrap()), stream(&mut redis, &sale).await).await;
    let (_park, _) = server.comes(&sale, "park").await;
    journaled(&world, &sale).await;
    let (_choi, joined) = server.comes(&sale, "choi").await;
    assert_eq!((&joined["epoch"], &joined["rank"]), (&json!(1), &json!(3)), "{joined}");
    server.stop().await;
}

/// Up to the moment at which a restored line's record is read, more of it may come on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_witness_who_comes_late_is_heard() {
    let world = World::new();
    // A machine that stands still for seconds lets the moment pass.
    while !comes_late(&world).await {}
}

/// False if it came too late: the line had been restored already.
async fn comes_late(world: &World) -> bool {
    let server = Server::start_in(world).await;
    let sale = server.sale(json!({})).await;
    let (_kim, _) = server.comes(&sale, "kim").await;
    journaled(world, &sale).await;
    let pool = postgres_pool(&world.postgres.url(), 1).unwrap();
    let postgres = postgres_pool(&world.postgres.url(), 1).unwrap().get().await.unwrap();
    let nobody_until = |until: &'static str| {
        let lease =
            format!("UPDATE journal_heads SET holder = 'nobody', until = '{until}' WHERE sale_id = '{sale}'");
        let postgres = &postgres;
        async move { postgres.batch_execute(&lease).await.unwrap() }
    };
    nobody_until("infinity").await;
    drop(server.comes(&sale, "lee").await);
    server.stop().await;
    // Of Lee, who is on no record, this one has heard nothing.
    let server = Server::start_in(world).await;
    let (mut park, _) = server.comes(&sale, "park").await;
    let mut redis = world.connect_redis().await;
    let heard = stream(&mut redis, &sale).await;
    flush(world).await;
    nobody_until("-infinity").await;
    let began = Instant::now();
    let restoring = redis::cmd("HGET").arg(format!("waitroom:{{{sale}}}:sale")).arg("restoring").to_owned();
    while restoring.query_async::<Option<u8>>(&mut redis).await.unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "nobody restores");
        sleep(Duration::from_millis(10)).await;
    }
    // Whoever restores it waits for witnesses by now.
    let kept = format!("SELECT FROM journal_heads WHERE sale_id = '{sale}' AND holder <> 'nobody'");
    while postgres.query_opt(&kept, &[]).await.unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "nobody keeps the journal");
        sleep(Duration::from_millis(10)).await;
    }
    lock_end(&pool, &sale).await;
    let in_time = restoring.query_async::<Option<u8>>(&mut redis).await.unwrap().is_some()
        && Journal::new(pool.clone(), SaleId::parse(&sale).unwrap()).end().await.unwrap().epoch == 1;
    if in_time {
        somebody_waits_for_it(&postgres).await;
        bear_witness(&Journal::new(pool, SaleId::parse(&sale).unwrap()), heard).await;
        let joined = stands(&mut park, 2).await;
        let (_lee, lee) = server.comes(&sale, "lee").await;
        assert_eq!((&lee["rank"], &joined["rank"]), (&json!(1), &json!(2)), "{lee}, {joined}");
    } else {
        pool.get().await.unwrap().batch_execute("ROLLBACK").await.unwrap();
    }
    server.stop().await;
    in_time
}

/// Redis may never come back with it, and whoever restores the line then does not wait for long. Each time.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_heard_goes_on_record_as_soon_as_redis_is_away() {
    let mut world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (mut kim, _) = server.comes(&sale, "kim").await;
    journaled(&world, &sale).await;
    let pool = postgres_pool(&world.postgres.url(), 1).unwrap();
    let nobody = "UPDATE journal_heads SET holder = 'nobody', until = 'infinity'";
    pool.get().await.unwrap().batch_execute(nobody).await.unwrap();
    let journal = Journal::new(pool, SaleId::parse(&sale).unwrap());
    for name in ["lee", "park"] {
        let before = journal.end().await.unwrap();
        let (mut last, _) = server.comes(&sale, name).await;
        // What she hears now is behind her own join in the stream.
        kim.say(json!({ "type": "leave" })).await;
        last.hear_past(&["joined", "outage"], "rank").await;
        world.redis.kill();
        let began = Instant::now();
        while journal.end().await.unwrap().n < before.n + 2 {
            assert!(began.elapsed() < PATIENCE, "{name}: what was heard is on no record");
            sleep(Duration::from_millis(50)).await;
        }
        world.redis.restart().unwrap();
        kim = last;
    }
    server.stop().await;
}
