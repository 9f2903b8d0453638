//! How soon everyone sees a booking: `cargo bench --bench seat_news [WATCHERS [BOOKINGS_A_SECOND]]`.
//!
//! Visitors with grants watch the seats, half of them on another instance than the one that books; others come, book
//! one seat each and go. Both are sockets of this process, so one clock says how long after a visitor's `booking`
//! each watcher's `seats_changed` has that seat; a change that overtook the answer counts as 0. Everything shares the
//! machine, this process too. docs/seat-map.md quotes it.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use futures_util::{SinkExt, StreamExt, stream::SplitSink};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::{
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::TcpStream,
    time::{interval, sleep, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use waitroom::embedded::Embedded;

const ADMIN_TOKEN: &str = "the-admin-token-of-the-bench";
const SEATS: usize = 50_000;
const BOOKING_FOR: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A server of the product; ends with its owner.
struct Server {
    process: Child,
    public: String,
    admin: String,
}

impl Server {
    fn start(stores: &Embedded) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let (public, admin) = (free(), free());
        let process = waitroom(&["serve", "--log=warn", "--drain-s=1", "--address-places=0"])
            .arg(format!("--listen={public}"))
            .arg(format!("--admin-listen={admin}"))
            .arg(format!("--redis-url={}", stores.redis_url()))
            .arg(format!("--postgres-url={}", stores.postgres_url()))
            .arg("--signing-keys=k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
            .spawn();
        let server = Self { process: process.unwrap(), public, admin };
        while server.page("readyz").is_none() {
            std::thread::sleep(Duration::from_millis(200));
        }
        server
    }

    fn page(&self, path: &str) -> Option<String> {
        ureq::get(format!("http://{}/{path}", self.admin)).call().ok()?.body_mut().read_to_string().ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn waitroom(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.args(args).env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN).stdout(Stdio::null());
    command
}

/// The next message of that type.
async fn hear(socket: &mut Socket, kind: &str) -> Value {
    let wanted = format!(r#""type":"{kind}""#);
    let found = async {
        loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Text(text) if text.contains(&wanted) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed, waiting for {kind}: {frame:?}"),
                _ => {}
            }
        }
    };
    timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no {kind} came"))
}

/// A visitor with a grant, and its token.
async fn granted(public: &str) -> (Socket, String) {
    let mut request = format!("ws://{public}/v1/sales/news/ws").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "waitroom.v1".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    say(&mut socket, &json!({ "type": "join" })).await;
    let token = hear(&mut socket, "granted").await["token"].as_str().unwrap().to_owned();
    (socket, token)
}

async fn say(socket: &mut Socket, message: &Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// What is seen: when each seat's booking was answered, in µs since the start (0: not yet), and how long after that
/// the watchers of each instance heard.
struct Seen {
    start: Instant,
    answered: Vec<AtomicU64>,
    delays: [Mutex<Histogram<u64>>; 2],
    frames: AtomicU64,
}

impl Seen {
    fn now(&self) -> u64 {
        self.start.elapsed().as_micros() as u64 + 1
    }
}

/// Watches until the end.
async fn watch(mut socket: Socket, instance: usize, seen: Arc<Seen>) {
    let (mut say, mut hear): (SplitSink<Socket, Message>, _) = {
        self::say(&mut socket, &json!({ "type": "seats" })).await;
        self::hear(&mut socket, "seat_map").await;
        socket.split()
    };
    let mut version = None;
    while let Some(Ok(frame)) = hear.next().await {
        let now = seen.now();
        let text = match frame {
            Message::Text(text) if text.contains("seats_changed") => text,
            Message::Ping(_) => {
                let _ = say.flush().await;
                continue;
            }
            _ => continue,
        };
        let change: Value = serde_json::from_str(&text).unwrap();
        let this = change["version"].as_u64().unwrap();
        assert!(version.replace(this).is_none_or(|before| before + 1 == this), "a version is missing");
        seen.frames.fetch_add(1, Relaxed);
        let mut delays = seen.delays[instance].lock().unwrap();
        for seat in change["taken"].as_array().unwrap() {
            let answered = seen.answered[seat.as_u64().unwrap() as usize].load(Relaxed);
            delays.saturating_record(if answered == 0 { 0 } else { now.saturating_sub(answered) });
        }
    }
}

/// Comes, books one seat, and goes.
async fn book(public: String, seen: Arc<Seen>) {
    let (mut socket, token) = granted(&public).await;
    let best = json!({ "type": "redeem", "request": "r1", "token": token, "best": { "count": 1 } });
    say(&mut socket, &best).await;
    let booking = hear(&mut socket, "booking").await;
    let now = seen.now();
    // The plan's seats are called block-row-number: blocks of 1,000, rows of 50.
    let name = booking["seats"][0].as_str().unwrap();
    let [block, row, number] = name.split('-').map(|n| n.parse::<usize>().unwrap()).collect::<Vec<_>>()[..]
    else {
        panic!("{name}")
    };
    seen.answered[(block - 1) * 1_000 + (row - 1) * 50 + number - 1].store(now, Relaxed);
    let _ = socket.close(None).await;
}

async fn run(servers: &[Server; 2], watchers: usize, rate: u32) -> Arc<Seen> {
    let seen = Arc::new(Seen {
        start: Instant::now(),
        answered: (0..SEATS).map(|_| AtomicU64::new(0)).collect(),
        delays: std::array::from_fn(|_| Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 3).unwrap())),
        frames: AtomicU64::new(0),
    });
    let mut watching = Vec::new();
    for some in (0..watchers).collect::<Vec<_>>().chunks(50) {
        let joined = some.iter().map(|i| granted(&servers[i % 2].public));
        for (i, (socket, _)) in some.iter().zip(futures_util::future::join_all(joined).await) {
            watching.push(tokio::spawn(watch(socket, i % 2, seen.clone())));
        }
    }
    sleep(Duration::from_secs(1)).await;
    let mut every = interval(Duration::from_secs(1) / rate);
    let began = Instant::now();
    let mut booking = Vec::new();
    while began.elapsed() < BOOKING_FOR {
        every.tick().await;
        booking.push(tokio::spawn(book(servers[0].public.clone(), seen.clone())));
    }
    let bookings = booking.len();
    for one in booking {
        one.await.unwrap();
    }
    let took = began.elapsed();
    sleep(Duration::from_secs(2)).await;
    let gone = watching.iter().filter(|watcher| watcher.is_finished()).count();
    let frames = seen.frames.load(Relaxed) as f64;
    println!(
        "{watchers} watch ({gone} lost), {bookings} bookings in {:.1} s ({:.0} a second), {:.0} frames a second in all",
        took.as_secs_f64(),
        bookings as f64 / took.as_secs_f64(),
        frames / took.as_secs_f64()
    );
    watching.iter().for_each(|watcher| watcher.abort());
    seen
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let watchers = numbers.next().unwrap_or(2_000);
    let rate = numbers.next().unwrap_or(250) as u32;
    let folder = tempfile::tempdir().unwrap();
    // PostgreSQL's own user must get in, also when we are root.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
    let stores = Embedded::start(&folder.path().join("stores")).unwrap();
    let servers = [Server::start(&stores), Server::start(&stores)];
    let mut create = waitroom(&["sale", "create", "news", "--anonymous", "--open", "--rate=2000"]);
    create.args(["--max-active=20000", "--grant-ttl-s=600", "--claim-s=600", &format!("--seats={SEATS}")]);
    assert!(create.arg(format!("--admin-listen={}", servers[0].admin)).status().unwrap().success());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let seen = runtime.block_on(run(&servers, watchers, rate));
    println!("from the visitor's `booking` to the watchers' `seats_changed`, ms:");
    for (delays, name) in seen.delays.iter().zip(["same instance", "other instance"]) {
        let delays = delays.lock().unwrap();
        let ms = |percent| delays.value_at_percentile(percent) as f64 / 1e3;
        println!(
            "{name:>16}: {} seen, p50 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
            delays.len(),
            ms(50.0),
            ms(99.0),
            ms(99.9),
            ms(100.0)
        );
    }
    for server in &servers {
        let page = server.page("metrics").unwrap_or_default();
        let lines =
            page.lines().filter(|line| line.starts_with("waitroom_seat_news_duration_seconds_bucket"));
        let buckets: Vec<_> =
            lines.filter_map(|line| line.split_once("le=\"")).map(|(_, rest)| rest).collect();
        println!("the server's own histogram: {}", buckets.join("  "));
    }
}
