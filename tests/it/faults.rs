//! Stores that die or freeze, and a server that leaves: nobody loses a place, no seat is sold twice.

use crate::world::{Server, Visitor, World, plan};
use serde_json::{Value, json};
use std::{collections::HashSet, time::Duration};
use tokio::time::{sleep, timeout};
use waitroom::store::postgres::connect::postgres_pool;

async fn granted(server: &Server, sale: &str, count: usize) -> Vec<(Visitor, Value)> {
    let mut visitors = Vec::new();
    for _ in 0..count {
        visitors.push(server.join(sale).await.0);
    }
    server.open(sale).await;
    let mut all = Vec::new();
    for mut visitor in visitors {
        let token = visitor.hear("granted").await["token"].clone();
        all.push((visitor, token));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_postgres_books_nothing_twice_and_loses_nothing() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let mut visitors = granted(&server, &sale, 2).await;
    world.postgres.freeze();
    for (i, (visitor, token)) in visitors.iter_mut().enumerate() {
        let seat = format!("A-{}", i + 1);
        visitor.say(json!({ "type": "redeem", "request": "frozen", "token": token, "seats": [seat] })).await;
    }
    for (visitor, _) in &mut visitors {
        let refused = visitor.hear("refused").await;
        assert_eq!((&refused["reason"], &refused["retry"]), (&json!("busy"), &json!(true)));
    }
    world.postgres.thaw();
    // Whether the first try was committed after all is settled by the second: one booking a grant either way.
    let mut seats = HashSet::new();
    for (i, (visitor, token)) in visitors.iter_mut().enumerate() {
        let wish = format!("A-{}", i + 1);
        let booking = loop {
            visitor
                .say(json!({ "type": "redeem", "request": "again", "token": token, "seats": [wish] }))
                .await;
            let answer = loop {
                let message = visitor.next().await;
                if ["booking", "refused"].iter().any(|kind| message["type"] == *kind) {
                    break message;
                }
            };
            if answer["type"] == "booking" {
                break answer;
            }
            assert_eq!(answer["reason"], "busy", "{answer}");
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        };
        assert_eq!(booking["seats"], json!([wish]));
        assert!(seats.insert(booking["booking"].to_string()));
    }
    let (_, bookings) = server.admin("GET", &format!("/sales/{sale}/bookings"), None).await;
    let rows = bookings.as_str().unwrap_or_default().lines().count();
    assert_eq!(rows, 2, "{bookings}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_comes_back_with_the_line_in_order() {
    let mut world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let mut places = Vec::new();
    for rank in 0..20 {
        let (_, joined) = server.join(&sale).await;
        assert_eq!(joined["rank"], rank);
        places.push(joined["place"].clone());
    }
    world.redis.kill();
    world.redis.restart().unwrap();
    for (rank, place) in places.iter().enumerate() {
        let joined = loop {
            let mut visitor = server.connect(&sale).await;
            visitor.say(json!({ "type": "join", "place": place })).await;
            let answer = visitor.next().await;
            if answer["type"] == "joined" {
                break answer;
            }
            assert_eq!(answer["code"], "unavailable", "{answer}");
        };
        assert_eq!((&joined["rank"], &joined["epoch"]), (&json!(rank), &json!(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_starts_a_new_epoch_and_tokens_bring_the_places_back() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (mut kim, _) = server.join(&sale).await;
    let (mut lee, joined) = server.join(&sale).await;
    assert_eq!(joined["rank"], 1);
    let mut connection =
        waitroom::store::redis::redis_client(&world.redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    // Whoever is connected is restored at once, in the old order, and told so by a fresh `joined`.
    for (visitor, rank) in [(&mut kim, 0), (&mut lee, 1)] {
        let mut joined = visitor.hear("joined").await;
        // The first to return may be alone in the line for a moment.
        while joined["rank"] != rank {
            joined = visitor.hear("joined").await;
        }
        assert_eq!(joined["epoch"], 2);
    }
    let (_, newcomer) = server.join(&sale).await;
    assert_eq!(newcomer["rank"], 2, "behind all who had a place before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaving_server_sends_its_visitors_on() {
    let world = World::new();
    let (leaving, staying) = (Server::start_in(&world).await, Server::start_in(&world).await);
    let sale = leaving.sale(json!({})).await;
    let (mut kim, joined) = leaving.join(&sale).await;
    let told = tokio::spawn(async move {
        let reconnect = kim.hear("reconnect").await;
        (reconnect, kim.closed().await)
    });
    let report = leaving.stop().await;
    let (reconnect, code) = told.await.unwrap();
    assert!(reconnect["after_ms"].is_u64(), "{reconnect}");
    assert_eq!((code, report.sockets, report.cut), (1012, 1, 0));
    let mut again = staying.connect(&sale).await;
    again.say(json!({ "type": "join", "place": joined["place"] })).await;
    assert_eq!(again.hear("joined").await["rank"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_foreign_hand_writes_into_the_stream_stops_nobody() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let mut redis = world.connect_redis().await;
    // An id far ahead of the line's; then a field that is no text, under the number that comes next.
    for stray in [&b"x"[..], b"\xff"] {
        let sale = server.sale(json!({})).await;
        let (mut kim, _) = server.join(&sale).await;
        let key = format!("waitroom:{{{sale}}}:events");
        let n: u64 = redis::cmd("HGET")
            .arg(format!("waitroom:{{{sale}}}:sale"))
            .arg("n")
            .query_async(&mut redis)
            .await
            .unwrap();
        let id = if stray == b"x" { "*".to_owned() } else { format!("1-{}", n + 1) };
        redis::cmd("XADD").arg(&key).arg(id).arg(stray).arg("y").query_async::<()>(&mut redis).await.unwrap();
        server.open(&sale).await;
        kim.hear_past(&["joined"], "granted").await;
        let (mut lee, _) = server.join(&sale).await;
        lee.hear_past(&["joined"], "granted").await;
    }
    server.stop().await;
}

/// An older program beside a newer one must not stand in the way of who can go on.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_this_program_cannot_read_leaves_the_journal_to_others() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let mut redis = world.connect_redis().await;
    let sale = server.sale(json!({})).await;
    let (mut kim, _) = server.join(&sale).await;
    let [events, line] = ["events", "sale"].map(|key| format!("waitroom:{{{sale}}}:{key}"));
    let n: u64 = redis::cmd("HINCRBY").arg(&line).arg("n").arg(1).query_async(&mut redis).await.unwrap();
    let entry =
        json!({ "at": 1, "written": 1, "by": "x", "lapsed": [["anon:x", 999_999, "a reason of later"]] });
    let id = format!("1-{n}");
    redis::cmd("XADD")
        .arg(&events)
        .arg(&id)
        .arg("d")
        .arg(entry.to_string())
        .query_async::<()>(&mut redis)
        .await
        .unwrap();
    // Visitors do not notice.
    server.open(&sale).await;
    kim.hear_past(&["joined"], "granted").await;
    let pool = postgres_pool(&world.postgres.url(), 1).unwrap();
    let is_left = "SELECT until < now() FROM journal_heads WHERE sale_id = $1";
    let waits = format!("waitroom_journal_waiting_bytes{{sale=\"{sale}\"}} 0");
    let left = async {
        while !pool.get().await.unwrap().query_one(is_left, &[&sale]).await.unwrap().get::<_, bool>(0) {
            sleep(Duration::from_millis(50)).await;
        }
        // And whoever looks at the numbers does.
        while server.metrics().await.lines().any(|line| line == waits) {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(120), left).await.expect("nobody else may write the journal");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_changes_while_redis_is_away_is_kept_and_he_is_told_so() {
    let mut world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    world.redis.kill();
    let path = format!("/sales/{sale}");
    let (status, answer) =
        server.admin_once("PATCH", &path, Some(json!({ "phase": "open", "rate": 7 }))).await;
    assert_eq!((status, &answer["retry"]), (503, &json!(true)), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("recorded"), "{answer}");
    let new = json!({
        "id": format!("{sale}-new"), "name": "New", "plan": plan(1, 1), "rate": 1, "max_active": 1, "grant_ttl_s": 30,
        "max_seats": 1, "anonymous": true,
    });
    let (status, answer) = server.admin_once("POST", "/sales", Some(new.clone())).await;
    assert_eq!((status, &answer["retry"]), (503, &json!(false)), "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("is created"), "{answer}");
    assert_eq!(server.admin_once("POST", "/sales", Some(new)).await.0, 409);
    world.redis.restart().unwrap();
    let shown = loop {
        let (status, shown) = server.admin_once("GET", &path, None).await;
        if status == 200 && shown["phase"] == "open" {
            break shown;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(shown["rate"], 7.0);
    // Said again, it changes nothing.
    assert_eq!(server.patch(&sale, json!({ "phase": "open", "rate": 7 })).await["rate"], 7.0);
    assert_eq!(server.show(&format!("{sale}-new")).await["phase"], "scheduled");
    server.stop().await;
}
