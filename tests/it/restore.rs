//! Redis loses a line, or a part of it: the journal, and what the instances heard, bring it back. Nobody needs his token.

use crate::world::{Server, Visitor, World, plan};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use waitroom::{
    drain::Drain,
    room::{health::Health, rooms::Rooms},
    store::{
        journal::Journal,
        postgres::{connect::postgres_pool, migrations},
        redis::{Redis, Site},
    },
};
use wire::domain::{audit::Actor, ids::SaleId, plan::Plan, sale::NewSale, seats::SeatSet};

/// How long anything here may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a sale's journal has all that its stream has.
pub async fn journaled(world: &World, sale: &str) {
    let journal =
        Journal::new(postgres_pool(&world.postgres.url(), 1).unwrap(), SaleId::parse(sale).unwrap());
    let (mut redis, began) = (world.connect_redis().await, Instant::now());
    loop {
        assert!(began.elapsed() < PATIENCE, "the journal never has it all");
        let key = format!("waitroom:{{{sale}}}:sale");
        let n: u64 = redis::cmd("HGET").arg(key).arg("n").query_async(&mut redis).await.unwrap();
        if journal.end().await.unwrap().n == n {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn flush(world: &World) {
    redis::cmd("FLUSHALL").query_async::<()>(&mut world.connect_redis().await).await.unwrap();
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// A visitor who was there all the time hears how he stands now, in that life of the line or a later one: two instances that
/// find it lost have a number each, and one of them begins.
pub async fn stands(visitor: &mut Visitor, epoch: u64) -> Value {
    loop {
        let message = visitor.next().await;
        assert!(message.get("close").is_none() && message.get("gone").is_none(), "{message}");
        if message["type"] == "joined" && message["epoch"].as_u64() >= Some(epoch) {
            return message;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_line_comes_back_with_its_turns_and_without_those_who_left() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({ "max_active": 2 })).await;
    let mut visitors = Vec::new();
    for name in ["kim", "lee", "park", "choi", "seo"] {
        visitors.push(server.comes(&sale, name).await.0);
    }
    let [kim, lee, park, ..] = &mut visitors[..] else { panic!() };
    park.say(json!({ "type": "leave" })).await;
    park.hear("lapsed").await;
    server.open(&sale).await;
    let token = kim.hear("granted").await["token"].clone();
    let hers = lee.hear("granted").await;
    kim.say(json!({ "type": "seats" })).await;
    kim.hear("seat_map").await;
    drop(visitors.pop());
    journaled(&world, &sale).await;
    flush(&world).await;

    let [kim, lee, park, choi] = &mut visitors[..] else { panic!() };
    let joined = stands(kim, 2).await;
    assert_eq!(joined["state"], "granted", "{joined}");
    let granted = kim.hear("granted").await;
    assert_eq!(granted["claim_in_ms"], Value::Null, "used before, and still: {granted}");
    stands(lee, 2).await;
    let granted = lee.hear("granted").await;
    let left = |granted: &Value| granted["claim_in_ms"].as_u64().unwrap();
    assert!(left(&granted) > 0 && left(&granted) <= left(&hers), "{granted}");
    let joined = stands(choi, 2).await;
    assert_eq!((&joined["rank"], &joined["total"]), (&json!(0), &json!(2)), "{joined}");
    // What a try of before may still do, only PostgreSQL knows.
    let fence = redis::cmd("ZSCORE").arg(format!("waitroom:{{{sale}}}:fences")).arg("kim").to_owned();
    assert_eq!(fence.query_async::<Option<u64>>(&mut world.connect_redis().await).await.unwrap(), Some(1));
    // His token of before is good, once.
    kim.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": ["A-1"] })).await;
    kim.hear_past(&["joined", "granted", "seat_map", "seats_changed"], "booking").await;
    choi.hear_past(&["joined"], "granted").await;
    // Who was not there needs nothing but his name; who had left is behind all.
    let (_seo, joined) = server.comes(&sale, "seo").await;
    assert_eq!((&joined["type"], &joined["rank"]), (&json!("joined"), &json!(0)), "{joined}");
    park.say(json!({ "type": "join" })).await;
    assert_eq!(park.hear("joined").await["rank"], 1);
    assert_eq!(server.show(&sale).await["admitted_total"], 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_that_a_line_is_being_restored() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let series = |value: u8| format!("waitroom_restoring{{sale=\"{sale}\"}} {value}");
    let says = async |line: String| {
        while !server.metrics().await.contains(&line) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, says(series(0))).await.unwrap();
    assert_eq!(server.show(&sale).await["restoring"], Value::Null);
    // As a new life of a line that was lost begins.
    let key = format!("waitroom:{{{sale}}}:sale");
    redis::cmd("HSET")
        .arg(key)
        .arg("restoring")
        .arg(1)
        .query_async::<()>(&mut world.connect_redis().await)
        .await
        .unwrap();
    assert_eq!(server.show(&sale).await["restoring"], json!(true));
    timeout(PATIENCE, says(series(1))).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_went_back_is_not_believed() {
    let mut world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (kim, _) = server.comes(&sale, "kim").await;
    let files = world.redis.folder().join("appendonlydir");
    let before = world.redis.folder().join("before");
    copy(&files, &before);
    let (mut lee, _) = server.comes(&sale, "lee").await;
    let (mut park, _) = server.comes(&sale, "park").await;
    park.say(json!({ "type": "leave" })).await;
    park.hear("lapsed").await;
    drop(kim);
    journaled(&world, &sale).await;
    world.redis.kill();
    copy(&before, &files);
    world.redis.restart().unwrap();
    assert_eq!(stands(&mut lee, 2).await["rank"], 1);
    let (_kim, joined) = server.comes(&sale, "kim").await;
    assert_eq!((&joined["rank"], &joined["epoch"]), (&json!(0), &json!(2)), "{joined}");
    park.say(json!({ "type": "join" })).await;
    assert_eq!(park.hear("joined").await["rank"], 2, "what had ended stays ended");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_had_journaled_is_known_to_those_who_heard_it() {
    let world = World::new();
    let (server, other) = (Server::start_in(&world).await, Server::start_in(&world).await);
    let sale = server.sale(json!({})).await;
    let (_kim, _) = server.comes(&sale, "kim").await;
    journaled(&world, &sale).await;
    let postgres = postgres_pool(&world.postgres.url(), 1).unwrap().get().await.unwrap();
    let holds = |holder: &'static str, until: &'static str| {
        let lease = format!("UPDATE journal_heads SET holder = '{holder}', until = '{until}'");
        let postgres = &postgres;
        async move { postgres.batch_execute(&lease).await.unwrap() }
    };
    holds("nobody", "infinity").await;
    // Both are heard by both instances, and gone again; neither is on record.
    for (name, server) in [("lee", &server), ("park", &other)] {
        drop(server.comes(&sale, name).await);
    }
    let mut choi = other.comes(&sale, "choi").await.0;
    let began = Instant::now();
    while server.show(&sale).await["waiting"] != 4 {
        assert!(began.elapsed() < PATIENCE, "{}", server.show(&sale).await);
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(300)).await;
    flush(&world).await;
    holds("nobody", "-infinity").await;
    assert_eq!(stands(&mut choi, 2).await["rank"], 3);
    for (name, rank) in [("park", 2), ("lee", 1)] {
        let (_visitor, joined) = server.comes(&sale, name).await;
        assert_eq!(joined["rank"], rank, "{name}: {joined}");
    }
    server.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lacks_what_is_not_journaled_begins_one_life_and_no_more() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (_kim, _) = server.comes(&sale, "kim").await;
    journaled(&world, &sale).await;
    let postgres = postgres_pool(&world.postgres.url(), 1).unwrap().get().await.unwrap();
    let holder = "UPDATE journal_heads SET holder = 'nobody', until =";
    postgres.batch_execute(&format!("{holder} 'infinity'")).await.unwrap();
    let (lee, _) = server.comes(&sale, "lee").await;
    drop(lee);
    // With it goes what it heard.
    server.stop().await;
    let events = format!("waitroom:{{{sale}}}:events");
    let trim = redis::cmd("XTRIM").arg(&events).arg("MAXLEN").arg(0).to_owned();
    trim.query_async::<()>(&mut world.connect_redis().await).await.unwrap();
    // What comes after the gap stays in the stream.
    let server = Server::start_in(&world).await;
    let (mut park, _) = server.comes(&sale, "park").await;
    postgres.batch_execute(&format!("{holder} '-infinity'")).await.unwrap();
    let one_life = async {
        assert_eq!(stands(&mut park, 2).await["rank"], 2);
        journaled(&world, &sale).await;
    };
    timeout(Duration::from_secs(60), one_life).await.expect("one life after another begins");
    let (_choi, joined) = server.comes(&sale, "choi").await;
    assert_eq!((&joined["rank"], &joined["epoch"]), (&json!(3), &json!(2)), "{joined}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_lost_nothing_begins_nothing() {
    let mut world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (mut kim, _) = server.comes(&sale, "kim").await;
    world.redis.kill();
    world.redis.restart().unwrap();
    let (_lee, joined) = server.comes(&sale, "lee").await;
    assert_eq!((&joined["rank"], &joined["epoch"]), (&json!(1), &json!(1)), "{joined}");
    server.open(&sale).await;
    kim.hear_past(&["joined"], "granted").await;
    server.stop().await;
}

/// All instances hear of a new sale at once, and each finds nothing of it in Redis: nothing was lost, and one life begins.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_sale_on_several_instances_is_no_lost_line() {
    let world = World::new();
    let (url, json) = (world.postgres.url(), plan(1, 2).to_string());
    migrations::run(&url).await.unwrap();
    let mut instances = Vec::new();
    for i in 0..4 {
        let redis = Redis::connect(Site::parse(&world.redis.url()).unwrap(), &format!("i{i}")).await.unwrap();
        let (leave, drain) = watch::channel(Drain::NotYet);
        let rooms = Rooms::new(redis, postgres_pool(&url, 2).unwrap(), Arc::new(Health::default()), drain);
        instances.push((rooms, leave));
    }
    let seats = Plan::parse(json.as_bytes()).unwrap();
    let settings = json!({
        "opens_at": null, "rate": 1.0, "max_active": 1, "grant_ttl_s": 30, "claim_s": 30, "away_s": 30, "max_seats": 1,
        "hold_ttl_s": 0,
    });
    for i in 0..6 {
        let id = SaleId::parse(&format!("new-{i}")).unwrap();
        let new = NewSale {
            id: &id,
            name: "New",
            plan_json: json.as_bytes(),
            plan: &seats,
            settings: &serde_json::from_value(settings.clone()).unwrap(),
            anonymous: true,
            blocked: &SeatSet::new(2),
        };
        assert!(instances[0].0.create(&new, &Actor::admin()).await.unwrap());
        let opened = join_all(instances.iter().map(|(rooms, _)| rooms.get(&id))).await;
        assert!(opened.iter().all(|room| matches!(room, Ok(Some(_)))), "sale {i}");
        let client = postgres_pool(&url, 1).unwrap().get().await.unwrap();
        let row = client.query_one("SELECT epoch FROM sales WHERE id = $1", &[&id.as_str()]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 1, "sale {i}: lives of its line");
    }
}
