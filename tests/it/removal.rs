//! A visitor is sent away, for now or for good; a person is forgotten.

use crate::world::{ADMIN_TOKEN, IDENTITY_KEY, Server, Visitor, World};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use wire::domain::identity;

fn identity_of(name: &str, sale: &str) -> String {
    identity::sign(IDENTITY_KEY.as_bytes(), name, sale, jiff::Timestamp::now().as_second() + 3600)
}

/// Someone whom the shop knows.
async fn comes(server: &Server, sale: &str, name: &str) -> Visitor {
    let mut visitor = server.connect(sale).await;
    visitor.say(json!({ "type": "join", "identity": identity_of(name, sale) })).await;
    visitor
}

async fn stands(server: &Server, sale: &str, name: &str) -> (Visitor, Value) {
    let mut visitor = comes(server, sale, name).await;
    let joined = visitor.hear("joined").await;
    (visitor, joined)
}

async fn remove(server: &Server, sale: &str, name: &str, ban: &str) -> Value {
    let (status, said) = server.admin("DELETE", &format!("/sales/{sale}/visitors/{name}{ban}"), None).await;
    assert_eq!(status, 200, "{said}");
    said
}

/// What he hears before the close, and the close.
async fn sent_away(visitor: &mut Visitor) {
    let error = visitor.hear_past(&["joined", "granted", "reconnect"], "error").await;
    assert_eq!((&error["code"], &error["retry"]), (&json!("removed"), &json!(false)), "{error}");
    assert_eq!(visitor.closed().await, 4403);
}

async fn over_http(server: &Server, sale: &str, name: &str) -> (u16, Value) {
    let bearer = format!("Bearer {}", identity_of(name, sale));
    server.public("POST", &format!("/v1/sales/{sale}/places"), &[("Authorization", &bearer)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_visitor_is_gone_on_all_instances_and_may_come_again() {
    let (a, b) = (Server::start().await, Server::start().await);
    let sale = a.sale(json!({ "max_active": 1 })).await;
    let (mut kim, _) = stands(&a, &sale, "kim").await;
    let (mut lee, joined) = stands(&b, &sale, "lee").await;
    let (mut park, _) = stands(&b, &sale, "park").await;
    a.open(&sale).await;
    kim.hear("granted").await;
    // One who waits, asked of the instance that has not his socket; then one whose turn it is.
    let said = remove(&a, &sale, "lee", "").await;
    assert_eq!(said, json!({ "visitor": "lee", "sale": sale, "ended": true, "banned": false }));
    sent_away(&mut lee).await;
    assert_eq!(remove(&b, &sale, "lee", "").await["ended"], false, "it is over already");
    assert_eq!(remove(&b, &sale, "kim", "").await["ended"], true);
    assert_eq!(a.show(&sale).await["lapsed_total"], 1, "his turn ended with it");
    sent_away(&mut kim).await;
    park.hear("granted").await;
    // Who asks without a socket hears it too, until he joins again.
    let bearer = format!("Bearer {}", joined["place"].as_str().unwrap());
    let me = format!("/v1/sales/{sale}/places/me");
    let (status, said) = a.public("GET", &me, &[("Authorization", &bearer)]).await;
    assert_eq!((status, said["code"].as_str()), (403, Some("removed")), "{said}");
    // His old place is worth nothing: he comes in at the end.
    let (_choi, _) = stands(&a, &sale, "choi").await;
    let mut lee = a.connect(&sale).await;
    lee.say(json!({ "type": "join", "place": joined["place"] })).await;
    assert_eq!(lee.hear("joined").await["rank"], 1);
    let story = loop {
        let (status, story) = a.admin("GET", &format!("/sales/{sale}/visitors/kim"), None).await;
        let is_told = story["events"].to_string().contains("removed");
        if status == 200 && is_told {
            break story;
        }
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(story["places"][0]["stage"], "ended", "{story}");
    let admin = format!("--admin-listen={}", a.admin);
    let (status, said) = run(&["sale", "remove", &sale, "choi", &admin, "--admin-token", ADMIN_TOKEN]).await;
    assert_eq!((status, said.trim()), (Some(0), "his place is ended; he may come again"));
    let nobody = a.admin("DELETE", "/sales/nowhere/visitors/kim", None).await;
    assert_eq!(nobody.0, 404, "{nobody:?}");
    assert_eq!(a.admin("DELETE", &format!("/sales/{sale}/visitors/kim?ban=perhaps"), None).await.0, 422);
    a.patch(&sale, json!({ "phase": "closed" })).await;
    prove(World::shared(), &sale, "\"removed\": 3").await;
    for server in [a, b] {
        server.stop().await;
    }
}

/// Runs the program; its status and what it said.
async fn run(args: &[&str]) -> (Option<i32>, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let call = move || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_waitroom"));
        command.args(&args).env_clear().output().unwrap()
    };
    let output = tokio::task::spawn_blocking(call).await.unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

async fn prove(world: &World, sale: &str, says: &str) {
    let postgres = format!("--postgres-url={}", world.postgres.url());
    let (status, said) = run(&["check", "--sale", sale, &postgres, "--format", "json"]).await;
    assert!(status == Some(0) && said.contains(says), "{status:?}: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_banned_stays_out_also_when_redis_has_lost_everything() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (mut kim, joined) = stands(&server, &sale, "kim").await;
    let (_lee, _) = stands(&server, &sale, "lee").await;
    assert_eq!(remove(&server, &sale, "kim", "?ban=true").await["banned"], true);
    sent_away(&mut kim).await;
    let refused = async || {
        sent_away(&mut comes(&server, &sale, "kim").await).await;
        let mut token = server.connect(&sale).await;
        token.say(json!({ "type": "join", "place": joined["place"] })).await;
        sent_away(&mut token).await;
        let (status, said) = over_http(&server, &sale, "kim").await;
        assert_eq!((status, said["code"].as_str()), (403, Some("removed")), "{said}");
    };
    refused().await;
    // In advance, too; and in no other sale.
    remove(&server, &sale, "choi", "?ban=true").await;
    sent_away(&mut comes(&server, &sale, "choi").await).await;
    let other = server.sale(json!({})).await;
    let (_kim, _) = stands(&server, &other, "kim").await;

    let mut redis = world.connect_redis().await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await.unwrap();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "the line never comes back");
        let (status, said) = over_http(&server, &sale, "park").await;
        if status < 300 {
            break;
        }
        assert!([503, 410].contains(&status), "{status} {said}");
        sleep(Duration::from_millis(200)).await;
    }
    refused().await;
    assert_eq!(remove(&server, &sale, "kim", "").await["banned"], false);
    let (_kim, joined) = stands(&server, &sale, "kim").await;
    assert_eq!(joined["total"], 3, "lee, park and he: {joined}");
    server.stop().await;
}

/// What a crash between PostgreSQL and Redis left out comes into force by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_ban_that_redis_was_not_told_of_is_found() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let pool = waitroom::store::postgres::connect::postgres_pool(&World::shared().postgres.url(), 1).unwrap();
    let client = pool.get().await.unwrap();
    let ban = format!(
        "BEGIN; INSERT INTO bans (sale_id, visitor_id) VALUES ('{sale}', 'kim'); \
         UPDATE sales SET version = version + 1 WHERE id = '{sale}'; COMMIT"
    );
    client.batch_execute(&ban).await.unwrap();
    let began = Instant::now();
    while over_http(&server, &sale, "kim").await.0 != 403 {
        assert!(began.elapsed() < Duration::from_secs(60), "never in force");
        sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}

/// Everything that the stores have, as text.
async fn everything(world: &World) -> String {
    let pool = waitroom::store::postgres::connect::postgres_pool(&world.postgres.url(), 1).unwrap();
    let client = pool.get().await.unwrap();
    let mut text = String::new();
    for table in
        ["sales", "bookings", "booked_seats", "bans", "audit", "journal", "journal_places", "journal_batches"]
    {
        for row in client.query(&format!("SELECT {table}::text FROM {table}"), &[]).await.unwrap() {
            text += &format!("{table}: {}\n", row.get::<_, String>(0));
        }
    }
    let mut redis = world.connect_redis().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    // What has happened just now is in the stream until it is trimmed.
    for key in keys.iter().filter(|key| !key.ends_with(":events")) {
        let kind: String = redis::cmd("TYPE").arg(key).query_async(&mut redis).await.unwrap();
        let mut read = match kind.as_str() {
            "zset" => redis::cmd("ZRANGE"),
            "hash" => redis::cmd("HGETALL"),
            "set" => redis::cmd("SMEMBERS"),
            _ => continue,
        };
        read.arg(key);
        if kind == "zset" {
            read.arg(0).arg(-1);
        }
        let values: Vec<String> = read.query_async(&mut redis).await.unwrap();
        text += &format!("{key}: {}\n", values.join(" "));
    }
    text
}

/// The proof of a place, once the journal has it.
async fn receipt(server: &Server, path: &str, bearer: &str) -> Value {
    loop {
        let (status, said) = server.public("GET", path, &[("Authorization", bearer)]).await;
        if status == 200 {
            return said;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// A Redis that loses everything brings nobody back whose place had ended.
async fn lost_and_found(world: &World, server: &Server, sale: &str, place: &Value) {
    let mut redis = world.connect_redis().await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await.unwrap();
    let began = Instant::now();
    let joined = loop {
        assert!(began.elapsed() < Duration::from_secs(60), "the line never comes back");
        let mut back = server.connect(sale).await;
        back.say(json!({ "type": "join", "place": place })).await;
        let said = back.next().await;
        if said["type"] == "joined" {
            break said;
        }
        sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(joined["state"], "waiting", "{joined}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_forgotten_and_what_was_proved_stays_proved() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let (sale, old) = (server.sale(json!({ "max_active": 2 })).await, server.sale(json!({})).await);
    let name = "kim-the-forgotten";
    // He waits in a sale that is closed, has booked in another, and stands in its line again.
    let (_waits, _) = stands(&server, &old, name).await;
    server.patch(&old, json!({ "phase": "closed" })).await;
    let (mut kim, first) = stands(&server, &sale, name).await;
    let (mut lee, _) = stands(&server, &sale, "lee").await;
    server.open(&sale).await;
    let token = kim.hear("granted").await["token"].clone();
    kim.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": ["A-1"] })).await;
    let booking = kim.hear("booking").await["booking"].as_str().unwrap().to_owned();
    lee.hear("granted").await;
    server.patch(&sale, json!({ "phase": "paused" })).await;
    kim.say(json!({ "type": "join", "again": true })).await;
    let again = kim.hear_past(&["booking"], "joined").await;
    let receipt_path = format!("/v1/sales/{sale}/places/me/receipt");
    let bearer = |place: &Value| format!("Bearer {}", place.as_str().unwrap());
    let mine = receipt(&server, &receipt_path, &bearer(&first["place"])).await;
    remove(&server, &old, name, "").await;
    // Until the closed sale's room has ended, its line is told by the room.
    let (status, said) = server.admin("DELETE", &format!("/visitors/{name}"), None).await;
    assert_eq!((status, &said), (200, &json!({ "places": 3, "bookings": 1 })), "{said}");
    sent_away(&mut kim).await;
    let text = everything(&world).await;
    assert!(!text.contains(name), "{}", text.lines().filter(|line| line.contains(name)).collect::<String>());
    assert!(text.contains("\"lee\"") || text.contains("lee"), "the others are still there");

    // His seat is sold, to nobody; the shop can still give it back.
    let (_, shown) = server.admin("GET", &format!("/bookings/{booking}"), None).await;
    assert_eq!(
        (&shown["visitor"], &shown["seats"], &shown["status"]),
        (&json!(""), &json!(["A-1"]), &json!("confirmed"))
    );
    let (status, _) = server.admin("GET", &format!("/sales/{sale}/visitors/{name}"), None).await;
    assert_eq!(status, 404);
    // His tokens lead nowhere, and what he kept himself still proves.
    let (status, said) =
        server.public("GET", &receipt_path, &[("Authorization", &bearer(&first["place"]))]).await;
    assert_eq!((status, said["code"].as_str()), (410, Some("forgotten")), "{said}");
    let mut stranger = server.connect(&sale).await;
    stranger.say(json!({ "type": "join", "place": again["place"] })).await;
    let joined = stranger.hear("joined").await;
    assert_eq!((&joined["rank"], &joined["total"]), (&json!(0), &json!(1)), "a new place: {joined}");
    stranger.say(json!({ "type": "leave" })).await;
    stranger.hear("lapsed").await;
    // Once more does no harm.
    let (status, _) = server.admin("DELETE", &format!("/visitors/{name}"), None).await;
    assert_eq!(status, 200);
    assert!(!everything(&world).await.contains(name));
    an_earlier_place_stays_ended(&server, &sale, name, &first["place"]).await;
    lost_and_found(&world, &server, &sale, &first["place"]).await;
    server.patch(&sale, json!({ "phase": "closed" })).await;
    prove(&world, &sale, "\"bookings\": 1").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt.json");
    std::fs::write(&file, mine.to_string()).unwrap();
    let postgres = format!("--postgres-url={}", world.postgres.url());
    let receipt = file.to_str().unwrap();
    let (status, said) = run(&["check", "--receipt", receipt, "--sale", &sale, &postgres]).await;
    assert_eq!(status, Some(0), "{said}");
    server.stop().await;
}

/// Nor does the token of an earlier place, which is not the last that he had, bring that one back.
async fn an_earlier_place_stays_ended(server: &Server, sale: &str, name: &str, place: &Value) {
    let (mut park, _) = stands(server, sale, "park").await;
    let mut again = server.connect(sale).await;
    again.say(json!({ "type": "join", "place": place })).await;
    assert_eq!(again.hear("joined").await["rank"], 1, "behind who came meanwhile");
    for visitor in [&mut again, &mut park] {
        visitor.say(json!({ "type": "leave" })).await;
        visitor.hear_past(&["rank"], "lapsed").await;
    }
    let (status, _) = server.admin("DELETE", &format!("/visitors/{name}"), None).await;
    assert_eq!(status, 200);
}
