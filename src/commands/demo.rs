//! `demo`: everything on one machine with one command, and all of it real: the same server, the same scripts, the
//! same databases as in production, only small.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::Args;
use serde_json::{Value, json};

use super::sale::client::Client;
use super::signals::Signals;
use super::{Exit, ExitError, logging, output, serve, system};
use crate::app::App;
use crate::embedded::Embedded;
use crate::settings::{
    AdminArgs, AdminSettings, DataArgs, HttpSettings, KeyArgs, LogSettings, PostgresSettings, RedisSettings,
    RoleArgs, Secret, ServeSettings, StrangerSettings,
};
use load::crowd;
use wire::domain::ids::SaleId;

/// A real hall: the Riethsporthalle in Erfurt, 1,222 seats.
const PLAN: &str = include_str!("../../data/seating-plan-riethsporthalle.json");
const SALE: &str = "demo";
/// Slow enough to see a line move, fast enough not to be bored.
const RATE: f64 = 2.0;

/// What `demo` reads.
#[derive(Debug, Args)]
// Its own output is what one reads, nobody waits for a balancer when it ends, and its crowd has one address.
#[command(
    mut_arg("log", |arg| arg.default_value("warn")),
    mut_arg("drain_s", |arg| arg.default_value("2")),
    mut_arg("address_places", |arg| arg.default_value("0")),
)]
pub struct DemoArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Let so many simulated visitors queue and book
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    crowd: u32,
    /// Admissions a second of the sample sale [default: 2]
    #[arg(long, value_name = "NUMBER")]
    sale_rate: Option<f64>,
    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    strangers: StrangerSettings,
    #[command(flatten)]
    admin: AdminArgs,
    #[command(flatten)]
    roles: RoleArgs,
    #[command(flatten)]
    keys: KeyArgs,
    #[command(flatten)]
    log: LogSettings,
}

/// Runs everything until it is asked to stop.
pub fn run(args: &DemoArgs) -> anyhow::Result<Exit> {
    logging::start(&args.log);
    system::raise_open_files();
    // Before the runtime, whose worker threads come and go: see `embedded::process`.
    let embedded = Embedded::start(&args.data.data_dir)?;
    let settings = settings(args, &embedded)?;
    let outcome = serve::runtime()?.block_on(serve_sample(args, &settings));
    embedded.stop();
    if outcome.is_ok() {
        output::print(&format!("\n  stopped; everything is kept in {}", args.data.data_dir.display()))?;
    }
    outcome
}

fn settings(args: &DemoArgs, embedded: &Embedded) -> anyhow::Result<ServeSettings> {
    let folder = &args.data.data_dir;
    let mut admin = args.admin.clone();
    if admin.token()?.is_none() {
        let token = kept(&folder.join("admin-token"), || Ok(URL_SAFE_NO_PAD.encode(random()?)))?;
        admin.admin_token = Some(Secret::from(token));
    }
    let admin = admin.of_server()?;
    let mut keys = args.keys.clone();
    if keys.signing()?.is_none() {
        let text = kept(&folder.join("signing-keys"), || Ok(format!("demo:{}", STANDARD.encode(random()?))))?;
        keys.signing_keys = Some(Secret::from(text));
    }
    Ok(ServeSettings {
        http: args.http.clone(),
        tls: None,
        strangers: args.strangers.clone(),
        admin_tokens: args.roles.resolve(&admin.admin_token)?,
        admin,
        redis: RedisSettings::at(embedded.redis_url()),
        postgres: PostgresSettings { postgres_url: embedded.postgres_url().into(), postgres_pool: 8 },
        keys: keys.resolve()?,
        log: args.log.clone(),
    })
}

/// The secret in `path`, made there the first time: the next run must accept the tokens of this one.
fn kept(path: &Path, make: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    let fault = |what: &str, error: std::io::Error| {
        ExitError::new(Exit::File, format!("cannot {what} {}: {error}", path.display()))
    };
    match std::fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => {
            let facts = std::fs::metadata(path).map_err(|error| fault("look at", error))?;
            let is_ours = facts.uid() == rustix::process::geteuid().as_raw() && facts.mode() & 0o022 == 0;
            let problem = "belongs to others, or they may write it: whoever made it has the key; delete it, and another is made";
            return match is_ours {
                true => Ok(text.trim().to_owned()),
                false => Err(ExitError::new(Exit::Settings, format!("{} {problem}", path.display())).into()),
            };
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault("read", error).into()),
    }
    let secret = make()?;
    let file = std::fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path);
    file.and_then(|mut file| writeln!(file, "{secret}")).map_err(|error| fault("write", error))?;
    Ok(secret)
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(bytes)
}

async fn serve_sample(args: &DemoArgs, settings: &ServeSettings) -> anyhow::Result<Exit> {
    let stop = Signals::catch().context("cannot catch signals")?.first();
    tokio::pin!(stop);
    let app = tokio::select! {
        app = App::start(settings) => app?,
        () = &mut stop => return Ok(Exit::Done),
    };
    let (public, admin) = (app.public_addr(), app.admin_addr());
    // The address that it really has: port 0 picks one.
    let desk = AdminSettings { admin_listen: admin, ..settings.admin.clone() };
    let sample = sample(args, &desk, public);
    // The server has to run for its API to answer, so both go on side by side.
    let running = app.run(stop);
    tokio::pin!(running);
    let report = tokio::select! {
        report = &mut running => report,
        made = sample => { made?; running.await }
    };
    tracing::info!("{report}");
    Ok(Exit::Done)
}

/// Makes the sample sale, tells where everything is, lets the crowd in.
async fn sample(args: &DemoArgs, admin: &AdminSettings, public: SocketAddr) -> anyhow::Result<()> {
    let (settings, rate) = (admin.clone(), args.sale_rate);
    let sale = tokio::task::spawn_blocking(move || ensure_sale(&Client::new(&settings), rate)).await??;
    output::print(&welcome(args, admin.admin_listen, public, &sale))?;
    if args.crowd > 0 {
        let id = SaleId::parse(SALE).context("the sample sale's id")?;
        crowd(&format!("http://{}", dialable(public)), &id, args.crowd as usize).await;
    }
    Ok(())
}

/// The sample sale, made and opened unless an earlier run did.
fn ensure_sale(client: &Client, rate: Option<f64>) -> Result<Value, ExitError> {
    let path = format!("/v1/admin/sales/{SALE}");
    let mut sale = match client.find(&path)? {
        Some(sale) => sale,
        None => client.post("/v1/admin/sales", &sample_sale(rate.unwrap_or(RATE))?)?,
    };
    if let Some(rate) = rate.filter(|rate| sale["rate"] != json!(rate)) {
        sale = client.patch(&path, &json!({"rate": rate}))?;
    }
    if sale["phase"] == "scheduled" {
        sale = client.patch(&path, &json!({"phase": "open"}))?;
    }
    Ok(sale)
}

fn sample_sale(rate: f64) -> Result<Value, ExitError> {
    let plan: Value =
        serde_json::from_str(PLAN).map_err(|error| ExitError::new(Exit::Bug, error.to_string()))?;
    Ok(json!({
        "id": SALE,
        "name": "Riethsporthalle Erfurt",
        "plan": plan,
        "rate": rate,
        "max_active": 50,
        "grant_ttl_s": 300,
        "claim_s": 60,
        "max_seats": 4,
        "hold_ttl_s": 0,
        "anonymous": true,
    }))
}

fn welcome(args: &DemoArgs, admin: SocketAddr, public: SocketAddr, sale: &Value) -> String {
    let (page, desk) = (browsable(public), browsable(admin));
    let folder = args.data.data_dir.display();
    // As it was called, so that the line can be pasted.
    let program = std::env::args().next().unwrap_or_else(|| "waitroom".to_owned());
    let token = match args.admin.admin_token.is_some() || args.admin.admin_token_file.is_some() {
        true => String::new(),
        false => format!(" --admin-token-file {folder}/admin-token"),
    };
    let listen = if admin.port() == 9090 { String::new() } else { format!(" --admin-listen {admin}") };
    let text = |key: &str| sale[key].as_str().unwrap_or("?").to_owned();
    let phase = match text("phase").as_str() {
        "closed" | "sold_out" => format!("{} (for a fresh one, stop and remove {folder})", text("phase")),
        phase => phase.to_owned(),
    };
    format!(
        "\n  waitroom demo: {name}, {left} seats left, {phase}\n\n  \
         visitor page   http://{page}/sales/{SALE}\n  \
         operator       {program} sale show {SALE}{listen}{token}\n  \
         metrics        http://{desk}/metrics\n  \
         data           {folder}\n\n  Ctrl-C stops everything; the next start finds the same line and bookings.\n",
        name = text("name"),
        left = sale["seats_left"],
    )
}

/// The address as one would type it: a server that listens everywhere, or on the loopback, is `localhost`.
fn browsable(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() || ip == Ipv4Addr::LOCALHOST => {
            format!("localhost:{}", address.port())
        }
        _ => address.to_string(),
    }
}

/// Where a program of this machine reaches the server.
fn dialable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::domain::plan::Plan;

    #[test]
    fn the_sample_is_the_real_hall() {
        let sale = sample_sale(RATE).unwrap();
        assert_eq!(Plan::parse(sale["plan"].to_string().as_bytes()).unwrap().seats.len(), 1_222);
    }

    #[test]
    fn a_secret_is_made_once_and_only_ours() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin-token");
        let first = kept(&path, || Ok("one".to_owned())).unwrap();
        assert_eq!(kept(&path, || Ok("two".to_owned())).unwrap(), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        // Planted, or read and perhaps kept by somebody.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        assert!(kept(&path, || Ok("two".to_owned())).is_err());
    }

    #[test]
    fn addresses_to_click() {
        assert_eq!(browsable("0.0.0.0:8080".parse().unwrap()), "localhost:8080");
        assert_eq!(browsable("10.1.2.3:80".parse().unwrap()), "10.1.2.3:80");
    }
}
