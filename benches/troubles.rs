//! Plants five troubles, one after another, under a steady sale, and prints what the service dashboard's deciding
//! panels show of each: `cargo bench --bench troubles [WORD OF ITS NAME]`. docs/dashboards.md
//! quotes it, and shows the first one's pictures.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark has nobody to tell")]

#[path = "../tests/observability/stage.rs"]
#[allow(dead_code, reason = "shared with the tests, which use another part of it")]
mod stage;

use futures_util::{SinkExt, StreamExt};
use stage::{Query, Stage, now, queries};
use std::{
    net::SocketAddr,
    process::Command,
    thread::{self, sleep},
    time::{Duration, Instant},
};
use tokio::net::TcpSocket;
use tokio_tungstenite::{client_async, tungstenite::Message, tungstenite::client::IntoClientRequest};
use waitroom::store::postgres::connect;

const SALE: &str = "spring";
/// A sale with a large seat map, for those who do not read it.
const ARENA: &str = "arena";
/// How long a trouble lasts, and from when on it is looked at: rates look 5 s back.
const TROUBLE: Duration = Duration::from_secs(24);
const LEAD: Duration = Duration::from_secs(6);

/// A column of the table: its panel, which of its queries, and of which series if there are several.
const COLUMNS: [(&str, &str, usize, &str); 8] = [
    ("joins /s", "Joins: rate and errors", 0, ""),
    ("join p99", "Join duration", 1, ""),
    ("Redis probe", "Stores: probe duration (p99)", 0, "Redis"),
    ("PostgreSQL probe", "Stores: probe duration (p99)", 0, "PostgreSQL"),
    ("pool wait", "PostgreSQL pool: wait (p99)", 0, ""),
    ("pool callers waiting", "PostgreSQL pool", 2, ""),
    ("COPY p99", "COPY duration", 1, ""),
    ("waiting frames", "Sockets", 1, ""),
];

type Plant = fn(&Stage, Instant);

const TROUBLES: [(&str, &[&str], Plant); 6] = [
    ("none", &[], |_, _| {}),
    ("slow Redis: stopped for 150 ms of every 200", &[], slow_redis),
    ("slow PostgreSQL: stopped for 150 ms of every 200", &[], slow_postgres),
    (
        "starved pool: of 2 connections, behind a lock for 1.2 s of every 1.6",
        &["--postgres-pool=2"],
        starved_pool,
    ),
    ("slow readers: 20 ask for seat maps of 100,000 seats and read nothing", &[], slow_readers),
    ("flood: 700 joins a second more", &[], flood),
];

fn main() {
    let heads: Vec<_> = COLUMNS.iter().map(|column| column.0).collect();
    println!("| trouble | {} | dropped |\n|---{}|", heads.join(" | "), "|---".repeat(COLUMNS.len() + 1));
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    for (name, settings, plant) in TROUBLES.into_iter().filter(|trouble| trouble.0.contains(&wanted)) {
        let stage = Stage::start(settings);
        let began = now();
        stage.sale(SALE, &["--seats=20000", "--rate=20", "--max-active=200"]);
        let crowd = stage.crowd(SALE, &["--visitors=700", "--ramp=34s", "--think=0s..2s"]);
        sleep(Duration::from_secs(2));
        let (planted, from) = (Instant::now(), now() + LEAD.as_secs_f64());
        thread::scope(|scope| {
            scope.spawn(|| plant(&stage, planted + TROUBLE));
            sleep(TROUBLE);
            println!("| {name} | {} |", row(&stage, from).join(" | "));
        });
        drop(crowd);
        if name == "none" {
            draw(&stage, began);
        }
    }
}

/// What the panels show while the trouble lasts: the median over time.
fn row(stage: &Stage, from: f64) -> Vec<String> {
    let queries = queries("service", SALE);
    let of_panel = |panel: &str, n: usize| -> &Query {
        queries.iter().filter(|query| query.panel == panel).nth(n).expect("the panel is there")
    };
    let mut cells: Vec<_> = COLUMNS
        .iter()
        .map(|(_, panel, n, series)| {
            let found = stage.prometheus.series(&of_panel(panel, *n).expr, from);
            let (_, values) = found.iter().find(|(labels, _)| labels.to_string().contains(series)).unwrap();
            let mut values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
            values.sort_by(f64::total_cmp);
            let median = values.get(values.len() / 2).copied().unwrap_or(f64::NAN);
            let is_time = panel.contains("duration") || panel.contains("wait");
            if is_time { format!("{:.1} ms", median * 1e3) } else { format!("{median:.2}") }
        })
        .collect();
    let dropped = "sum(increase(waitroom_sockets_dropped_total[20s]))";
    let dropped = stage.prometheus.series(dropped, from);
    cells.push(format!("{:.0}", dropped[0].1.last().unwrap()));
    cells
}

fn pulses(until: Instant, stop: impl Fn(), go: impl Fn()) {
    while Instant::now() < until {
        stop();
        sleep(Duration::from_millis(150));
        go();
        sleep(Duration::from_millis(50));
    }
}

fn slow_redis(stage: &Stage, until: Instant) {
    pulses(until, || stage.stores.redis.freeze(), || stage.stores.redis.thaw());
}

fn slow_postgres(stage: &Stage, until: Instant) {
    pulses(until, || stage.stores.postgres.freeze(), || stage.stores.postgres.thaw());
}

/// Someone locks the tables again and again, and who wants to read the bookings waits with a connection of the pool.
fn starved_pool(stage: &Stage, until: Instant) {
    thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < until {
                stage.list_bookings(SALE);
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = connect::postgres_single(&stage.stores.postgres_url()).await.unwrap();
            while Instant::now() < until {
                client
                    .batch_execute("BEGIN; LOCK TABLE bookings, booked_seats; SELECT pg_sleep(1.2); COMMIT")
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        });
    });
}

/// Visitors whose turn it is ask for the seats as often as they may, and read nothing of what comes.
fn slow_readers(stage: &Stage, until: Instant) {
    stage.sale(ARENA, &["--seats=100000", "--rate=100"]);
    let address: SocketAddr = stage.public.parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reader = async move || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = socket.connect(address).await.unwrap();
        let mut request = format!("ws://{address}/v1/sales/{ARENA}/ws").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "waitroom.v1".parse().unwrap());
        let (mut socket, _) = client_async(request, stream).await.unwrap();
        socket.send(Message::Text(r#"{"type":"join"}"#.into())).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.to_text().is_ok_and(|text| text.contains(r#""type":"granted""#)) {
                break;
            }
        }
        while Instant::now() < until {
            // Fails once the server has given up on it.
            let _ = socket.send(Message::Text(r#"{"type":"seats"}"#.into())).await;
            tokio::time::sleep(Duration::from_millis(52)).await;
        }
    };
    runtime.block_on(futures_util::future::join_all((0..20).map(|_| reader())));
}

fn flood(stage: &Stage, until: Instant) {
    let crowd = stage.crowd(SALE, &["--visitors=16800", "--ramp=24s", "--seed=2"]);
    sleep(until.saturating_duration_since(Instant::now()));
    drop(crowd);
}

/// Both dashboards, as docs/dashboards.md shows them.
fn draw(stage: &Stage, began: f64) {
    for board in ["sale", "service"] {
        let status = Command::new("node")
            .args(["scripts/draw-dashboard.mjs", &format!("grafana/dashboards/{board}.json")])
            .args([
                &format!("http://{}", stage.prometheus.address),
                SALE,
                &began.to_string(),
                &now().to_string(),
            ])
            .arg(format!("docs/images/dashboard-{board}.svg"))
            .status();
        assert!(status.unwrap().success());
    }
}
