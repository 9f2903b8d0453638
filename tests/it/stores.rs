//! What is behind a store's address changes, or is there and of no use: nobody has to cut a connection for it.

use crate::world::{Server, World, plan};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    join,
    net::{TcpListener, UnixStream},
    time::{sleep, timeout},
};
use waitroom::{
    embedded::Redis,
    store::{
        bookings::Bookings, journal::Journal, postgres::connect::postgres_pool, redis::redis_client,
        sales::Sales,
    },
};
use wire::domain::ids::{SaleId, VisitorId};

/// Longer than a connection may take to come back.
const PATIENCE: Duration = Duration::from_secs(120);

/// An address that leads new connections elsewhere from some moment on, as DNS or a balancer does. The old ones stay.
struct Address {
    url: String,
    target: Arc<Mutex<PathBuf>>,
}

impl Address {
    async fn of(redis: &Redis) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let target = Arc::new(Mutex::new(socket_of(redis)));
        let aim = target.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let path = aim.lock().unwrap().clone();
                tokio::spawn(async move {
                    if let Ok(mut to) = UnixStream::connect(path).await {
                        let _ = copy_bidirectional(&mut from, &mut to).await;
                    }
                });
            }
        });
        Self { url, target }
    }

    fn lead_to(&self, redis: &Redis) {
        *self.target.lock().unwrap() = socket_of(redis);
    }
}

fn socket_of(redis: &Redis) -> PathBuf {
    redis.url().strip_prefix("redis+unix://").unwrap().into()
}

fn command(redis: &Redis, words: &[&str]) -> redis::Value {
    let mut connection = redis_client(&redis.url()).unwrap().get_connection().unwrap();
    let mut command = redis::cmd(words[0]);
    words[1..].iter().for_each(|word| _ = command.arg(word));
    command.query(&mut connection).unwrap()
}

async fn ready(server: &Server) -> Value {
    let url = format!("http://{}/readyz", server.admin);
    let ask = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let text = agent.get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        serde_json::from_str(&text).unwrap()
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

async fn until_ready(server: &Server, wanted: bool) -> Value {
    let wait = async {
        loop {
            let answer = ready(server).await;
            if answer["ready"] == wanted {
                return answer;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("ready never became {wanted}"))
}

async fn until_joined(server: &Server, sale: &str) {
    let joined = async {
        loop {
            let mut visitor = server.connect(sale).await;
            visitor.say(json!({ "type": "join" })).await;
            if visitor.next().await["type"] == "joined" {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, joined).await.expect("nobody could join any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demoted_redis_is_left_for_the_one_that_its_address_leads_to_now() {
    let world = World::new();
    let address = Address::of(&world.redis).await;
    let server = Server::start_with(&world, &[("redis_url", &address.url)]).await;
    let sale = server.sale(json!({})).await;
    until_joined(&server, &sale).await;
    // It lives on and keeps its connections, as a replica.
    command(&world.redis, &["REPLICAOF", "127.0.0.1", "1"]);
    let answer = until_ready(&server, false).await;
    assert!(answer["reasons"][0].as_str().unwrap().contains("Redis"), "{answer}");
    let next = Redis::start_at(&tempfile::tempdir().unwrap().keep().join("redis")).unwrap();
    address.lead_to(&next);
    until_joined(&server, &sale).await;
    until_ready(&server, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_no_writes_is_not_ready() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    until_ready(&server, true).await;
    for setting in ["maxmemory", "min-replicas-to-write"] {
        command(&world.redis, &["CONFIG", "SET", setting, "1"]);
        let answer = until_ready(&server, false).await;
        assert!(answer["reasons"][0].as_str().unwrap().contains("Redis"), "{answer}");
        // Where the sale's numbers can be read still, they alone would look well.
        let shown = server.show(&sale).await;
        let told = shown["warnings"][0].as_str().or(shown["message"].as_str());
        assert!(
            told.is_some_and(|told| told.starts_with("Redis") && told.contains("cannot be used")),
            "{shown}"
        );
        command(&world.redis, &["CONFIG", "SET", setting, "0"]);
        until_ready(&server, true).await;
        assert_eq!(server.show(&sale).await["warnings"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_runs_no_scripts_is_not_ready() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    until_ready(&server, true).await;
    command(&world.redis, &["ACL", "SETUSER", "default", "-@scripting"]);
    let answer = until_ready(&server, false).await;
    assert!(answer["reasons"][0].as_str().unwrap().contains("Redis"), "{answer}");
    command(&world.redis, &["ACL", "SETUSER", "default", "+@scripting"]);
    until_ready(&server, true).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_whose_tables_cannot_be_written_is_not_ready() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    until_ready(&server, true).await;
    let pool = postgres_pool(&world.postgres.url(), 1).unwrap();
    let client = pool.get().await.unwrap();
    for (trouble, end) in [
        ("BEGIN; LOCK TABLE booked_seats IN SHARE MODE", "ROLLBACK"),
        ("BEGIN; LOCK TABLE bookings IN SHARE MODE", "ROLLBACK"),
        ("ALTER TABLE booked_seats RENAME TO elsewhere", "ALTER TABLE elsewhere RENAME TO booked_seats"),
    ] {
        client.batch_execute(trouble).await.unwrap();
        let answer = until_ready(&server, false).await;
        assert!(answer["reasons"][0].as_str().unwrap().contains("PostgreSQL"), "{trouble}: {answer}");
        client.batch_execute(end).await.unwrap();
        until_ready(&server, true).await;
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_this_program_cannot_read_stops_nobody() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (mut kim, _) = server.join(&sale).await;
    let key = |name: &str| format!("waitroom:{{{sale}}}:{name}");
    let redis::Value::Int(n) = command(&world.redis, &["HINCRBY", &key("sale"), "n", "1"]) else { panic!() };
    command(&world.redis, &["XADD", &key("events"), &format!("1-{n}"), "d", r#"{"phase":"raffle"}"#]);
    server.open(&sale).await;
    kim.hear_past(&["joined"], "granted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_newer_program_is_refused_in_words() {
    let world = World::new();
    let first = Server::start_in(&world).await;
    let sale = first.sale(json!({})).await;
    let other = first.sale(json!({})).await;
    first.stop().await;
    command(&world.redis, &["HSET", &format!("waitroom:{{{sale}}}:sale"), "format", "2"]);
    let second = Server::start_in(&world).await;
    let answer = until_ready(&second, false).await;
    let reason = answer["reasons"][0].as_str().unwrap();
    assert!(reason.contains(&sale) && reason.contains("format 2"), "{reason}");
    until_joined(&second, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ahead_of_its_counter_is_caught_up_with() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    until_joined(&server, &sale).await;
    command(&world.redis, &["XADD", &format!("waitroom:{{{sale}}}:events"), "1-1000", "d", "{}"]);
    until_joined(&server, &sale).await;
    let (mut kim, _) = server.join(&sale).await;
    server.open(&sale).await;
    kim.hear_past(&["joined"], "granted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_takes_writes_again_is_used_again_without_anyone_cutting_a_connection() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let pool = postgres_pool(&world.postgres.url(), 1).unwrap();
    // As after a failover to a standby and back: sessions that began meanwhile take no writes, for as long as they live.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE application_name LIKE 'waitroom/%' AND pid <> pg_backend_pid()";
    let client = pool.get().await.unwrap();
    client.batch_execute("ALTER ROLE CURRENT_USER SET default_transaction_read_only = on").await.unwrap();
    client.batch_execute(cut).await.unwrap();
    until_ready(&server, false).await;
    client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    client.batch_execute("ALTER ROLE CURRENT_USER RESET default_transaction_read_only").await.unwrap();
    until_ready(&server, true).await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let (mut kim, _) = server.join(&sale).await;
    let token = kim.hear("granted").await["token"].clone();
    kim.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": ["A-1"] })).await;
    kim.hear("booking").await;
    server.stop().await;
}

/// A server that hangs keeps its connections: what was asked over them is given up, and asked over new ones.
#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_never_answers_is_given_up_and_found_again() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    server.stop().await;
    let pool = postgres_pool(&world.postgres.url(), 4).unwrap();
    let (id, sales) = (SaleId::parse(&sale).unwrap(), Sales::new(pool.clone()));
    let plan = sales.load(&id).await.unwrap().unwrap().0.plan;
    let journal = Journal::new(pool.clone(), id.clone());
    let bookings = Bookings::new(pool.clone(), id.clone(), plan);
    let kim = VisitorId::parse("kim").unwrap();
    // What visitors wait for, each over a connection of its own.
    let ask = async || {
        let asked = join!(journal.tail(), journal.head(), sales.plan_json(&id), bookings.by_visitor(&kim));
        [asked.0.is_ok(), asked.1.is_ok(), asked.2.is_ok(), asked.3.is_ok()]
    };
    assert_eq!((ask().await, pool.status().size), ([true; 4], 4));
    world.postgres.freeze();
    let answered = timeout(PATIENCE, ask()).await.expect("nobody waits for ever");
    assert_eq!((answered, pool.status().size), ([false; 4], 0), "nobody is given those connections");
    world.postgres.thaw();
    while ask().await != [true; 4] {
        sleep(Duration::from_millis(100)).await;
    }
}

/// So do operators: each of their calls is answered as one that may be made again.
#[tokio::test(flavor = "multi_thread")]
async fn operators_are_answered_when_postgresql_hangs() {
    let world = World::new();
    let server = Server::start_with(&world, &[("postgres_pool", "12")]).await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let (mut kim, _) = server.join(&sale).await;
    let token = kim.hear("granted").await["token"].clone();
    kim.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": ["A-1"] })).await;
    let booking = kim.hear("booking").await["booking"].as_str().unwrap().to_owned();
    let [one, sale] = [format!("/bookings/{booking}"), format!("/sales/{sale}")];
    let new = json!({ "id": "new", "name": "New", "plan": plan(1, 2), "rate": 1, "max_active": 1, "grant_ttl_s": 30,
        "max_seats": 1, "anonymous": true });
    let calls = [
        ("GET", "/audit".to_owned(), None),
        ("GET", format!("{sale}/bookings"), None),
        ("GET", format!("{sale}/visitors/lee"), None),
        ("DELETE", format!("{sale}/visitors/lee"), None),
        ("DELETE", "/visitors/lee".to_owned(), None),
        ("DELETE", format!("{sale}?confirm={}", &sale["/sales/".len()..]), None),
        ("PATCH", sale.clone(), Some(json!({ "rate": 7 }))),
        ("POST", "/sales".to_owned(), Some(new)),
        ("GET", one.clone(), None),
        ("POST", format!("{one}/confirm"), None),
        ("DELETE", one.clone(), None),
    ];
    world.postgres.freeze();
    let asked = calls.into_iter().map(async |(method, path, body)| {
        let answer = timeout(PATIENCE, server.admin_once(method, &path, body)).await;
        let (status, answer) = answer.unwrap_or_else(|_| panic!("{method} {path} is never answered"));
        assert_eq!((status, &answer["code"]), (503, &json!("unavailable")), "{method} {path}: {answer}");
        assert_eq!(answer["retry"], json!(true), "{method} {path}: {answer}");
        assert!(!answer["message"].as_str().unwrap().contains("recorded"), "{method} {path}: {answer}");
    });
    join_all(asked).await;
    world.postgres.thaw();
    while server.admin_once("GET", &one, None).await.0 != 200 {
        sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}
