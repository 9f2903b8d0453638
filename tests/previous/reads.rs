//! Everyone of the release before finds what he was told, and the sale goes on.

use crate::{
    fixture,
    nodes::{Nature, Node, PATIENCE},
    record::SALE,
    server::Server,
};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    path::Path,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};
use waitroom::{embedded::Postgres, store::postgres::connect};

const PROGRAM: &str = env!("CARGO_BIN_EXE_waitroom");

struct After {
    server: Server,
    visitors: HashMap<String, Value>,
    postgres: Postgres,
    _redis: Node,
    _folder: tempfile::TempDir,
}

impl After {
    async fn set() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
        let redis = Node::start(Nature::default());
        fixture::replay_redis(&redis);
        fixture::replay_postgres(&postgres.url()).await;
        let server = Server::start(Path::new(PROGRAM), &redis.url(), &postgres.url());
        let name = |visitor: &Value| visitor["name"].as_str().unwrap().to_owned();
        let visitors = fixture::visitors().into_iter().map(|visitor| (name(&visitor), visitor)).collect();
        Self { server, visitors, postgres, _redis: redis, _folder: folder }
    }

    fn call(&self, method: &str, name: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let place = self.visitors[name]["place"].as_str().unwrap();
        self.server.public(method, &format!("/sales/{SALE}/places{path}"), place, body)
    }

    fn stands(&self, name: &str) -> (u16, Value) {
        self.call("GET", name, "/me", None)
    }

    /// How he stood when he was last told.
    fn told(&self, name: &str) -> &Value {
        &self.visitors[name]["standing"]
    }

    /// Waits until the journal has all of the line, the entries that the old program left in the stream too; the proof.
    async fn proved(&self, entries: i64) -> String {
        let client = connect::postgres_single(&self.postgres.url()).await.unwrap();
        let began = Instant::now();
        while client.query_one("SELECT max(n) FROM journal", &[]).await.unwrap().get::<_, i64>(0) < entries {
            assert!(began.elapsed() < PATIENCE, "the journal does not go on");
            sleep(Duration::from_millis(50));
        }
        let mut check = Command::new(PROGRAM);
        check.args(["check", "--sale", SALE]).arg(format!("--postgres-url={}", self.postgres.url()));
        let output = check.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_release_before_left_is_read_and_goes_on() {
    let after = After::set().await;
    // Who waits has his rank, also those whose entries nobody had journaled; who was told that it is over, has none.
    for (rank, name) in ["first", "second", "third"].iter().enumerate() {
        let (status, standing) = after.stands(name);
        assert_eq!(
            (status, &standing["rank"], &standing["state"]),
            (200, &json!(rank), &json!("waiting")),
            "{name}"
        );
        assert_eq!(standing["place"], after.visitors[*name]["place"], "a place is named as it was");
        assert_eq!((&standing["epoch"], &standing["total"]), (&after.told(name)["epoch"], &json!(3)));
    }
    for name in ["left", "fourth"] {
        assert_eq!((after.stands(name).0, &after.visitors[name]["status"]), (404, &json!(404)), "{name}");
    }
    assert_eq!(after.stands("missed").1["lapsed"], "missed");
    for (name, status, seats) in [("paid", "confirmed", 2), ("held", "held", 2)] {
        let booking = &after.stands(name).1["booking"];
        assert_eq!(
            (&booking["status"], booking["seats"].as_array().unwrap().len()),
            (&json!(status), seats),
            "{name}"
        );
    }
    // All of the old entries, and those that it wrote and did not journal.
    let said = after.proved(29).await;
    assert!(said.contains("10"), "{said}");
    // The turn that was given is the same turn, and its token books.
    let granted = &after.stands("granted").1["granted"];
    assert_eq!(granted["token"], after.told("granted")["granted"]["token"], "{granted}");
    let redeem = json!({ "request": "r", "token": granted["token"], "best": { "count": 1 } });
    let (status, booking) = after.call("POST", "granted", "/me/redeem", Some(redeem));
    assert_eq!((status, &booking["status"]), (200, &json!("held")), "{booking}");
    // And the line goes on: who missed a turn comes first, then the first.
    let (status, _) = after.call("POST", "missed", "", Some(json!({})));
    assert_eq!(status, 200);
    let change = json!({ "max_active": 4 });
    let (status, said) = after.server.admin("PATCH", &format!("/sales/{SALE}"), Some(change));
    assert_eq!((status, &said["max_active"]), (200, &json!(4)), "{said}");
    let began = Instant::now();
    while after.stands("first").1["granted"].is_null() || after.stands("missed").1["granted"].is_null() {
        assert!(began.elapsed() < PATIENCE, "nobody is admitted any more");
        sleep(Duration::from_millis(50));
    }
    assert_eq!(after.stands("second").1["rank"], 0);
    after.proved(34).await;
}
