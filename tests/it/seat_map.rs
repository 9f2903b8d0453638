//! The live seat map over real sockets: the largest hall that a plan can have, and who hears of what when.

use crate::world::{ADMIN_TOKEN, Server, Visitor, World};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// For whatever takes a while on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most seats that a plan of 32 MiB has room for, about: names as short as can be, and nothing but names.
const SEATS: usize = 928_000;

/// A hall of rows of 100; seats are called by their number to the base of 36.
fn largest_plan() -> String {
    let name = |seat: usize| -> String {
        let digit = |place: u32| char::from_digit((seat / 36_usize.pow(place) % 36) as u32, 36).unwrap();
        (0..4).rev().map(digit).collect()
    };
    let seat = |seat| format!(r#"{{"seat_guid":"{}","category":"A"}}"#, name(seat));
    let row = |row| {
        format!(r#"{{"seats":[{}]}}"#, (row * 100..row * 100 + 100).map(seat).collect::<Vec<_>>().join(","))
    };
    let rows: Vec<_> = (0..SEATS / 100).map(row).collect();
    format!(r#"{{"categories":[{{"name":"A"}}],"zones":[{{"rows":[{}]}}]}}"#, rows.join(","))
}

/// Creates a sale from a plan that is too big to be taken apart and put together for it.
async fn create(server: &Server, id: &str, plan: String) -> u16 {
    let settings = r#""rate":100,"max_active":100,"grant_ttl_s":120,"max_seats":4,"anonymous":true"#;
    let body = format!(r#"{{"id":"{id}","name":"Large",{settings},"plan":{plan}}}"#);
    let url = format!("http://{}/v1/admin/sales", server.admin);
    let post = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let call = agent.post(&url).header("Authorization", format!("Bearer {ADMIN_TOKEN}"));
        call.header("Content-Type", "application/json").send(body).unwrap().status().as_u16()
    };
    tokio::task::spawn_blocking(post).await.unwrap()
}

pub async fn granted(server: &Server, sale: &str) -> (Visitor, String) {
    let (mut visitor, _) = server.join(sale).await;
    let token = visitor.hear("granted").await["token"].as_str().unwrap().to_owned();
    (visitor, token)
}

/// Asks for the map: its version, and one bit a seat.
async fn seat_map(visitor: &mut Visitor) -> (u64, Vec<u8>) {
    visitor.say(json!({ "type": "seats" })).await;
    let map = visitor.hear("seat_map").await;
    let taken = BASE64_STANDARD.decode(map["taken"].as_str().unwrap()).unwrap();
    (map["version"].as_u64().unwrap(), taken)
}

fn redeem(token: &str, best: Value) -> Value {
    json!({ "type": "redeem", "request": "r1", "token": token, "best": best })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_hall_shows_its_map() {
    // Its own stores: every instance opens every sale that it finds.
    let world = World::new();
    let server = Server::start_in(&world).await;
    let plan = largest_plan();
    assert!((31 << 20..=32 << 20).contains(&plan.len()), "{}", plan.len());
    // On a slow day it is created, and Redis hears of it later.
    let status = create(&server, "large", plan).await;
    assert!(matches!(status, 201 | 503), "{status}");
    let open = async {
        let phase = json!({ "phase": "open" });
        while server.admin_once("PATCH", "/sales/large", Some(phase.clone())).await.0 != 200 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, open).await.expect("it never opens");
    let (mut one, token) = granted(&server, "large").await;
    let (mut other, _) = granted(&server, "large").await;
    let (version, map) = seat_map(&mut other).await;
    assert_eq!(map, vec![0; SEATS / 8]);

    // Seats 48 to 50 to the base of 36: the middle of the first row.
    one.say(redeem(&token, json!({ "count": 3, "together": true }))).await;
    let booking = one.hear("booking").await;
    assert_eq!((&booking["seats"], &booking["together"]), (&json!(["001c", "001d", "001e"]), &json!(true)));
    let change = other.hear("seats_changed").await;
    assert_eq!((&change["version"], &change["taken"]), (&json!(version + 1), &json!([48, 49, 50])));
    let (mut third, _) = granted(&server, "large").await;
    let (now, map) = seat_map(&mut third).await;
    assert_eq!((now, map[6], map.len()), (version + 1, 0b111, SEATS / 8));
    server.stop().await;
}
