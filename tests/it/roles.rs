//! Who may do what with the admin API, what is kept of it, and what guessing costs.

use crate::world::{ADMIN_TOKEN, Server, World, plan};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;

const TILL: &str = "the-token-of-the-till";
const LOOKER: &str = "the-token-of-the-looker";
const GATE: &str = "the-token-of-the-gate";

async fn server(more: &str) -> Server {
    let tokens = format!("till:shop:{TILL},looker:viewer:{LOOKER},door:gate:{GATE}{more}");
    Server::start_with(World::shared(), &[("admin_tokens", &tokens)]).await
}

/// A booking that is only held.
async fn held(server: &Server, sale: &str) -> String {
    let (mut visitor, _) = server.join(sale).await;
    let token = visitor.hear("granted").await["token"].clone();
    let redeem = json!({ "type": "redeem", "request": "r", "token": token, "best": { "count": 1 } });
    visitor.say(redeem).await;
    visitor.hear("booking").await["booking"].as_str().unwrap().to_owned()
}

/// The audit of one sale, as far as a token shows it.
async fn audit(server: &Server, token: &str, query: &str, sale: &str) -> Vec<Value> {
    let (status, said) = server.admin_as(token, "GET", &format!("/audit{query}"), None).await;
    assert_eq!(status, 200, "{said}");
    let text = match said {
        Value::String(text) => text,
        one => one.to_string(),
    };
    let all = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|one| one["sale"] == sale).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_do_what_it_is_for_and_is_told_so_of_all_else() {
    let server = server("").await;
    let sale = server.sale(json!({ "hold_ttl_s": 600 })).await;
    server.open(&sale).await;
    let booking = held(&server, &sale).await;
    let new = || {
        json!({ "id": format!("{sale}-2"), "name": "Test", "plan": plan(1, 2), "rate": 1, "max_active": 1,
            "grant_ttl_s": 30, "claim_s": 30, "max_seats": 1, "anonymous": true })
    };
    // The statuses of operator, shop, viewer and gate; those that change most come last.
    let calls = [
        ("GET", "/sales".to_owned(), None, [200, 403, 200, 403]),
        ("GET", format!("/sales/{sale}"), None, [200, 403, 200, 403]),
        ("GET", format!("/sales/{sale}/bookings"), None, [200, 200, 200, 403]),
        ("GET", format!("/bookings/{booking}"), None, [200, 200, 200, 403]),
        ("GET", format!("/sales/{sale}/visitors/nobody"), None, [404, 403, 404, 403]),
        ("GET", "/audit".to_owned(), None, [200, 403, 200, 403]),
        ("GET", "/nothing".to_owned(), None, [404, 404, 404, 404]),
        ("PATCH", format!("/sales/{sale}"), Some(json!({ "rate": 99 })), [200, 403, 403, 403]),
        ("POST", "/sales".to_owned(), Some(new()), [201, 403, 403, 403]),
        ("POST", format!("/bookings/{booking}/confirm"), None, [200, 200, 403, 403]),
        ("DELETE", format!("/bookings/{booking}"), None, [200, 200, 403, 403]),
        ("DELETE", format!("/sales/{sale}/visitors/nobody"), None, [200, 403, 403, 403]),
        ("DELETE", "/visitors/nobody-at-all".to_owned(), None, [200, 403, 403, 403]),
        ("DELETE", format!("/sales/{sale}-2?confirm={sale}-2"), None, [409, 403, 403, 403]),
    ];
    for (method, path, body, expected) in calls {
        // The operator last: what the others are refused, he has not done yet.
        for (token, expected) in
            [TILL, LOOKER, GATE, ADMIN_TOKEN].into_iter().zip([1, 2, 3, 0].map(|i| expected[i]))
        {
            let mut tries = 0..100;
            let (status, said) = loop {
                let answer = server.admin_as(token, method, &path, body.clone()).await;
                // Who is forgotten is looked for in the sales of all tests, and PostgreSQL may end that for one of them.
                if answer.0 != 503 || tries.next().is_none() {
                    break answer;
                }
            };
            assert_eq!(status, expected, "{method} {path} by {token}: {said}");
            if status == 403 {
                assert_eq!(said["code"], "forbidden", "{said}");
                assert!(said["message"].as_str().unwrap().contains("may not do this"), "{said}");
            }
        }
        let (status, said) = server.admin_as("a-wrong-token", method, &path, body).await;
        assert!(matches!((status, said["code"].as_str()), (401, Some("unauthorized"))), "{status} {said}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_some_sales_is_worth_nothing_in_others() {
    let first = Server::start().await;
    let (mine, other) = (first.sale(json!({ "hold_ttl_s": 600 })).await, first.sale(json!({})).await);
    let tokens =
        format!(",mine:operator@{mine}@{mine}-2:the-token-of-one-sale,box:shop@{mine}:the-token-of-one-box");
    let server = server(&tokens).await;
    let (operator, shop) = ("the-token-of-one-sale", "the-token-of-one-box");
    for sale in [&mine, &other] {
        server.open(sale).await;
    }
    let (own, foreign) = (held(&server, &mine).await, held(&server, &other).await);
    let ask = async |token, method, path: &str, body| server.admin_as(token, method, path, body).await.0;
    for (method, path) in [
        ("GET", format!("/sales/{other}")),
        ("GET", format!("/sales/{other}/bookings")),
        ("PATCH", format!("/sales/{other}")),
        ("DELETE", format!("/sales/{other}/visitors/kim?ban=true")),
        ("DELETE", format!("/sales/{other}?confirm={other}")),
        ("GET", "/sales/nowhere".to_owned()),
        ("DELETE", "/visitors/kim".to_owned()),
        ("DELETE", format!("/bookings/{foreign}")),
        ("POST", format!("/bookings/{foreign}/confirm")),
    ] {
        assert_eq!(ask(operator, method, &path, Some(json!({}))).await, 403, "{method} {path}");
    }
    for path in [format!("/bookings/{foreign}"), format!("/sales/{other}/bookings")] {
        assert_eq!(ask(shop, "GET", &path, None).await, 403, "{path}");
    }
    assert_eq!(ask(shop, "POST", &format!("/bookings/{own}/confirm"), None).await, 200);
    assert_eq!(ask(operator, "PATCH", &format!("/sales/{mine}"), Some(json!({ "rate": 7 }))).await, 200);
    let (_, list) = server.admin_as(operator, "GET", "/sales", None).await;
    let ids: Vec<_> = list["sales"].as_array().unwrap().iter().map(|sale| sale["id"].clone()).collect();
    assert_eq!(ids, [json!(mine)]);
    let new = |id: String| {
        Some(
            json!({ "id": id, "name": "T", "plan": plan(1, 1), "rate": 1, "max_active": 1, "grant_ttl_s": 30,
            "claim_s": 30, "max_seats": 1, "anonymous": true }),
        )
    };
    assert_eq!(ask(operator, "POST", "/sales", new(format!("{mine}-3"))).await, 403);
    assert_eq!(ask(operator, "POST", "/sales", new(format!("{mine}-2"))).await, 201);
    // What was done in others is not told, either.
    assert_eq!(audit(&server, operator, "", &other).await, Vec::<Value>::new());
    let done = audit(&server, operator, "", &mine).await;
    let who: Vec<_> =
        done.iter().map(|one| (one["who"].as_str().unwrap(), one["action"].as_str().unwrap())).collect();
    let expected = [
        ("admin", "sale created"),
        ("admin", "sale changed"),
        ("box", "booking confirmed"),
        ("mine", "sale changed"),
    ];
    assert_eq!(who, expected);
    for server in [first, server] {
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_kept_with_who_when_from_what_and_to_what() {
    let server = server("").await;
    let began = jiff::Timestamp::now();
    let sale = server.sale(json!({ "hold_ttl_s": 600, "blocked": ["A-1"] })).await;
    server.open(&sale).await;
    let booking = held(&server, &sale).await;
    server.patch(&sale, json!({ "rate": 5, "notice": "soon", "blocked": ["A-2", "A-3"] })).await;
    // What changes nothing is no change, and what is refused neither.
    server.patch(&sale, json!({ "rate": 5 })).await;
    assert_eq!(server.admin("PATCH", &format!("/sales/{sale}"), Some(json!({ "rate": -5 }))).await.0, 422);
    for _ in 0..2 {
        assert_eq!(server.admin_as(TILL, "POST", &format!("/bookings/{booking}/confirm"), None).await.0, 200);
    }
    for _ in 0..2 {
        assert_eq!(server.admin_as(TILL, "DELETE", &format!("/bookings/{booking}"), None).await.0, 200);
    }
    assert_eq!(server.admin_as(TILL, "POST", &format!("/bookings/{booking}/confirm"), None).await.0, 409);
    server.admin("DELETE", &format!("/sales/{sale}/visitors/kim?ban=true"), None).await;
    server.patch(&sale, json!({ "phase": "closed" })).await;

    let all = audit(&server, LOOKER, &format!("?since={began}"), &sale).await;
    let told: Vec<_> =
        all.iter().map(|one| [&one["who"], &one["action"], &one["from"], &one["to"]]).collect();
    let text = serde_json::to_string(&told).unwrap();
    let expected = json!([
        ["admin", "sale created", null, { "name": "Test", "anonymous": true, "seats": 20, "blocked": 1,
            "opens_at": null, "rate": 100.0, "max_active": 100, "grant_ttl_s": 30, "claim_s": 30, "away_s": all[0]["to"]["away_s"],
            "max_seats": 4, "hold_ttl_s": 600 }],
        ["admin", "sale changed", { "phase": "scheduled" }, { "phase": "open" }],
        ["admin", "sale changed", { "rate": 100.0, "notice": "", "blocked": ["A-1"], "blocked_seats": 1 },
            { "rate": 5.0, "notice": "soon", "blocked": ["A-2", "A-3"], "blocked_seats": 2 }],
        ["till", "booking confirmed", { "status": "held" }, { "status": "confirmed" }],
        ["till", "booking released", { "status": "confirmed" }, { "status": "released" }],
        ["admin", "visitor removed", { "banned": false }, { "banned": true }],
        ["admin", "sale changed", { "phase": "open" }, { "phase": "closed" }],
    ]);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    assert_eq!((&all[3]["booking"], &all[5]["visitor"]), (&json!(booking), &json!("kim")));
    let times: Vec<jiff::Timestamp> =
        all.iter().map(|one| one["at"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times.is_sorted() && times[0] >= began - jiff::SignedDuration::from_secs(5), "{times:?}");
    let later = audit(&server, LOOKER, &format!("?since={}", times[4]), &sale).await;
    assert_eq!(later, all[4..]);
    assert_eq!(server.admin("GET", "/audit?since=yesterday", None).await.0, 422);
    assert_eq!(server.admin("GET", "/audit?until=now", None).await.0, 422);

    // A sale that is deleted leaves what was done to it, and to nobody.
    while server.admin("DELETE", &format!("/sales/{sale}?confirm={sale}"), None).await.0 != 200 {
        sleep(Duration::from_millis(100)).await;
    }
    let all = audit(&server, LOOKER, "", &sale).await;
    let last = all.last().unwrap();
    assert_eq!((&last["action"], &last["from"]["name"]), (&json!("sale deleted"), &json!("Test")));
    assert_eq!(all[5]["visitor"], "", "{all:?}");
    server.stop().await;
}

/// The same transaction, or none: where the audit cannot be written, nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn no_change_without_its_note() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({ "hold_ttl_s": 600 })).await;
    server.open(&sale).await;
    let booking = held(&server, &sale).await;
    let pool = waitroom::store::postgres::connect::postgres_pool(&world.postgres.url(), 1).unwrap();
    let client = pool.get().await.unwrap();
    client
        .batch_execute("ALTER TABLE audit ADD CONSTRAINT full_disk CHECK (id < 0) NOT VALID")
        .await
        .unwrap();
    for (method, path, body) in [
        ("PATCH", format!("/sales/{sale}"), Some(json!({ "rate": 5 }))),
        ("POST", format!("/bookings/{booking}/confirm"), None),
        ("DELETE", format!("/bookings/{booking}"), None),
        ("DELETE", format!("/sales/{sale}/visitors/kim?ban=true"), None),
    ] {
        assert_eq!(server.admin_once(method, &path, body).await.0, 503, "{method} {path}");
    }
    assert_eq!(server.show(&sale).await["rate"], 100.0);
    assert_eq!(server.admin("GET", &format!("/bookings/{booking}"), None).await.1["status"], "held");
    assert!(client.query("SELECT FROM bans", &[]).await.unwrap().is_empty());
    client.batch_execute("ALTER TABLE audit DROP CONSTRAINT full_disk").await.unwrap();
    assert_eq!(server.patch(&sale, json!({ "rate": 5 })).await["rate"], 5.0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_are_slowed_and_the_right_one_is_not() {
    let server = std::sync::Arc::new(Server::start_in(World::shared()).await);
    let guessing = |n: usize| {
        let server = server.clone();
        tokio::spawn(async move {
            let mut statuses = Vec::new();
            for i in 0..4 {
                statuses.push(server.admin_as(&format!("guess-{n}-{i}"), "GET", "/sales", None).await.0);
            }
            statuses
        })
    };
    let began = Instant::now();
    let guessers: Vec<_> = (0..8).map(guessing).collect();
    // From the same address, all the while.
    let mut asked = 0;
    while guessers.iter().any(|guesser| !guesser.is_finished()) {
        let asking = Instant::now();
        assert_eq!(server.admin("GET", "/sales/nowhere", None).await.0, 404);
        assert!(asking.elapsed() < Duration::from_secs(5), "a right token waits");
        asked += 1;
        sleep(Duration::from_millis(20)).await;
    }
    let mut statuses = Vec::new();
    for guesser in guessers {
        statuses.extend(guesser.await.unwrap());
    }
    assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
    let waited = statuses.iter().filter(|status| **status == 401).count();
    // Four wait at once, and from the sixth on each for 2 s.
    assert!(waited < 32 && statuses.contains(&429), "{statuses:?}");
    assert!(began.elapsed() > Duration::from_secs(2), "{waited} in {:?}", began.elapsed());
    assert!(asked > 20, "{asked}");
    let page = server.metrics().await;
    assert!(page.contains("waitroom_admin_denials_total"), "{page}");
    std::sync::Arc::into_inner(server).unwrap().stop().await;
}
