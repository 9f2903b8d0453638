//! What is looked at, and who looks: a server of the product on its own Redis and PostgreSQL, a crowd, and a
//! Prometheus with the shipped configuration.

#[path = "../shared/ports.rs"]
mod ports;

use ports::free_port;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime},
};
use waitroom::embedded::Embedded;

const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
/// How often Prometheus scrapes here, and over how long rates are taken.
const SCRAPE: &str = "500ms";
const RATE_INTERVAL: &str = "5s";

/// A process that ends with its owner.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only if it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Everything; stopped when dropped, the watchers first.
pub struct Stage {
    pub prometheus: Prometheus,
    _server: Running,
    pub stores: Embedded,
    pub public: String,
    pub admin: String,
    _folder: tempfile::TempDir,
}

impl Stage {
    /// A server with these settings over the usual ones.
    pub fn start(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // PostgreSQL's own user must get in, also when we are root.
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let stores = Embedded::start(&folder.path().join("stores")).unwrap();
        let (public, admin) = (free_address(), free_address());
        let mut server = waitroom(&[
            "serve",
            "--log=warn",
            "--drain-s=1",
            "--address-places=0",
            &format!("--listen={public}"),
        ]);
        server.arg(format!("--admin-listen={admin}"));
        server.arg(format!("--redis-url={}", stores.redis_url()));
        server.arg(format!("--postgres-url={}", stores.postgres_url()));
        server.arg("--signing-keys=k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").args(settings);
        let server = Running(server.spawn().unwrap());
        wait_until("the server is ready", || get(&format!("http://{admin}/readyz"), &[]).is_some());
        let prometheus = Prometheus::start(folder.path(), &admin);
        Self { prometheus, _server: server, stores, public, admin, _folder: folder }
    }

    /// An open sale.
    pub fn sale(&self, id: &str, options: &[&str]) {
        let mut create = waitroom(&["sale", "create", id, "--anonymous", "--open"]);
        let create = create.args(options).arg(format!("--admin-listen={}", self.admin)).stdout(Stdio::null());
        assert!(create.status().unwrap().success());
    }

    /// A crowd for the sale.
    pub fn crowd(&self, sale: &str, options: &[&str]) -> Running {
        let mut load = waitroom(&["load", "--quiet", &format!("--sale={sale}")]);
        load.arg(format!("--url=http://{}", self.public)).args(options).stdout(Stdio::null());
        Running(load.spawn().unwrap())
    }

    /// The operator reads all bookings.
    pub fn list_bookings(&self, sale: &str) {
        let mut list = waitroom(&["sale", "bookings", sale, &format!("--admin-listen={}", self.admin)]);
        let _ = list.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }

    /// The page that Prometheus reads.
    pub fn metrics(&self) -> String {
        get(&format!("http://{}/metrics", self.admin), &[]).unwrap()
    }
}

/// A Prometheus that scrapes one server.
pub struct Prometheus {
    pub address: String,
    _process: Running,
}

impl Prometheus {
    fn start(folder: &Path, admin: &str) -> Self {
        let address = free_address();
        let file = folder.join("prometheus.yml");
        fs::write(&file, configuration(admin)).unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .spawn()
            .expect("prometheus is not installed: apt-get install prometheus");
        let started = Self { address, _process: Running(process) };
        let ready = format!("http://{}/-/ready", started.address);
        wait_until("Prometheus is ready", || get(&ready, &[]).is_some());
        // It looks for its targets every 5 s.
        wait_until("the first scrape", || started.has_data("up == 1", now() - 1.0));
        started
    }

    /// `data` of a call of its API.
    pub fn api(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let answer = get(&url, parameters).unwrap_or_else(|| panic!("{path} {parameters:?} was refused"));
        serde_json::from_str::<Value>(&answer).unwrap()["data"].take()
    }

    /// The series of a panel's query since `from`: what each is called, and its values.
    pub fn series(&self, expr: &str, from: f64) -> Vec<(Value, Vec<f64>)> {
        let (from, to) = (from.to_string(), now().to_string());
        let range = [("query", expr), ("start", &from), ("end", &to), ("step", "1")];
        let mut data = self.api("query_range", &range);
        let series = data["result"].as_array_mut().unwrap().iter_mut().map(|series| {
            let values = series["values"].as_array().unwrap().iter();
            (
                series["metric"].clone(),
                values.map(|point| point[1].as_str().unwrap().parse().unwrap()).collect(),
            )
        });
        series.collect()
    }

    /// Whether a panel with this query would show anything.
    pub fn has_data(&self, expr: &str, from: f64) -> bool {
        self.series(expr, from).iter().any(|(_, values)| values.iter().any(|value| value.is_finite()))
    }
}

/// The shipped one, looking at our server, more often.
fn configuration(admin: &str) -> String {
    let folder = std::env::current_dir().unwrap().join("grafana/prometheus");
    let mut text = fs::read_to_string(folder.join("prometheus.yml")).unwrap();
    for (from, to) in [
        ("localhost:9090", admin),
        ("_interval: 5s", &format!("_interval: {SCRAPE}")),
        ("alerts.yml", folder.join("alerts.yml").to_str().unwrap()),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

/// A query of a panel.
pub struct Query {
    pub panel: String,
    pub expr: String,
}

/// All queries of a dashboard, as Grafana would send them for this sale.
pub fn queries(dashboard: &str, sale: &str) -> Vec<Query> {
    let text = fs::read_to_string(format!("grafana/dashboards/{dashboard}.json")).unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let mut queries = Vec::new();
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expr = target["expr"].as_str().unwrap();
            let expr = expr.replace("$sale", sale).replace("$__rate_interval", RATE_INTERVAL);
            assert!(!expr.contains('$'), "a variable that is not known here: {expr}");
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            queries.push(Query { panel: text(&panel["title"]), expr });
        }
    }
    queries
}

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64()
}

fn waitroom(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.args(args).env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN);
    command
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// The body, if the answer is a good one.
fn get(url: &str, parameters: &[(&str, &str)]) -> Option<String> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(10))).build().into();
    let request = parameters.iter().fold(agent.get(url), |request, (key, value)| request.query(*key, *value));
    request.call().ok()?.body_mut().read_to_string().ok()
}

/// Looks ten times a second, for a minute.
pub fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    let started = Instant::now();
    while !reached() {
        assert!(started.elapsed() < Duration::from_secs(120), "not reached: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
