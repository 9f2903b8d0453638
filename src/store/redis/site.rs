//! Where Redis is, as the operator says it: one server, Sentinels that know the primary's name, or nodes of a cluster.

use super::address::{Address, Addresses};
use super::{find::Asked, tls::with_files};
use crate::{
    settings::RedisSettings,
    store::{errors::ConnectError, postgres::tls},
};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, RedisResult,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use std::time::Duration;

/// A silent peer is probed after this, and then as often.
const PROBE_AFTER: Duration = Duration::from_secs(2);
/// What was sent must be acknowledged within this.
const UNACKED_MAX: Duration = Duration::from_secs(5);

const SENTINEL_PORT: u16 = 26_379;
const PORT: u16 = 6379;

/// Where Redis is.
pub struct Site {
    pub(super) kind: Kind,
    /// How any of its nodes is spoken to: who we are there, which database, TLS. Its address is that of the first.
    node: ConnectionInfo,
    pub(super) addresses: Addresses,
    /// So many replicas must have what is told.
    pub(super) replicas: u32,
    /// What was last said of who is where.
    pub(super) asked: Asked,
}

/// What an address leads to.
pub(super) enum Kind {
    /// The server itself.
    Single,
    /// Sentinels, which know where the primary of that name is. They have credentials of their own, if any.
    Sentinel { sentinels: Vec<Address>, login: RedisConnectionInfo, master: String },
    /// Some nodes of a cluster; each knows all others.
    Cluster { seeds: Vec<Address> },
}

impl Site {
    /// From the settings.
    ///
    /// # Errors
    /// The URL or an address cannot be understood.
    pub fn of(settings: &RedisSettings) -> Result<Self, ConnectError> {
        let site = Self::parse(settings.redis_url.expose())?;
        let addresses = Addresses::parse(&settings.redis_addresses).ok_or_else(|| ConnectError::Url {
            key: "redis_addresses",
            problem: "give announced=reachable, each a host:port or a host".to_owned(),
        })?;
        let node = with_files(site.node, &settings.tls)?;
        Ok(Self { node, addresses, replicas: settings.redis_replicas, ..site })
    }

    /// From a URL alone: nothing is announced that cannot be reached, and no replica is waited for.
    ///
    /// # Errors
    /// It is none of the URLs that this program understands.
    pub fn parse(url: &str) -> Result<Self, ConnectError> {
        tls::install_provider();
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let (kind, node) = match scheme.to_ascii_lowercase().as_str() {
            "redis-sentinel" => sentinel("redis", rest)?,
            "rediss-sentinel" => sentinel("rediss", rest)?,
            "redis-cluster" => cluster("redis", rest)?,
            "rediss-cluster" => cluster("rediss", rest)?,
            _ => (Kind::Single, connection_info(url)?),
        };
        Ok(Self { kind, node, addresses: Addresses::default(), replicas: 0, asked: Asked::default() })
    }

    /// Whether the next sale may be on another node than this.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.kind, Kind::Cluster { .. })
    }

    pub(super) fn is_by_tls(&self) -> bool {
        matches!(self.node.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Without TLS.
    pub(super) fn is_by_tcp(&self) -> bool {
        matches!(self.node.addr(), ConnectionAddr::Tcp(..))
    }

    pub(super) fn db(&self) -> i64 {
        self.node.redis_settings().db()
    }

    /// The one server of a plain URL.
    pub(super) fn single(&self) -> RedisResult<Client> {
        Client::open(self.node.clone())
    }

    /// Its address, for people.
    pub(super) fn single_name(&self) -> String {
        match self.node.addr() {
            ConnectionAddr::Unix(path) => path.display().to_string(),
            other => other.to_string(),
        }
    }

    /// A node that announces this address.
    pub(super) fn node_at(&self, announced: &Address) -> RedisResult<Client> {
        Client::open(self.at(&self.addresses.reachable(announced)))
    }

    /// A Sentinel, or a node that the URL names: where it is reached is known.
    pub(super) fn named_at(&self, address: &Address) -> RedisResult<Client> {
        let info = self.at(address);
        Client::open(match &self.kind {
            Kind::Sentinel { login, .. } => info.set_redis_settings(login.clone()),
            _ => info,
        })
    }

    fn at(&self, address: &Address) -> ConnectionInfo {
        let (host, port) = (address.host.clone(), address.port);
        let addr = match self.node.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.node.clone().set_addr(addr)
    }
}

/// Opens no connection: makes a client of the URL of one server.
///
/// # Errors
/// The URL is none of one server.
pub fn redis_client(url: &str) -> Result<Client, ConnectError> {
    tls::install_provider();
    Client::open(connection_info(url)?).map_err(|error| fault(&error.to_string()))
}

fn connection_info(url: &str) -> Result<ConnectionInfo, ConnectError> {
    let info = url.into_connection_info().map_err(|error| fault(&error.to_string()))?;
    // A server that vanished without a word must be found out, also by who only waits for it to speak.
    let keepalive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER).with_retries(2);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNACKED_MAX);
    Ok(info.set_tcp_settings(tcp))
}

/// What stands between `://` and the end, of a URL with many hosts.
struct Many<'a> {
    credentials: &'a str,
    hosts: Vec<Address>,
    path: &'a str,
    query: Vec<(&'a str, &'a str)>,
    fragment: &'a str,
}

impl<'a> Many<'a> {
    fn parse(rest: &'a str, default_port: u16) -> Option<Self> {
        // A password that was not encoded may hold any of these.
        let (credentials, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = hosts.split(',').map(|host| Address::parse(host.trim(), default_port));
        let query = query.split('&').filter(|pair| !pair.is_empty());
        Some(Self {
            credentials,
            hosts: hosts.collect::<Option<_>>()?,
            path,
            query: query.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect(),
            fragment,
        })
    }

    /// How the first of the hosts is spoken to, with these credentials and this database.
    fn info(&self, scheme: &str, credentials: &str, db: &str) -> Result<ConnectionInfo, ConnectError> {
        let host = &self.hosts[0];
        let at = if credentials.is_empty() { "" } else { "@" };
        let hash = if self.fragment.is_empty() { "" } else { "#" };
        connection_info(&format!("{scheme}://{credentials}{at}{host}/{db}{hash}{}", self.fragment))
    }
}

const SENTINEL_FORM: &str = "give redis-sentinel://user:password@host:port,host:port/master, with \
    ?sentinel_user=…&sentinel_password=… where the Sentinels want a login of their own, and db=… for a database";
const CLUSTER_FORM: &str = "give redis-cluster://user:password@host:port,host:port";

fn sentinel(scheme: &str, rest: &str) -> Result<(Kind, ConnectionInfo), ConnectError> {
    let many = Many::parse(rest, SENTINEL_PORT).ok_or_else(|| fault(SENTINEL_FORM))?;
    let (mut user, mut password, mut db) = ("", "", "");
    for (key, value) in &many.query {
        match *key {
            "sentinel_user" => user = value,
            "sentinel_password" => password = value,
            "db" => db = value,
            other => return Err(fault(&format!("no such option {other:?}; {SENTINEL_FORM}"))),
        }
    }
    let master = many.path.trim_end_matches('/');
    if master.is_empty() || master.contains('/') {
        return Err(fault(&format!("the primary's name is missing; {SENTINEL_FORM}")));
    }
    let login = if password.is_empty() { String::new() } else { format!("{user}:{password}") };
    let login = many.info(scheme, &login, "")?.redis_settings().clone();
    let node = many.info(scheme, many.credentials, db)?;
    Ok((Kind::Sentinel { sentinels: many.hosts, login, master: master.to_owned() }, node))
}

fn cluster(scheme: &str, rest: &str) -> Result<(Kind, ConnectionInfo), ConnectError> {
    let many = Many::parse(rest, PORT).ok_or_else(|| fault(CLUSTER_FORM))?;
    if !many.query.is_empty() || !many.path.is_empty() {
        return Err(fault(&format!("a cluster has no database and no options; {CLUSTER_FORM}")));
    }
    let node = many.info(scheme, many.credentials, "")?;
    Ok((Kind::Cluster { seeds: many.hosts }, node))
}

fn fault(problem: &str) -> ConnectError {
    let forms = "give redis://host:port, rediss://host:port, redis+unix:///path, redis-sentinel:// or redis-cluster://";
    let problem = if problem.contains("give ") { problem.to_owned() } else { format!("{problem}; {forms}") };
    ConnectError::Url { key: "redis_url", problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Site {
        Site::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    fn refused(url: &str) -> String {
        let Err(error) = Site::parse(url) else { panic!("{url} was accepted") };
        error.to_string()
    }

    #[test]
    fn one_server() {
        for url in ["redis://h:6379", "rediss://user:pw@h:6380/0", "redis+unix:///run/redis.sock"] {
            assert!(matches!(parsed(url).kind, Kind::Single), "{url}");
        }
        let error = refused("http://h");
        assert!(error.starts_with("redis_url: ") && error.contains("redis+unix"), "{error}");
    }

    #[test]
    fn sentinels() {
        let site =
            parsed("redis-sentinel://kim:p%40w@a,[::1]:7/tickets?sentinel_user=s&sentinel_password=q&db=3");
        let Kind::Sentinel { sentinels, login, master } = &site.kind else { panic!() };
        let shown: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
        assert_eq!((shown.join(" "), master.as_str()), ("a:26379 [::1]:7".to_owned(), "tickets"));
        assert_eq!((login.username(), login.password()), (Some("s"), Some("q")));
        let node = site.node.redis_settings();
        assert_eq!((node.username(), node.password(), node.db()), (Some("kim"), Some("p@w"), 3));
        let site = parsed("REDISS-Sentinel://a:1/m#insecure");
        assert!(matches!(site.node.addr(), ConnectionAddr::TcpTls { insecure: true, .. }));
        assert!(refused("redis-sentinel://a:1").contains("name is missing"));
        assert!(refused("redis-sentinel://a:1/m?quorum=2").contains("quorum"));
        assert!(refused("redis-sentinel://a:x/m").contains("host:port/master"));
    }

    #[test]
    fn a_cluster() {
        let site = parsed("redis-cluster://:pw@a:1,b:2");
        let Kind::Cluster { seeds } = &site.kind else { panic!() };
        assert_eq!((seeds.len(), site.node.redis_settings().password()), (2, Some("pw")));
        assert!(refused("redis-cluster://a:1/3").contains("no database"));
        assert!(refused("redis-cluster://").contains("redis-cluster://user"));
    }
}
