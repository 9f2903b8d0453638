//! What tests stand on: one Redis and one PostgreSQL for all, servers and visitors for each.

pub use crate::visitor::Visitor;
use crate::{closing, clusters, visitor::PATIENCE};
use clap::Parser;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinHandle, time::sleep};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, client::IntoClientRequest, http::HeaderMap},
};
use waitroom::{
    app::App,
    embedded::{Postgres, Redis},
    limits::Bounds,
    settings::{ServeArgs, ServeSettings},
    shutdown::Report,
};
use wire::domain::identity;

/// The servers under all tests of this binary.
pub struct World {
    _folder: tempfile::TempDir,
    pub redis: Redis,
    pub postgres: Postgres,
}

pub static WORLD: OnceLock<World> = OnceLock::new();

impl World {
    pub fn new() -> Self {
        let folder = clusters::folder();
        clusters::put(&folder.path().join("postgres"));
        let redis = Redis::start_at(&folder.path().join("redis")).unwrap();
        let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
        Self { _folder: folder, redis, postgres }
    }

    pub fn shared() -> &'static Self {
        WORLD.get_or_init(Self::new)
    }

    /// A connection to Redis by itself.
    pub async fn connect_redis(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.redis.url()).unwrap();
        // On a busy machine an answer takes longer than the half second that the library waits for one.
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        client.get_multiplexed_async_connection_with_config(&patient).await.unwrap()
    }

    fn settings(&self, others: &[(&str, &str)]) -> ServeSettings {
        let (redis, postgres) = (self.redis.url(), self.postgres.url());
        let mut all = vec![
            ("redis_url", redis.as_str()),
            ("postgres_url", postgres.as_str()),
            ("listen", "127.0.0.1:0"),
            ("admin_listen", "127.0.0.1:0"),
            ("admin_token", ADMIN_TOKEN),
            ("signing_keys", "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
            ("identity_key", IDENTITY_KEY),
            ("drain_s", "2"),
            ("postgres_pool", "4"),
        ];
        all.retain(|(key, _)| others.iter().all(|(other, _)| other.trim_end_matches("_file") != *key));
        all.extend_from_slice(others);
        settings(&all)
    }
}

pub const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
pub const IDENTITY_KEY: &str = "0123456789abcdef0123456789abcdef";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

/// As from the command line.
fn settings(settings: &[(&str, &str)]) -> ServeSettings {
    let flags = settings.iter().map(|(key, value)| format!("--{}={value}", key.replace('_', "-")));
    Cli::parse_from(std::iter::once("serve".to_owned()).chain(flags)).serve.resolve().unwrap()
}

/// One server of the product.
pub struct Server {
    pub public: SocketAddr,
    pub admin: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Report>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_in(World::shared()).await
    }

    pub async fn start_in(world: &World) -> Self {
        Self::start_with(world, &[]).await
    }

    /// With other settings.
    pub async fn start_with(world: &World, others: &[(&str, &str)]) -> Self {
        Self::start_within(world, others, Bounds::default()).await
    }

    /// With other bounds on whoever connects.
    pub async fn start_within(world: &World, others: &[(&str, &str)], bounds: Bounds) -> Self {
        let app = App::start_within(&world.settings(others), bounds).await.unwrap();
        let (public, admin) = (app.public_addr(), app.admin_addr());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run(async {
            let _ = stopped.await;
        }));
        Self { public, admin, stop: Some(stop), running }
    }

    pub async fn stop(mut self) -> Report {
        let _ = self.stop.take().unwrap().send(());
        self.running.await.unwrap()
    }

    /// The operator's call, asked again where a busy machine stalled a store for longer than the server waits.
    pub async fn admin(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut answer = self.admin_once(method, path, body.clone()).await;
        for _ in 0..20 {
            if answer.0 != 503 {
                break;
            }
            sleep(Duration::from_millis(500)).await;
            answer = self.admin_once(method, path, body.clone()).await;
            // What was answered 503 may have been done: a creation that is repeated finds it there.
            if answer.0 == 409 && (method, path) == ("POST", "/sales") {
                answer.0 = 201;
            }
        }
        answer
    }

    /// One try, for who wants to hear that a store is away.
    pub async fn admin_once(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        self.admin_as(ADMIN_TOKEN, method, path, body).await
    }

    /// The admin API by another token.
    pub async fn admin_as(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let url = format!("http://{}/v1/admin{path}", self.admin);
        let (method, auth) = (method.to_owned(), format!("Bearer {token}"));
        let call = move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut response = match (method.as_str(), body) {
                ("GET", _) => agent.get(&url).header("Authorization", auth).call(),
                ("DELETE", _) => agent.delete(&url).header("Authorization", auth).call(),
                ("POST", Some(body)) => agent.post(&url).header("Authorization", auth).send_json(body),
                ("POST", None) => agent.post(&url).header("Authorization", auth).send_empty(),
                (_, body) => agent.patch(&url).header("Authorization", auth).send_json(body.unwrap()),
            }
            .unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
        };
        tokio::task::spawn_blocking(call).await.unwrap()
    }

    /// A visitor's call over HTTP.
    pub async fn public(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let (status, _, body) = self.public_headers(method, path, headers).await;
        (status, body)
    }

    /// A visitor's `POST` of that body.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (url, body) = (format!("http://{}{path}", self.public), body.clone());
        let call = move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut response = agent.post(&url).send_json(body).unwrap();
            (response.status().as_u16(), response.body_mut().read_json().unwrap())
        };
        tokio::task::spawn_blocking(call).await.unwrap()
    }

    /// The same, with the answer's headers.
    pub async fn public_headers(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> (u16, HeaderMap, Value) {
        let url = format!("http://{}{path}", self.public);
        let method = method.to_owned();
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let call = move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut response = if method == "POST" {
                headers
                    .iter()
                    .fold(agent.post(&url), |call, (name, value)| call.header(name, value))
                    .send_empty()
            } else {
                headers.iter().fold(agent.get(&url), |call, (name, value)| call.header(name, value)).call()
            }
            .unwrap();
            let text = response.body_mut().read_to_string().unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            (status, headers, serde_json::from_str(&text).unwrap_or(Value::String(text)))
        };
        tokio::task::spawn_blocking(call).await.unwrap()
    }

    /// The page for Prometheus.
    pub async fn metrics(&self) -> String {
        let url = format!("http://{}/metrics", self.admin);
        let call = move || ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap();
        tokio::task::spawn_blocking(call).await.unwrap()
    }

    /// Creates a sale, open, with `overrides` over quick defaults; its id.
    pub async fn sale(&self, overrides: Value) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = format!("s{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut body = json!({
            "id": id, "name": "Test", "plan": plan(2, 10), "rate": 100, "max_active": 100, "grant_ttl_s": 30,
            "claim_s": 30, "max_seats": 4, "anonymous": true,
        });
        body.as_object_mut().unwrap().extend(overrides.as_object().unwrap().clone());
        let (status, answer) = self.admin("POST", "/sales", Some(body)).await;
        assert_eq!(status, 201, "{answer}");
        closing::after_this_test(&id);
        id
    }

    pub async fn open(&self, sale: &str) {
        self.patch(sale, json!({ "phase": "open" })).await;
    }

    pub async fn patch(&self, sale: &str, change: Value) -> Value {
        let (status, answer) = self.admin("PATCH", &format!("/sales/{sale}"), Some(change)).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    pub async fn show(&self, sale: &str) -> Value {
        self.admin("GET", &format!("/sales/{sale}"), None).await.1
    }

    pub async fn connect(&self, sale: &str) -> Visitor {
        self.try_connect(sale).await.unwrap()
    }

    /// One try, which may not reach anyone.
    pub async fn try_connect(&self, sale: &str) -> Result<Visitor, tungstenite::Error> {
        self.dial(sale, &[]).await
    }

    /// With these headers; or the status of the answer that is no upgrade.
    pub async fn connect_with(&self, sale: &str, headers: &[(&'static str, &str)]) -> Result<Visitor, u16> {
        match self.dial(sale, headers).await {
            Err(tungstenite::Error::Http(answer)) => Err(answer.status().as_u16()),
            other => Ok(other.unwrap()),
        }
    }

    async fn dial(
        &self,
        sale: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Visitor, tungstenite::Error> {
        let url = format!("ws://{}/v1/sales/{sale}/ws", self.public);
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "waitroom.v1".parse().unwrap());
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await?;
        Ok(Visitor::over(socket))
    }

    /// A new visitor in the line, and what `joined` said.
    pub async fn join(&self, sale: &str) -> (Visitor, Value) {
        let mut visitor = self.connect(sale).await;
        visitor.say(json!({ "type": "join" })).await;
        let joined = visitor.hear("joined").await;
        (visitor, joined)
    }

    /// Someone whom the shop knows: he needs nothing but that to find his place.
    pub async fn comes(&self, sale: &str, name: &str) -> (Visitor, Value) {
        let until = jiff::Timestamp::now().as_second() + 3600;
        let identity = identity::sign(IDENTITY_KEY.as_bytes(), name, sale, until);
        for _ in 0..20 {
            let mut visitor = self.connect(sale).await;
            visitor.say(json!({ "type": "join", "identity": identity })).await;
            let joined = visitor.next().await;
            if joined["type"] == "joined" {
                return (visitor, joined);
            }
            // As a client does that is told to come again.
            eprintln!("{name} comes again: {joined}");
            sleep(Duration::from_millis(500)).await;
        }
        panic!("{name} never joined");
    }
}

/// A hall of rows `A`, `B`, …; seats `A-1`, `A-2`, … all of category `Hall`.
pub fn plan(rows: usize, seats: usize) -> Value {
    let row = |r: usize| {
        let name = char::from(b'A' + r as u8);
        let seat = |s: usize| json!({ "seat_guid": format!("{name}-{s}"), "category": "Hall" });
        json!({ "row_number": r, "seats": (1..=seats).map(seat).collect::<Vec<_>>() })
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    json!({ "name": "Hall", "categories": [{ "name": "Hall" }], "zones": [{ "name": "Z", "rows": rows }] })
}
