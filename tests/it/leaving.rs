//! A server that leaves: nobody new is let in, everyone is sent on at his own moment, what is under way is finished, and
//! nothing makes it stay for longer than it may.

use crate::world::{ADMIN_TOKEN, Server, Visitor, World};
use futures_util::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::{net::SocketAddr, process::Command, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixDatagram},
    time::{Instant, sleep, sleep_until, timeout},
};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longer than a drain of 4 s takes on a busy machine, and shorter than what would keep it here.
const NOT_FOR_EVER: Duration = Duration::from_secs(12);

/// Waits until nobody new is let in.
async fn closed(port: SocketAddr) {
    let refused = async {
        while TcpStream::connect(port).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("the port is closed");
}

/// A visitor who does as he is told and comes back with his place, once: what he was told, and what he is told there.
async fn goes_on(mut visitor: Visitor, server: &Server, sale: &str, place: &Value) -> (u64, Value) {
    let after_ms = visitor.hear("reconnect").await["after_ms"].as_u64().unwrap();
    let due = Instant::now() + Duration::from_millis(after_ms);
    assert_eq!(visitor.closed().await, 1012);
    sleep_until(due).await;
    let mut again = server.connect(sale).await;
    again.say(json!({ "type": "join", "place": place })).await;
    (after_ms, again.hear("joined").await)
}

/// Two on one port, as behind a balancer.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_sent_away_finds_the_other_instance_in_his_first_try() {
    let world = World::shared();
    let first = [("listen", "127.0.0.1:0"), ("reuse_port", "true"), ("drain_s", "6")];
    let leaving = Server::start_with(world, &first).await;
    let sale = leaving.sale(json!({})).await;
    let mut here = Vec::new();
    for rank in 0..40 {
        let (visitor, joined) = leaving.join(&sale).await;
        assert_eq!(joined["rank"], rank);
        here.push((visitor, joined["place"].clone()));
    }
    let port = leaving.public.to_string();
    let staying = Server::start_with(world, &[("listen", &port), ("reuse_port", "true")]).await;
    let leaves = tokio::spawn(leaving.stop());
    let sent_on = here.into_iter().map(|(visitor, place)| {
        let (staying, sale) = (&staying, &sale);
        async move { goes_on(visitor, staying, sale, &place).await }
    });
    // On either instance, while there are two: the kernel parts them.
    let newcomers = async {
        for _ in 0..20 {
            let mut newcomer = loop {
                // It may cut off whoever is between two of its steps as a port is closed.
                match staying.try_connect(&sale).await {
                    Ok(newcomer) => break newcomer,
                    Err(error) => eprintln!("a newcomer tries again: {error}"),
                }
            };
            newcomer.say(json!({ "type": "join" })).await;
            newcomer.hear("joined").await;
            sleep(Duration::from_millis(150)).await;
        }
    };
    let (went_on, ()) = tokio::join!(join_all(sent_on), newcomers);
    for (rank, (_, joined)) in went_on.iter().enumerate() {
        assert_eq!((&joined["rank"], &joined["state"]), (&json!(rank), &json!("waiting")));
    }
    let mut after: Vec<u64> = went_on.iter().map(|(after_ms, _)| *after_ms).collect();
    after.sort_unstable();
    assert!(after.windows(2).all(|pair| pair[1] - pair[0] > 20), "each at his own moment: {after:?}");
    let report = leaves.await.unwrap();
    assert!(report.sockets >= 40 && report.cut == 0, "{report}");
    staying.stop().await;
}

/// Those who never joined, and those who read nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_who_does_not_answer_makes_it_stay() {
    let world = World::shared();
    let server = Server::start_with(world, &[("drain_s", "4")]).await;
    let sale = server.sale(json!({})).await;
    let mut silent = Vec::new();
    for _ in 0..5 {
        silent.push(server.connect(&sale).await);
        silent.push(server.join(&sale).await.0);
    }
    let report = server.stop().await;
    assert_eq!(report.sockets, 10);
    assert!(report.took < NOT_FOR_EVER, "{report}");
    for mut visitor in silent {
        // What he is told waits for him, should he read it after all.
        let mut last = Value::Null;
        while last["close"].is_null() && last["gone"].is_null() {
            last = visitor.next().await;
        }
        assert_eq!(last, json!({ "close": 1012 }));
    }
}

/// A request of which the last byte of the body is still to come.
async fn begun(port: SocketAddr, sale: &str) -> TcpStream {
    let mut stream = TcpStream::connect(port).await.unwrap();
    let head = format!("POST /v1/sales/{sale}/places HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{{");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_are_finished_and_resting_connections_end() {
    let world = World::shared();
    let server = Server::start_with(world, &[("drain_s", "8")]).await;
    let (port, sale) = (server.public, server.sale(json!({})).await);
    let mut resting = TcpStream::connect(port).await.unwrap();
    let get = format!("GET /v1/sales/{sale} HTTP/1.1\r\nHost: a\r\n\r\n");
    resting.write_all(get.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    resting.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    let (mut finishes, stays) = (begun(port, &sale).await, begun(port, &sale).await);
    let leaves = tokio::spawn(server.stop());
    closed(port).await;
    finishes.write_all(b"}").await.unwrap();
    let mut said = String::new();
    timeout(PATIENCE, finishes.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said.starts_with("HTTP/1.1 201 ") && said.to_lowercase().contains("connection: close"), "{said}");
    timeout(PATIENCE, resting.read_to_end(&mut Vec::new())).await.expect("it ends").unwrap();
    let report = leaves.await.unwrap();
    assert_eq!((report.requests, report.sockets), (1, 0), "{report}");
    drop(stays);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_is_it_leaves_at_once() {
    let server = Server::start_with(World::shared(), &[("drain_s", "60")]).await;
    server.sale(json!({})).await;
    let report = server.stop().await;
    assert!(report.took < NOT_FOR_EVER, "no quarter of the time was given to a balancer: {report}");
}

/// What cannot be told to a store that is away is not waited for any longer than the drain may take.
#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_in_time_while_a_store_is_away() {
    let mut world = World::new();
    let server = Server::start_with(&world, &[("drain_s", "4")]).await;
    let sale = server.sale(json!({})).await;
    let mut visitors = Vec::new();
    for _ in 0..5 {
        visitors.push(server.join(&sale).await.0);
    }
    world.redis.kill();
    let told = join_all(visitors.iter_mut().map(|visitor| visitor.hear("reconnect")));
    let (report, _) = tokio::join!(server.stop(), told);
    assert_eq!(report.sockets, 5);
    assert!(report.took < NOT_FOR_EVER, "{report}");
    assert!(report.redeems > 0, "that sockets closed could not be told: {report}");
    world.redis.restart().unwrap();
}

/// What a supervisor like systemd is told, over a socket as systemd has it.
#[tokio::test(flavor = "multi_thread")]
async fn systemd_hears_that_it_is_ready_lives_and_stops() {
    let (world, folder) = (World::shared(), tempfile::tempdir().unwrap());
    let path = folder.path().join("notify");
    let heard = UnixDatagram::bind(&path).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    serve.args([
        "serve",
        "--listen=127.0.0.1:0",
        "--admin-listen=127.0.0.1:0",
        "--drain-s=7",
        "--postgres-pool=2",
    ]);
    serve.arg(format!("--redis-url={}", world.redis.url()));
    serve.arg(format!("--postgres-url={}", world.postgres.url())).arg(format!("--admin-token={ADMIN_TOKEN}"));
    serve.arg("--signing-keys=k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").arg("--log=warn");
    let mut serve = serve.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000").spawn().unwrap();
    let next = async || {
        let mut words = [0; 200];
        let length = timeout(PATIENCE, heard.recv(&mut words)).await.expect("systemd is told").unwrap();
        String::from_utf8(words[..length].to_vec()).unwrap()
    };
    assert_eq!(next().await, "READY=1\n");
    for _ in 0..5 {
        assert_eq!(next().await, "WATCHDOG=1\n");
    }
    kill_process(Pid::from_child(&serve), Signal::TERM).unwrap();
    let stopping = loop {
        let words = next().await;
        if words != "WATCHDOG=1\n" {
            break words;
        }
    };
    assert_eq!(stopping, "STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000\n");
    let ended = tokio::task::spawn_blocking(move || serve.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}
