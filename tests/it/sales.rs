//! A sale's beginning and end, as its operator sees them.

use crate::world::{ADMIN_TOKEN, Server, World, plan};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use waitroom::store::redis::redis_client;
use wire::domain::ids::SaleId;

const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until the answer is what is wanted.
async fn until(server: &Server, path: &str, wanted: impl Fn(u16, &Value) -> bool) -> Value {
    let wait = async {
        loop {
            let (status, answer) = server.admin("GET", path, None).await;
            if wanted(status, &answer) {
                return answer;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{path} never came right"))
}

fn keys(world: &World, sale: &str) -> Vec<String> {
    let mut redis = redis_client(&world.redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("KEYS").arg(format!("waitroom:{{{sale}}}:*")).query(&mut redis).unwrap()
}

async fn booked(server: &Server, sale: &str, seat: &str) -> (Value, String) {
    let (mut visitor, joined) = server.join(sale).await;
    let token = visitor.hear("granted").await["token"].clone();
    visitor.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": [seat] })).await;
    let booking = visitor.hear("booking").await["booking"].as_str().unwrap().to_owned();
    (joined["place"].clone(), booking)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_sale_is_answered_without_a_room_and_can_be_forgotten() {
    let world = World::shared();
    let (server, other) = (Server::start().await, Server::start().await);
    let sale = server.sale(json!({ "plan": plan(1, 4) })).await;
    let path = format!("/sales/{sale}");
    server.open(&sale).await;
    let (place, booking) = booked(&server, &sale, "A-1").await;
    let (_, waiting) = server.join(&sale).await;
    let refused = server.admin("DELETE", &format!("{path}?confirm={sale}"), None).await;
    assert_eq!((refused.0, &refused.1["code"]), (409, &json!("not_closed")));
    server.patch(&sale, json!({ "phase": "closed" })).await;
    // The rooms end, on every instance.
    for instance in [&server, &other] {
        let shown = until(instance, &path, |_, shown| shown["admitted_total"].is_null()).await;
        assert_eq!((&shown["phase"], &shown["booked"]), (&json!("closed"), &json!(1)));
        let (status, summary) = instance.public("GET", &format!("/v1/sales/{sale}"), &[]).await;
        assert_eq!((status, &summary["phase"], &summary["seats_left"]), (200, &json!("closed"), &json!(3)));
        let (status, _) = instance.public("POST", &format!("/v1/sales/{sale}/places"), &[]).await;
        assert_eq!(status, 410);
        let bearer = format!("Bearer {}", place.as_str().unwrap());
        let me = format!("/v1/sales/{sale}/places/me");
        let (status, mine) = instance.public("GET", &me, &[("Authorization", &bearer)]).await;
        assert_eq!((status, &mine["booking"]["booking"]), (200, &json!(booking)));
        let bearer = format!("Bearer {}", waiting["place"].as_str().unwrap());
        assert_eq!(instance.public("GET", &me, &[("Authorization", &bearer)]).await.0, 404);
    }
    assert!(!server.metrics().await.contains(&format!("sale=\"{sale}\"")), "its series end");
    let (status, error) = server.admin("DELETE", &path, None).await;
    assert!(status == 422 && error["message"].as_str().unwrap().starts_with("confirm: "), "{error}");
    let (status, answer) = server.admin("DELETE", &format!("{path}?confirm={sale}"), None).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(keys(world, &sale), Vec::<String>::new());
    // As if Redis had been away just then, and heard of nothing.
    let mut redis = redis_client(&world.redis.url()).unwrap().get_connection().unwrap();
    let key = |name: &str| format!("waitroom:{{{sale}}}:{name}");
    redis::cmd("HSET")
        .arg(key("sale"))
        .arg(&["epoch", "1", "n", "7", "phase", "open"])
        .exec(&mut redis)
        .unwrap();
    redis::cmd("ZADD").arg(key("line")).arg(3).arg("ghost").exec(&mut redis).unwrap();
    until(&other, &path, |status, _| status == 404).await;
    // A sale of the same id goes on from its epoch: what the old one gave out is worth nothing.
    let body = json!({
        "id": sale, "name": "Again", "plan": plan(1, 4), "rate": 100, "max_active": 100, "grant_ttl_s": 30,
        "max_seats": 4, "anonymous": true,
    });
    assert_eq!(server.admin("POST", "/sales", Some(body)).await.0, 201);
    let (_, first) = server.join(&sale).await;
    assert!(first["epoch"].as_u64() >= Some(2), "{first}");
    let mut old = server.connect(&sale).await;
    old.say(json!({ "type": "join", "place": waiting["place"] })).await;
    let joined = old.hear("joined").await;
    assert_eq!(
        (&joined["rank"], &joined["total"]),
        (&json!(1), &json!(2)),
        "a new visitor, behind who came before"
    );
    assert_eq!(server.admin("GET", &format!("/bookings/{booking}"), None).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_back_is_not_booked_again_by_late_money() {
    let server = Server::start().await;
    let sale = server.sale(json!({ "hold_ttl_s": 300 })).await;
    server.open(&sale).await;
    let (_, booking) = booked(&server, &sale, "A-1").await;
    let path = format!("/bookings/{booking}");
    let (status, shown) = server.admin("GET", &path, None).await;
    assert_eq!((status, &shown["status"], &shown["seats"]), (200, &json!("held"), &json!(["A-1"])));
    for _ in 0..2 {
        assert_eq!(server.admin("DELETE", &path, None).await.0, 200);
    }
    let (status, error) = server.admin("POST", &format!("{path}/confirm"), None).await;
    assert_eq!((status, &error["code"]), (409, &json!("released")));
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_are_found_by_visitor_time_and_status() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let (_, first) = booked(&server, &sale, "A-1").await;
    let (_, second) = booked(&server, &sale, "A-2").await;
    let row = |booking: &str| format!("/bookings/{booking}");
    let (first_row, second_row) =
        (server.admin("GET", &row(&first), None).await.1, server.admin("GET", &row(&second), None).await.1);
    assert_eq!(server.admin("DELETE", &row(&second), None).await.0, 200);
    let found = async |query: String| {
        let (status, text) = server.admin("GET", &format!("/sales/{sale}/bookings?{query}"), None).await;
        assert_eq!(status, 200, "{query}: {text}");
        // One line is JSON already.
        let text =
            if text.is_object() { text.to_string() } else { text.as_str().unwrap_or_default().to_owned() };
        text.lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["booking"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(found(String::new()).await, [json!(first), json!(second)]);
    assert_eq!(found(format!("visitor={}", first_row["visitor"].as_str().unwrap())).await, [json!(first)]);
    assert_eq!(found("status=released".into()).await, [json!(second)]);
    assert_eq!(found(format!("since={}", second_row["created_at"].as_str().unwrap())).await, [json!(second)]);
    for (query, field) in
        [("since=soon", "since"), ("status=void", "status"), ("visitor=", "visitor"), ("x=1", "x")]
    {
        let (status, error) = server.admin("GET", &format!("/sales/{sale}/bookings?{query}"), None).await;
        assert!(status == 422 && error["message"].as_str().unwrap().contains(field), "{query}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_cannot_be_what_was_meant_is_refused_or_warned_of() {
    let server = Server::start().await;
    let sale = server.sale(json!({ "grant_ttl_s": 5, "claim_s": 1 })).await;
    let path = format!("/sales/{sale}");
    let past = (Timestamp::now() - SignedDuration::from_secs(60)).to_string();
    let (status, error) = server.admin("PATCH", &path, Some(json!({ "opens_at": past }))).await;
    assert!(status == 422 && error["message"].as_str().unwrap().starts_with("opens_at: "), "{error}");
    let soon = (Timestamp::now() + SignedDuration::from_secs(600)).to_string();
    let shown = server.patch(&sale, json!({ "phase": "paused", "opens_at": soon, "name": "Other" })).await;
    assert_eq!(shown["name"], "Other");
    let fields: Vec<_> = shown["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let begins = ["grant_ttl_s: ", "claim_s: ", "opens_at: "];
    assert!(fields.len() == 3 && fields.iter().zip(begins).all(|(w, b)| w.starts_with(b)), "{fields:?}");
    let senseless = server.sale(json!({
        "plan": plan(1, 2), "blocked": ["A-1", "A-2"], "rate": 1e-9, "away_s": 0, "hold_ttl_s": 1, "max_seats": 3,
    }));
    let senseless = server.show(&senseless.await).await;
    for field in ["blocked: ", "rate: ", "away_s: ", "hold_ttl_s: ", "max_seats: "] {
        let warnings = senseless["warnings"].as_array().unwrap();
        assert!(warnings.iter().any(|warning| warning.as_str().unwrap().starts_with(field)), "{senseless}");
    }
    for name in ["", "  ", "\u{3000}\u{200b}"] {
        let (status, error) = server.admin("PATCH", &path, Some(json!({ "name": name }))).await;
        assert!(status == 422 && error["message"].as_str().unwrap().starts_with("name: "), "{error}");
    }
    let summary = server.public("GET", &format!("/v1/sales/{sale}"), &[]).await.1;
    assert_eq!(summary["name"], "Other");
    let kind = |shown: &Value| shown["anonymous"].clone();
    assert_eq!(kind(&server.patch(&sale, json!({ "anonymous": false })).await), json!(false));
    let mut visitor = server.connect(&sale).await;
    visitor.say(json!({ "type": "join" })).await;
    assert_eq!(visitor.closed().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_cannot_be_drawn_is_refused_with_the_path() {
    let server = Server::start().await;
    for (key, value, path) in [
        ("size", json!({ "width": 1e300, "height": 1 }), "plan: size: "),
        ("stage", json!("north"), "plan: stage: "),
        ("zones", json!([{ "position": { "x": 0, "y": 1e8 } }]), "plan: zones"),
    ] {
        let mut hall = plan(1, 2);
        if key == "zones" {
            hall["zones"][0]["position"] = value[0]["position"].clone();
        } else {
            hall[key] = value;
        }
        let body = json!({
            "id": "no-hall", "name": "No hall", "plan": hall, "rate": 1, "max_active": 1, "grant_ttl_s": 30,
            "max_seats": 1, "anonymous": true,
        });
        let (status, error) = server.admin("POST", "/sales", Some(body)).await;
        assert!(status == 422 && error["message"].as_str().unwrap().starts_with(path), "{key}: {error}");
    }
}

/// What `load` makes for a scenario: open when it is due, whether that is now or later.
#[tokio::test(flavor = "multi_thread")]
async fn a_scenarios_sale_is_open_when_it_is_due() {
    let server = Server::start().await;
    let admin = load::Admin { url: format!("http://{}", server.admin), token: ADMIN_TOKEN.into() };
    let wanted = load::Scenario::load("steady").unwrap().sale.unwrap();
    for (ahead_s, phase) in [(-60, "open"), (0, "open"), (3600, "scheduled")] {
        let sale = SaleId::parse(&format!("load-{}", uuid::Uuid::new_v4())).unwrap();
        let (admin, wanted, id) = (admin.clone(), wanted.clone(), sale.clone());
        let opens_at = Timestamp::now() + SignedDuration::from_secs(ahead_s);
        let make = move || {
            load::create_sale(&admin, &id, &wanted, true, opens_at)?;
            load::create_sale(&admin, &id, &wanted, true, opens_at)
        };
        tokio::task::spawn_blocking(make).await.unwrap().unwrap();
        assert_eq!(server.show(sale.as_str()).await["phase"], phase, "{ahead_s}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_not_done_is_answered_as_if_it_were() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    for field in ["name", "anonymous", "phase", "notice", "rate", "max_active", "max_seats", "blocked"] {
        let (status, said) =
            server.admin("PATCH", &format!("/sales/{sale}"), Some(json!({ field: null }))).await;
        assert_eq!(status, 422, "{field}: {said}");
    }
    for field in ["opens_at", "hold_ttl_s"] {
        server.patch(&sale, json!({ field: null })).await;
    }
    // A time that PostgreSQL does not know.
    let (status, said) = server.admin("GET", "/audit?since=-009000-01-01T00:00:00Z", None).await;
    assert_eq!(status, 200, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_of_a_deleted_ones_id_is_another_on_every_instance() {
    let (one, two) = (Server::start().await, Server::start().await);
    let sale = one.sale(json!({})).await;
    one.open(&sale).await;
    let (_kim, _) = one.join(&sale).await;
    let (_lee, _) = two.join(&sale).await;
    let seats = async |server: &Server| {
        let (_, plan) = server.public("GET", &format!("/v1/sales/{sale}/plan"), &[]).await;
        plan["seats"].as_array().unwrap().len()
    };
    assert_ne!((seats(&one).await, seats(&two).await), (30, 30));
    for rate in 1..10 {
        one.patch(&sale, json!({ "rate": rate })).await; // The old one's settings have a high version.
    }
    one.patch(&sale, json!({ "phase": "closed" })).await;
    let (status, answer) = one.admin("DELETE", &format!("/sales/{sale}?confirm={sale}"), None).await;
    assert_eq!(status, 200, "{answer}");
    let again = json!({
        "id": sale, "name": "Again", "plan": plan(3, 10), "rate": 100, "max_active": 100, "grant_ttl_s": 30,
        "claim_s": 30, "max_seats": 4, "anonymous": true,
    });
    let (status, answer) = one.admin("POST", "/sales", Some(again)).await;
    assert_eq!(status, 201, "{answer}");
    one.open(&sale).await;
    // For longer than the old one's room would stay, and settings be compared.
    for _ in 0..8 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(one.show(&sale).await["phase"], json!("open"));
    }
    for server in [&one, &two] {
        let (status, answer) = server.public("GET", &format!("/v1/sales/{sale}"), &[]).await;
        assert_eq!(
            (status, &answer["phase"], &answer["seats"]),
            (200, &json!("open"), &json!(30)),
            "{answer}"
        );
        assert_eq!(seats(server).await, 30);
        let (mut visitor, _) = server.join(&sale).await;
        visitor.hear("granted").await;
    }
    one.stop().await;
    two.stop().await;
}
