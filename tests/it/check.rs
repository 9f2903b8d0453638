//! `waitroom check` on what a real server did, and on the same with the stores doctored.

use crate::world::{Server, Visitor, World};
use load::history::{Entry, Event, Footer, Header, Token, VERSION};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tokio::task::spawn_blocking;
use uuid::Uuid;
use waitroom::store::{postgres::connect, redis::redis_client};
use wire::{
    domain::ids::SaleId,
    protocol::server::{Joined, ServerMessage},
};

struct Recording {
    start: Instant,
    entries: Vec<Entry>,
}

impl Recording {
    fn put(&mut self, visitor: u32, event: Event) {
        let us = self.start.elapsed().as_micros() as u64;
        self.entries.push(Entry(us, visitor, 1, event));
    }

    /// Joins, and writes down how.
    async fn join(&mut self, server: &Server, sale: &str, number: u32) -> Visitor {
        let mut visitor = server.connect(sale).await;
        self.put(number, Event::Join { again: false });
        visitor.say(json!({ "type": "join" })).await;
        let answer = visitor.hear("joined").await;
        let ServerMessage::Joined(joined) = serde_json::from_value(answer).unwrap() else { panic!() };
        let claim = claim(&joined);
        self.put(
            number,
            Event::Joined {
                visitor: claim["visitor"].as_str().map(Into::into),
                seq: claim["seq"].as_u64(),
                epoch: joined.epoch,
                state: joined.state,
                rank: joined.rank,
                total: joined.total,
                phase: joined.phase,
            },
        );
        visitor
    }

    /// Waits for the turn and books.
    async fn book(&mut self, visitor: &mut Visitor, number: u32) {
        let granted = visitor.hear("granted").await;
        let token = granted["token"].clone();
        let ServerMessage::Granted(told) = serde_json::from_value(granted).unwrap() else { panic!() };
        let (expires_in_ms, claim_in_ms) = (told.expires_in_ms, told.claim_in_ms);
        self.put(number, Event::Granted { expires_in_ms, claim_in_ms, max_seats: told.max_seats });
        let redeem =
            |token| Event::Redeem { request: "r1".into(), intended: 0, token, seats: None, best: Some(1) };
        self.put(number, redeem(Token::Own));
        let best = json!({ "count": 1 });
        visitor.say(json!({ "type": "redeem", "request": "r1", "token": token, "best": best })).await;
        let ServerMessage::Booking(booking) = serde_json::from_value(visitor.hear("booking").await).unwrap()
        else {
            panic!()
        };
        let (request, hold_expires_in_ms) = (booking.request, booking.hold_expires_in_ms);
        let (booking, seats, status) = (booking.booking, booking.seats, booking.status);
        self.put(number, Event::Booking { request, booking, seats, status, hold_expires_in_ms });
    }

    fn write(&self, path: &Path, sale: &str, settings: &Value) {
        let mut settings = settings.clone();
        settings.as_object_mut().unwrap().entry("opens_at").or_insert(Value::Null);
        let header = Header {
            history: VERSION,
            run: "it".into(),
            part: (1, 1),
            scenario: "it".into(),
            sale: sale.into(),
            seats: 20,
            visitors: 3,
            started_at: "2026-11-22T10:00:00Z".parse().unwrap(),
            started_us: 0,
            machine: "m".into(),
            ranks_of_every: 1,
            settings: Some(serde_json::from_value(settings).unwrap()),
        };
        let entries = self.entries.len() as u64;
        let footer = Footer { ended_us: self.start.elapsed().as_micros() as u64, entries, lag_us: 0 };
        let mut lines = vec![serde_json::to_string(&header).unwrap()];
        lines.extend(self.entries.iter().map(|entry| serde_json::to_string(entry).unwrap()));
        lines.push(serde_json::to_string(&footer).unwrap());
        std::fs::write(path, lines.join("\n") + "\n").unwrap();
    }
}

fn claim(joined: &Joined) -> Value {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let token = joined.place.as_deref().unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

/// Its status and what it printed.
async fn check(path: &Path) -> (i32, Value) {
    let (redis, postgres) = (World::shared().redis.url(), World::shared().postgres.url());
    let path = path.to_owned();
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
        command.arg("check").arg(path).args([
            "--redis-url",
            &redis,
            "--postgres-url",
            &postgres,
            "--json",
            "-",
        ]);
        command.env_clear().output().unwrap()
    };
    let output = spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let verdicts = serde_json::from_slice(&output.stdout).unwrap_or(Value::String(said));
    (output.status.code().unwrap(), verdicts)
}

fn violated(report: &Value) -> Vec<&str> {
    let verdicts = report["verdicts"].as_array().unwrap().iter();
    let violated = verdicts.filter(|verdict| verdict["status"] == "violated");
    violated.map(|verdict| verdict["invariant"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_sale_is_proved_and_doctored_stores_are_caught() {
    let server = Server::start().await;
    let sale = server.sale(json!({ "max_active": 2 })).await;
    let settings = server.show(&sale).await;
    let mut recording = Recording { start: Instant::now(), entries: Vec::new() };
    let mut visitors = Vec::new();
    for number in 0..3 {
        visitors.push(recording.join(&server, &sale, number).await);
    }
    server.open(&sale).await;
    for (visitor, number) in visitors.iter_mut().zip(0..2) {
        recording.book(visitor, number).await;
    }
    server.patch(&sale, json!({ "phase": "paused" })).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    recording.write(&path, &sale, &settings);
    tokio::time::sleep(Duration::from_millis(500)).await;

    // The third visitor's story is not over: all that can be judged is proved.
    let (status, report) = check(&path).await;
    assert_eq!(status, 75, "{report}");
    let open: Vec<_> =
        report["verdicts"].as_array().unwrap().iter().filter(|v| v["status"] != "proved").collect();
    assert_eq!(open.len(), 1, "{report}");
    assert_eq!(open[0]["invariant"], "drained");

    let client = connect::postgres_single(&World::shared().postgres.url()).await.unwrap();
    let id: Uuid = client
        .query_one("SELECT id FROM bookings WHERE sale_id = $1 LIMIT 1", &[&sale])
        .await
        .unwrap()
        .get(0);
    // As only a superuser can, who switches the schema's own guard off.
    client.batch_execute("SET session_replication_role = replica").await.unwrap();
    client.execute("DELETE FROM booked_seats WHERE booking_id = $1", &[&id]).await.unwrap();
    let (status, report) = check(&path).await;
    assert_eq!((status, violated(&report)), (99, vec!["seats"]), "{report}");
    client.execute("DELETE FROM bookings WHERE id = $1", &[&id]).await.unwrap();
    let (status, report) = check(&path).await;
    assert_eq!((status, violated(&report)), (99, vec!["bookings"]), "{report}");

    // The line loses the one who waits.
    let id = SaleId::parse(&sale).unwrap();
    let mut redis = redis_client(&World::shared().redis.url()).unwrap().get_connection().unwrap();
    let visitor = recording.entries.iter().find_map(|entry| match &entry.3 {
        Event::Joined { visitor, .. } if entry.1 == 2 => visitor.clone(),
        _ => None,
    });
    // Waiting, or granted meanwhile.
    for (command, key) in [("HDEL", "places"), ("ZREM", "line"), ("ZREM", "grants"), ("ZREM", "claims")] {
        let key = format!("waitroom:{{{id}}}:{key}");
        let _: i64 = redis::cmd(command).arg(key).arg(&visitor).query(&mut redis).unwrap();
    }
    let (status, report) = check(&path).await;
    assert_eq!(status, 99, "{report}");
    assert!(violated(&report).contains(&"kept"), "{report}");
    server.stop().await;
}

/// The terminal goes in the midst of a run: what was seen until then is whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_whole_also_when_the_terminal_goes() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let history = folder.path().join("history");
    let mut load = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    load.args([
        "load",
        "--quiet",
        "--visitors=3",
        "--ramp=0s",
        "--timeout=60s",
        "--sale",
        &sale,
        "--history",
    ]);
    let mut load = load.arg(&history).arg(format!("--url=http://{}", server.public)).spawn().unwrap();
    // Nobody is admitted: they wait until the end.
    while server.show(&sale).await["waiting"] != 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pid = load.id().to_string();
    assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    let ended = spawn_blocking(move || load.wait().unwrap()).await.unwrap();
    assert!(ended.code().is_some(), "{ended}");
    let text = std::fs::read_to_string(&history).unwrap();
    let footer: Footer = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(footer.entries as usize, text.lines().count() - 2);
}
