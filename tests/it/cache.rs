//! The public answers about sales are kept for a while, and a change shows in them on every instance at once.

use crate::world::{Server, World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use waitroom::store::postgres::connect;

/// What the contract allows for a change to be in force everywhere.
const SECOND: Duration = Duration::from_secs(1);

async fn get(server: &Server, path: &str) -> Value {
    let url = format!("http://{}/v1{path}", server.public);
    let call = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let text = agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    };
    tokio::task::spawn_blocking(call).await.unwrap()
}

/// Asks all the time, so that an answer is always kept; how long until it is as it should be.
async fn until(server: &Server, path: &str, right: impl Fn(&Value) -> bool) -> Duration {
    let asked = Instant::now();
    while !right(&get(server, path).await) {
        assert!(asked.elapsed() < 30 * SECOND, "{path} never came right: {}", get(server, path).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asked.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_change_shows_on_every_instance_at_once() {
    let (a, b) = (Server::start().await, Server::start().await);
    let sale = a.sale(json!({})).await;
    let path = format!("/sales/{sale}");
    // Of phases the stream tells directly; of all else it says that there is something to read.
    let (mut phases, mut others) = (Vec::new(), Vec::new());
    for (change, field, value) in [
        (json!({ "opens_at": "2040-01-01T00:00:00Z" }), "opens_at", json!("2040-01-01T00:00:00Z")),
        (json!({ "blocked": ["A-1", "A-2"] }), "seats_left", json!(18)),
        (json!({ "phase": "open" }), "phase", json!("open")),
        (json!({ "blocked": [] }), "seats_left", json!(20)),
        (json!({ "phase": "paused" }), "phase", json!("paused")),
        (json!({ "opens_at": null }), "opens_at", Value::Null),
        (json!({ "phase": "closed" }), "phase", json!("closed")),
    ] {
        // Kept on both, and kept again while the change is made.
        let before = get(&b, &path).await;
        assert_ne!(before[field], value);
        get(&a, &path).await;
        get(&b, "/sales").await;
        let asked = Instant::now();
        a.patch(&sale, change).await;
        until(&b, &path, |shown| shown[field] == value).await;
        until(&a, &path, |shown| shown[field] == value).await;
        let listed = |all: &Value| {
            let mut all = all["sales"].as_array().unwrap().iter();
            all.any(|shown| shown["id"] == sale.as_str() && shown[field] == value)
        };
        until(&b, "/sales", listed).await;
        let waited = if field == "phase" { &mut phases } else { &mut others };
        waited.push(asked.elapsed());
    }
    for waited in [phases, others] {
        // Answers that live out their second are all late by it, as the page was asked for just before.
        assert!(quickest(&waited) < SECOND * 9 / 10, "{waited:?}");
    }
    a.stop().await;
    b.stop().await;
}

/// The quickest: the machine may be busy with other things.
fn quickest(waited: &[Duration]) -> Duration {
    waited.iter().copied().min().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_stream_tells_shows_within_a_second() {
    let (a, b) = (Server::start().await, Server::start().await);
    let (mut created, mut listed, mut changed) = (Vec::new(), Vec::new(), Vec::new());
    let client = connect::postgres_single(&World::shared().postgres.url()).await.unwrap();
    for n in 0..3 {
        // Asked for before there is such a sale.
        let id = format!("cache-{n}");
        let path = format!("/sales/{id}");
        assert_eq!(get(&b, &path).await["code"], "unknown_sale");
        let known = async { until(&b, &path, |shown| shown["id"] == id.as_str()).await };
        let in_list = async {
            let has =
                |all: &Value| all["sales"].as_array().unwrap().iter().any(|shown| shown["id"] == id.as_str());
            until(&b, "/sales", has).await
        };
        a.sale(json!({ "id": id })).await;
        let (known, in_list) = tokio::join!(known, in_list);
        created.push(known);
        listed.push(in_list);
        // An instance died between PostgreSQL and Redis.
        let change = "UPDATE sales SET opens_at = '2040-01-01', version = version + 1 WHERE id = $1";
        client.execute(change, &[&id]).await.unwrap();
        changed.push(until(&b, &path, |shown| !shown["opens_at"].is_null()).await);
    }
    for waited in [created, listed, changed] {
        assert!(quickest(&waited) < 3 * SECOND, "{waited:?}");
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_says_how_old_it_is() {
    // Its own stores: one of them is about to stop.
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let path = format!("/sales/{sale}");
    until(&server, &path, |shown| shown["age_s"].as_u64().unwrap() <= 2).await;
    world.redis.freeze();
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    // Nobody can know what happened meanwhile.
    let (one, all) = (get(&server, &path).await, get(&server, "/sales").await);
    world.redis.thaw();
    assert!((3..=30).contains(&one["age_s"].as_u64().unwrap()), "{one}");
    assert!((3..=30).contains(&all["sales"][0]["age_s"].as_u64().unwrap()), "{all}");
    until(&server, &path, |shown| shown["age_s"].as_u64().unwrap() <= 2).await;
    server.stop().await;
}
