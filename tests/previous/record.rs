//! Makes data/ anew, by a program of the release before: `COLOURS_OLD=$(tests/previous/build.sh) cargo test --test previous
//! record -- --ignored`.

use crate::{
    fixture,
    nodes::{Nature, Node},
    server::Server,
};
use serde_json::{Value, json};
use std::{path::PathBuf, thread::sleep, time::Duration};
use waitroom::embedded::Postgres;

pub const SALE: &str = "previous";

/// Someone who has a place.
struct Guest<'a> {
    server: &'a Server,
    name: &'static str,
    place: String,
}

impl<'a> Guest<'a> {
    fn comes(server: &'a Server, name: &'static str) -> Self {
        let (status, joined) = server.public("POST", &format!("/sales/{SALE}/places"), "", None);
        assert_eq!(status, 201, "{joined}");
        Self { server, name, place: joined["place"].as_str().unwrap().to_owned() }
    }

    fn call(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, said) =
            self.server.public(method, &format!("/sales/{SALE}/places/me{path}"), &self.place, body);
        assert_eq!(status, 200, "{}: {said}", self.name);
        said
    }

    /// Waits for his turn; the token.
    fn granted(&self) -> String {
        loop {
            if let Some(token) = self.call("GET", "", None)["granted"]["token"].as_str() {
                return token.to_owned();
            }
            sleep(Duration::from_millis(50));
        }
    }

    fn books(&self) -> String {
        let redeem = json!({ "request": "r", "token": self.granted(), "best": { "count": 2 } });
        self.call("POST", "/redeem", Some(redeem))["booking"].as_str().unwrap().to_owned()
    }

    /// What he holds, and how he stands.
    fn told(&self) -> Value {
        let (status, standing) =
            self.server.public("GET", &format!("/sales/{SALE}/places/me"), &self.place, None);
        json!({ "name": self.name, "place": self.place, "status": status, "standing": standing })
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "makes the fixture: README.md"]
async fn record() {
    let old =
        PathBuf::from(std::env::var_os("COLOURS_OLD").expect("COLOURS_OLD is the release before this one"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
    let redis = Node::start(Nature::default());
    let mut server = Server::start(&old, &redis.url(), &postgres.url());
    let told = sale(&server, &postgres);
    fixture::record_redis(&redis);
    server.kill();
    postgres.thaw();
    fixture::write_visitors(&told);
    fixture::record_postgres(&postgres.url()).await;
}

/// A sale in which everything has happened. PostgreSQL stands still at its end, so that not all is journaled.
fn sale(server: &Server, postgres: &Postgres) -> Vec<Value> {
    let change = |body: Value| {
        let (status, said) = server.admin("PATCH", &format!("/sales/{SALE}"), Some(body));
        assert_eq!(status, 200, "{said}");
    };
    let sale = json!({ "id": SALE, "name": "Before", "plan": plan(), "rate": 50, "max_active": 4, "grant_ttl_s": 3600,
                       "claim_s": 3600, "hold_ttl_s": 3600, "max_seats": 2, "anonymous": true, "blocked": ["A-12"] });
    let (status, said) = server.admin("POST", "/sales", Some(sale));
    assert_eq!(status, 201, "{said}");
    let names = ["paid", "held", "gave back", "left"];
    let [paid, held, gave_back, left] = names.map(|name| Guest::comes(server, name));
    left.call("DELETE", "", None);
    change(json!({ "phase": "open" }));
    let [mine, _, theirs] = [&paid, &held, &gave_back].map(Guest::books);
    let booking = |method: &str, path: &str| {
        let (status, said) = server.admin(method, &format!("/bookings/{path}"), None);
        assert_eq!(status, 200, "{said}");
    };
    booking("POST", &format!("{mine}/confirm"));
    booking("DELETE", &theirs);
    // A turn that is used too late.
    change(json!({ "claim_s": 1, "max_active": 2 }));
    let missed = Guest::comes(server, "missed");
    while missed.call("GET", "", None)["lapsed"] != "missed" {
        sleep(Duration::from_millis(100));
    }
    change(json!({ "claim_s": 3600 }));
    let granted = Guest::comes(server, "granted");
    granted.granted();
    let waiting = ["first", "second"].map(|name| Guest::comes(server, name));
    // All of that is journaled; what follows is not.
    sleep(Duration::from_secs(3));
    postgres.freeze();
    let unjournaled = ["third", "fourth"].map(|name| Guest::comes(server, name));
    unjournaled[1].call("DELETE", "", None);
    let all =
        [&paid, &held, &gave_back, &left, &missed, &granted].into_iter().chain(&waiting).chain(&unjournaled);
    // Bookings are PostgreSQL's, who answers nobody now: of those only the place is said.
    let is_asleep = |guest: &Guest| ["paid", "held", "gave back"].contains(&guest.name);
    all.map(
        |guest| {
            if is_asleep(guest) { json!({ "name": guest.name, "place": guest.place }) } else { guest.told() }
        },
    )
    .collect()
}

fn plan() -> Value {
    let seat = |n: u32| json!({ "seat_guid": format!("A-{n}"), "seat_number": n.to_string(), "position": { "x": n, "y": 0 }, "category": "Hall" });
    let row = json!({ "row_number": "A", "position": { "x": 0, "y": 0 }, "seats": (1..=12).map(seat).collect::<Vec<_>>() });
    json!({ "name": "Small", "size": { "width": 13, "height": 1 },
            "categories": [{ "name": "Hall", "color": "#123456" }],
            "zones": [{ "name": "Hall", "position": { "x": 0, "y": 0 }, "rows": [row] }] })
}
