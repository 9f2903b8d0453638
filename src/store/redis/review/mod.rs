//! What is behind `redis_url`, looked at once and judged: by `serve` before it starts, by `doctor` to say what to change.

mod cluster;
mod judge;
mod sentinel;

use super::{
    address::Address,
    facts::RedisFacts,
    find::{connect, failed},
    site::{Kind, Site},
};
use crate::settings::RedisSettings;
use judge::judge;
use redis::{Client, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use std::time::Duration;
use tokio::time::timeout;

/// How long a server may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(5);

/// In whose name a server is tried.
const REVIEW: &str = "review";

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Works, but look at it.
    Warn,
    /// Dangerous or impossible.
    Fail,
    /// Cannot be asked.
    Away,
}

/// One thing that was found.
#[derive(Debug)]
pub struct Finding {
    /// How bad it is.
    pub grade: Grade,
    /// What it is about.
    pub subject: &'static str,
    /// What was found, and what to do.
    pub text: String,
}

/// What was found so far.
type Findings = Vec<Finding>;

fn find(findings: &mut Findings, grade: Grade, subject: &'static str, text: impl Into<String>) {
    findings.push(Finding { grade, subject, text: text.into() });
}

/// A primary and those that may take its place.
struct Group {
    primary: Server,
    replicas: Vec<Server>,
}

/// One server, as it is called in what is said of it.
struct Server {
    name: String,
    /// What it tells, or why it does not.
    facts: Result<RedisFacts, RedisError>,
    /// Whether it may be made the primary. Nobody knows of the replicas of a server with a URL of its own.
    promotable: bool,
}

impl Server {
    async fn ask(name: String, client: RedisResult<Client>) -> Self {
        let asked = timeout(PATIENCE, async {
            RedisFacts::read(&mut connect(&client?, PATIENCE).await?, REVIEW).await
        });
        let facts = asked.await.unwrap_or_else(|_| Err(failed(format!("no answer within {PATIENCE:?}"))));
        Self { name, facts, promotable: true }
    }

    async fn announced(site: &Site, address: &Address) -> Self {
        let mut server = Self::ask(address.to_string(), site.node_at(address)).await;
        server.facts = server.facts.map_err(|error| match error.is_io_error() {
            true => failed(site.unreachable(address, &error)),
            false => error,
        });
        server
    }
}

/// Looks at everything behind the settings' URL.
pub async fn review(site: &Site, settings: &RedisSettings) -> Vec<Finding> {
    let mut findings = Findings::new();
    let groups = match &site.kind {
        Kind::Single => {
            let primary = Server::ask(site.single_name(), site.single()).await;
            vec![Group { primary, replicas: Vec::new() }]
        }
        Kind::Sentinel { sentinels, master, .. } => {
            sentinel::look(site, sentinels, master, &mut findings).await.into_iter().collect()
        }
        Kind::Cluster { seeds } => cluster::look(site, seeds, &mut findings).await,
    };
    judge(&groups, site, settings, &mut findings);
    findings
}

/// How bad it is that a server that is needed gives this error: it is away, or what it was told is wrong.
fn grade_of(error: &RedisError) -> Grade {
    let is_wrong = error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError);
    if is_refused(error) || is_wrong || of_certificates(error).is_some() { Grade::Fail } else { Grade::Away }
}

fn is_refused(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
}

/// What to do where one side does not believe the other's certificate.
fn of_certificates(error: &RedisError) -> Option<&'static str> {
    let text = error.to_string();
    if text.starts_with("invalid peer certificate") {
        Some(
            "redis_ca_file: its certificate is not believed; name the authority that vouches for it, and reach it by a name that it has",
        )
    } else if text.starts_with("received fatal alert") {
        Some(
            "redis_cert_file: it does not let us in; give a certificate that its authority vouches for, with redis_key_file",
        )
    } else {
        None
    }
}

/// What is wrong, in words that say which setting it is.
fn words(error: &RedisError, site: &Site) -> String {
    let detail = error.detail().unwrap_or_default();
    if let Some(what) = of_certificates(error) {
        format!("{what} ({error})")
    } else if is_refused(error) {
        format!("redis_url: its user or password is refused ({error})")
    } else if detail.contains("cluster support disabled") {
        "redis_url: this Redis is no part of a cluster: give redis://".to_owned()
    } else if detail.contains("unknown command") && detail.to_ascii_lowercase().contains("sentinel") {
        "redis_url: this Redis is no Sentinel: give redis://".to_owned()
    } else if error.is_timeout() && site.is_by_tls() {
        format!("{error}; if it speaks no TLS there, begin redis_url with redis instead of rediss")
    } else if error.is_connection_dropped() && site.is_by_tcp() {
        format!("{error}; if it speaks TLS there, begin redis_url with rediss")
    } else {
        error.to_string()
    }
}
