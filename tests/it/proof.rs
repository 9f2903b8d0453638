//! A real sale's journal: exported, proved, held against receipts, told to whoever answers a complaint, purged.

use crate::world::{ADMIN_TOKEN, Server, Visitor, World};
use serde_json::{Value, json};
use std::{
    fs,
    process::{Child, Command},
    time::Duration,
};
use tokio::{task::spawn_blocking, time::sleep};
use waitroom::store::postgres::connect::postgres_pool;

/// Runs the program; its status and what it said.
async fn run(args: &[&str]) -> (Option<i32>, String) {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let call = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
        let output = command.args(&args).env_clear().stdin(std::process::Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    spawn_blocking(call).await.unwrap()
}

async fn book(visitor: &mut Visitor) -> String {
    let token = visitor.hear_past(&["joined"], "granted").await["token"].clone();
    let redeem = json!({ "type": "redeem", "request": "r", "token": token, "best": { "count": 2 } });
    visitor.say(redeem).await;
    visitor.hear_past(&["joined", "granted"], "booking").await["booking"].as_str().unwrap().to_owned()
}

async fn receipt(server: &Server, sale: &str, place: &Value) -> Value {
    let bearer = format!("Bearer {}", place.as_str().unwrap());
    loop {
        let path = format!("/v1/sales/{sale}/places/me/receipt");
        let (status, answer) = server.public("GET", &path, &[("Authorization", &bearer)]).await;
        if status != 202 {
            assert_eq!(status, 200, "{answer}");
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until the journal has a sale's end.
async fn closed(server: &Server, world: &World, sale: &str) {
    server.patch(sale, json!({ "phase": "closed" })).await;
    let client = postgres_pool(&world.postgres.url(), 1).unwrap().get().await.unwrap();
    let query = "SELECT FROM journal WHERE sale_id = $1 AND entry LIKE '%\"phase\":\"closed\"%'";
    while client.query_opt(query, &[&sale]).await.unwrap().is_none() {
        sleep(Duration::from_millis(50)).await;
    }
}

/// Three visitors: one books, one leaves, one waits when the sale closes. The places of the first and the last.
async fn a_sale(server: &Server) -> (String, Value, Value, String) {
    let sale = server.sale(json!({ "max_active": 2, "rate": 20 })).await;
    let (mut kim, first) = server.join(&sale).await;
    let (mut lee, _) = server.join(&sale).await;
    let (_park, third) = server.join(&sale).await;
    lee.say(json!({ "type": "leave" })).await;
    lee.hear("lapsed").await;
    server.open(&sale).await;
    let booking = book(&mut kim).await;
    (sale, first["place"].clone(), third["place"].clone(), booking)
}

/// Who kept the journal has died: what was booked since is on record only when his lease has run out.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_the_journal_is_about_to_hear_of_is_no_fault() {
    let server = Server::start().await;
    let (sale, ..) = a_sale(&server).await;
    let client = postgres_pool(&World::shared().postgres.url(), 1).unwrap().get().await.unwrap();
    let died = "UPDATE journal_heads SET holder = 'dead', until = now() + interval '6 s' WHERE sale_id = $1";
    client.execute(died, &[&sale]).await.unwrap();
    let (mut choi, _) = server.join(&sale).await;
    book(&mut choi).await;
    let postgres = format!("--postgres-url={}", World::shared().postgres.url());
    let (status, said) = run(&["check", "--sale", &sale, &postgres]).await;
    assert_eq!(status, Some(0), "{said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_exported_proved_and_held_against_receipts() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (sale, first, third, _) = a_sale(&server).await;
    let (mine, theirs) = (receipt(&server, &sale, &first).await, receipt(&server, &sale, &third).await);
    let (_, head) = server.public("GET", &format!("/v1/sales/{sale}/journal/head"), &[]).await;
    fs::write(file("receipt.json"), mine.to_string()).unwrap();
    fs::write(file("head.json"), head.to_string()).unwrap();
    let postgres = format!("--postgres-url={}", World::shared().postgres.url());
    // While the sale goes on.
    let (status, said) = run(&["check", "--sale", &sale, &postgres]).await;
    assert_eq!(status, Some(0), "{said}");
    closed(&server, World::shared(), &sale).await;

    let (status, said) = run(&["journal", "export", &sale, &file("journal.jsonl"), &postgres]).await;
    assert_eq!((status, said.as_str()), (Some(0), ""));
    let text = fs::read_to_string(file("journal.jsonl")).unwrap();
    for named in [mine["visitor"].as_str(), theirs["visitor"].as_str(), mine["salt"].as_str()] {
        assert!(!text.contains(named.unwrap()), "{text}");
    }
    let (status, said) = run(&["journal", "export", &sale, &postgres]).await;
    // What ended with the sale may have been journaled since.
    let entries = |text: &str| {
        text.lines().filter(|line| line.starts_with("{\"n\"")).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(status, Some(0), "{said}");
    assert!(!entries(&text).is_empty() && entries(&said).starts_with(&entries(&text)), "{said}");

    let journal = file("journal.jsonl");
    let (status, said) =
        run(&["check", &journal, "--head", &file("head.json"), "--html", &file("page.html")]).await;
    assert!(status == Some(0) && said.contains("Of 1 noted head(s)"), "{said}");
    assert!(fs::read_to_string(file("page.html")).unwrap().contains("✓ Every promise"));
    let (status, said) = run(&["check", &journal, "--format", "json"]).await;
    let report: Value = serde_json::from_str(&said).unwrap();
    let numbers = &report["numbers"];
    assert_eq!((status, &report["status"]), (Some(0), &json!("proved")));
    assert_eq!(
        (&numbers["drawn"], &numbers["left"], &numbers["bookings"]),
        (&json!(3), &json!(1), &json!(1))
    );
    for journal in [vec![journal.as_str()], vec!["--sale", &sale, &postgres]] {
        let (status, said) =
            run(&[vec!["check", "--receipt", &file("receipt.json")], journal].concat()).await;
        assert!(
            status == Some(0) && said.contains("drew place 1") && said.contains("2 seats, confirmed"),
            "{said}"
        );
    }
    refused(&folder, &text, &theirs).await;
    server.stop().await;
}

/// Doctored files, and what is not this sale's.
async fn refused(folder: &tempfile::TempDir, text: &str, receipt: &Value) {
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let entries: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("{\"n\":")).collect();
    let mut moved = lines.clone();
    moved.swap(entries[1], entries[2]);
    let mut dropped = lines.clone();
    dropped.remove(entries[1]);
    let mut added = lines.clone();
    added.insert(entries[1], lines[entries[1]]);
    for (how, lines) in [("moved", moved), ("dropped", dropped), ("added", added)] {
        fs::write(file("doctored.jsonl"), lines.join("\n") + "\n").unwrap();
        let (status, said) = run(&["check", &file("doctored.jsonl")]).await;
        assert!(
            status == Some(99) && said.contains("1 nothing was changed, left out or put in       VIOLATED"),
            "{how}: {said}"
        );
    }
    fs::write(file("cut.jsonl"), lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    let other = "ab".repeat(32);
    let journal = file("journal.jsonl");
    for (args, expected, says) in [
        (vec!["check", &file("cut.jsonl")], 74, "was cut off"),
        (vec!["check", &journal, "--head", &other], 99, "written anew"),
        (vec!["check", &journal, "--head", &other[1..]], 64, "64 hexadecimal digits"),
        (vec!["check", &journal, &journal], 64, "one journal"),
        (vec!["check", "--receipt", &journal, &journal], 74, "is no receipt"),
        (vec!["check", "--sale", "nowhere"], 78, "postgres_url"),
        (vec!["check", "--sale", "nowhere", "--postgres-url", "postgres://127.0.0.1:1/x"], 69, "PostgreSQL"),
    ] {
        let (status, said) = run(&args).await;
        assert!(status == Some(expected) && said.contains(says), "{args:?}: {status:?} {said}");
    }
    let mut forged = receipt.clone();
    forged["seq"] = json!(1);
    let mut foreign = receipt.clone();
    foreign["sale"] = json!("another");
    for (receipt, expected, says) in
        [(&forged, 99, "proves nothing"), (&foreign, 64, "give that sale's journal")]
    {
        fs::write(file("forged.json"), receipt.to_string()).unwrap();
        let (status, said) = run(&["check", "--receipt", &file("forged.json"), &journal]).await;
        assert!(status == Some(expected) && said.contains(says), "{status:?} {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_postgresql_does_not_have_is_no_proof_of_a_fair_sale() {
    let server = Server::start().await;
    let (sale, _, _, booking) = a_sale(&server).await;
    closed(&server, World::shared(), &sale).await;
    let client = postgres_pool(&World::shared().postgres.url(), 1).unwrap().get().await.unwrap();
    client.execute("DELETE FROM bookings WHERE id = $1::text::uuid", &[&booking]).await.unwrap();
    let postgres = format!("--postgres-url={}", World::shared().postgres.url());
    // What was told a moment ago PostgreSQL need not have, by its own clock.
    loop {
        let (status, said) = run(&["check", "--sale", &sale, &postgres]).await;
        if status == Some(99) {
            assert!(said.contains(&format!("PostgreSQL has no booking {booking}")), "{said}");
            break;
        }
        assert_eq!(status, Some(0), "{said}");
        sleep(Duration::from_millis(500)).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitors_story_answers_his_complaint() {
    let server = Server::start().await;
    let (sale, first, _, booking) = a_sale(&server).await;
    let visitor = receipt(&server, &sale, &first).await["visitor"].as_str().unwrap().to_owned();
    let path = format!("/sales/{sale}/visitors/{visitor}");
    let story = loop {
        let (status, story) = server.admin("GET", &path, None).await;
        assert_eq!(status, 200, "{story}");
        if story["places"][0]["stage"] == "booked" {
            break story;
        }
        sleep(Duration::from_millis(50)).await;
    };
    let what: Vec<_> =
        story["events"].as_array().unwrap().iter().map(|event| event["what"].clone()).collect();
    assert_eq!(what, ["drawn", "admitted", "claimed", "booked"]);
    assert_eq!((&story["visitor"], &story["sale"]), (&json!(visitor), &json!(sale)));
    assert_eq!((&story["places"][0]["seq"], &story["bookings"][0]["booking"]), (&json!(1), &json!(booking)));
    assert!(story["events"][0]["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let (status, _) = server.admin("GET", &format!("/sales/{sale}/visitors/nobody"), None).await;
    assert_eq!(status, 404);
    let admin = format!("--admin-listen={}", server.admin);
    let (status, said) =
        run(&["sale", "visitor", &sale, &visitor, &admin, "--admin-token", ADMIN_TOKEN]).await;
    assert!(
        status == Some(0) && said.contains("place 1 (epoch 1): booked") && said.contains("drew place 1"),
        "{said}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_old_closed_sales_journal_is_purged_and_only_on_its_word() {
    // Stores of its own: nobody is left who could put a departure on record after the purge.
    let world = World::new();
    let server = Server::start_in(&world).await;
    let (sale, first, _, _) = a_sale(&server).await;
    receipt(&server, &sale, &first).await;
    let postgres = format!("--postgres-url={}", world.postgres.url());
    let purge = |before: &'static str, more: &'static [&'static str]| {
        let (sale, postgres) = (sale.clone(), postgres.clone());
        async move { run(&[&["journal", "purge", &sale, "--before", before, &postgres], more].concat()).await }
    };
    let (status, said) = purge("2100-01-01", &["--yes"]).await;
    assert!(status == Some(64) && said.contains("is not closed"), "{said}");
    closed(&server, &world, &sale).await;
    server.stop().await;
    let (status, said) = purge("2100-01-01T00:00:00Z", &[]).await;
    assert!(status == Some(64) && said.contains("nothing was done"), "{said}");
    let (status, said) = purge("2020-01-01", &["--yes"]).await;
    assert!(status == Some(64) && said.contains("give a later --before"), "{said}");
    let (status, said) = purge("yesterday", &["--yes"]).await;
    assert!(status == Some(64) && said.contains("2026-11-22T10:00:00Z"), "{said}");
    let (status, said) = purge("2100-01-01", &["--yes"]).await;
    assert!(status == Some(0) && said.contains("are deleted"), "{said}");
    let (status, said) = run(&["check", "--sale", &sale, &postgres]).await;
    assert!(status == Some(75) && said.contains("the journal is empty"), "{said}");
    let (status, said) = purge("2100-01-01", &["--yes"]).await;
    assert!(status == Some(0) && said.contains("nothing of"), "{said}");
    // Nobody is told to ask again for what will not come.
    let server = Server::start_in(&world).await;
    let bearer = format!("Bearer {}", first.as_str().unwrap());
    let path = format!("/v1/sales/{sale}/places/me/receipt");
    let (status, said) = server.public("GET", &path, &[("Authorization", &bearer)]).await;
    assert_eq!((status, &said["code"]), (410, &json!("purged")), "{said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_redis_lost_is_proved_over_both_its_lives() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({ "max_active": 1, "rate": 20 })).await;
    let (mut kim, _) = server.join(&sale).await;
    let (mut lee, _) = server.join(&sale).await;
    let (mut park, place) = server.join(&sale).await;
    lee.say(json!({ "type": "leave" })).await;
    lee.hear("lapsed").await;
    server.open(&sale).await;
    kim.hear("granted").await;
    let before = receipt(&server, &sale, &place["place"]).await;
    let mut redis = world.connect_redis().await;
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await.unwrap();
    assert_eq!(kim.hear_past(&["granted"], "joined").await["epoch"], 2);
    book(&mut kim).await;
    book(&mut park).await;
    let (_choi, _) = server.join(&sale).await;
    closed(&server, &world, &sale).await;
    let postgres = format!("--postgres-url={}", world.postgres.url());
    let (status, said) = run(&["check", "--sale", &sale, &postgres, "--format", "json"]).await;
    assert_eq!(status, Some(0), "{said}");
    let report: Value = serde_json::from_str(&said).unwrap();
    let numbers = &report["numbers"];
    assert_eq!(
        (&numbers["lives"], &numbers["drawn"], &numbers["bookings"]),
        (&json!(2), &json!(4), &json!(2))
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("receipt.json");
    fs::write(&file, before.to_string()).unwrap();
    let (status, said) =
        run(&["check", "--receipt", file.to_str().unwrap(), "--sale", &sale, &postgres]).await;
    assert!(status == Some(0) && said.contains("the place was booked"), "{said}");
    server.stop().await;
}

/// A program that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_of_a_sales_journal_is_in_the_log() {
    let world = spawn_blocking(World::new).await.unwrap();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (_kim, joined) = server.join(&sale).await;
    receipt(&server, &sale, &joined["place"]).await;
    server.stop().await;
    let log = tempfile::NamedTempFile::new().unwrap();
    let (redis, postgres) = (world.redis.url(), format!("--postgres-url={}", world.postgres.url()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", &postgres]).env_clear();
    command.arg(format!("--redis-url={redis}")).env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN);
    command.env("WAITROOM_SIGNING_KEYS", "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=");
    let _running = Running(command.stderr(log.reopen().unwrap()).spawn().unwrap());
    let line = loop {
        let text = fs::read_to_string(log.path()).unwrap();
        if let Some(line) =
            text.lines().find(|line| line.contains("the journal's head") && line.contains("hash="))
        {
            break line.to_owned();
        }
        sleep(Duration::from_millis(50)).await;
    };
    let hash = line.split("hash=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    for field in [&format!("sale={sale}"), "batch=", "epoch=1", " n="] {
        assert!(line.contains(field), "{line}");
    }
    // Whoever noted it can hold the journal against it.
    let (status, said) = run(&["check", "--sale", &sale, "--head", &hash, &postgres]).await;
    assert!(
        status == Some(75) && said.contains("nobody was admitted") && said.contains("Of 1 noted"),
        "{said}"
    );
}
