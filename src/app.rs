//! The only place that wires parts: what starts in which order, and what stops in which.

use crate::{
    drain::{Drain, Traffic},
    edge::{
        self, Edge, EdgeState,
        keys::{self, Keys},
        listener::{
            Listener, QUEUE,
            tls::{self, Tls, TlsError},
        },
        networks::Networks,
        operator::access::Access,
    },
    limits::{ADMIN_CONNECTIONS_MAX, Bounds, FILES_RESERVED, SEND_BUFFER_BYTES},
    metrics::{self, Listeners},
    room::{health::Health, rooms::Rooms, sockets::Lot},
    settings::{ServeSettings, TlsSettings},
    shutdown::{self, Report},
    store::{
        errors::ConnectError,
        postgres::{
            connect::{postgres_pool, postgres_single},
            facts::PostgresFacts,
            migrations::{self, MigrateError},
        },
        redis::{
            Redis, Site,
            review::{Finding, Grade, review},
        },
    },
};
use rustix::process::{Resource, getrlimit};
use std::{future::Future, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    time::timeout,
};
use uuid::Uuid;

/// A PostgreSQL that does not say within this what it is, hangs.
const FACTS_WITHIN: Duration = Duration::from_secs(30);

/// Connections that a network may have beside two for each of its sockets.
const CONNECTIONS_BESIDE: u32 = 16;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is bad or dangerous.
    #[error("{0}")]
    Settings(String),
    /// A store that is needed cannot be reached.
    #[error("{0}")]
    Unreachable(String),
    /// Anything else.
    #[error("{0}")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        Self::Settings(error.to_string())
    }
}

/// A server that has started.
pub struct App {
    edge: Arc<Edge>,
    rooms: Arc<Rooms>,
    leave: watch::Sender<Drain>,
    public: TcpListener,
    admin: TcpListener,
    tls: Option<Arc<Tls>>,
    drain: Duration,
}

impl App {
    /// Starts everything up to the listeners, which accept from here on.
    pub async fn start(settings: &ServeSettings) -> Result<Self, StartError> {
        Self::start_within(settings, Bounds::default()).await
    }

    /// The same with other bounds on whoever connects.
    pub async fn start_within(settings: &ServeSettings, bounds: Bounds) -> Result<Self, StartError> {
        metrics::handle();
        // All that can be judged alone comes before a store is asked, as with `doctor`.
        let tls = settings.tls.as_ref().map(Tls::open).transpose()?.map(Arc::new);
        let bad = |error: ConnectError| StartError::Settings(error.to_string());
        let site = Site::of(&settings.redis).map_err(bad)?;
        let url = settings.postgres.postgres_url.expose();
        let pool = postgres_pool(url, usize::from(settings.postgres.postgres_pool)).map_err(bad)?;
        let public = Reserved::new("listen", settings.http.listen, settings.http.reuse_port)?;
        let admin = Reserved::new("admin_listen", settings.admin.admin_listen, false)?;
        let redis = connect_redis(settings, site).await?;
        check_postgres(settings).await?;
        let (leave, leaving) = watch::channel(Drain::NotYet);
        let rooms = Rooms::new(redis, pool, Arc::new(Health::default()), leaving);
        rooms.open_all().await.map_err(|error| StartError::Unreachable(error.to_string()))?;
        let (public, admin) = (public.listen()?, admin.listen()?);
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let lot = Lot::open().map_err(|error| StartError::Other(Box::new(error)))?;
        tokio::spawn(lot.clone().run());
        let edge = Arc::new(Edge {
            rooms: rooms.clone(),
            keys: Keys::new(&settings.keys)
                .ok_or_else(|| StartError::Settings("signing_keys: none was given".into()))?,
            allowed_origins: settings.http.allowed_origins.clone(),
            trusted_proxies: settings.http.trusted_proxies.clone(),
            access: Access::new(settings.admin.admin_token.expose(), &settings.admin_tokens),
            connections_max: usize::try_from(files.saturating_sub(FILES_RESERVED)).unwrap_or(usize::MAX),
            strangers: settings.strangers.clone(),
            bounds,
            lot,
            state: EdgeState::default(),
        });
        tokio::spawn(rooms.clone().run());
        tokio::spawn(keys::follow(edge.clone(), settings.keys.clone()));
        Ok(Self { edge, rooms, leave, public, admin, tls, drain: Duration::from_secs(settings.http.drain_s) })
    }

    /// Where visitors connect.
    pub fn public_addr(&self) -> SocketAddr {
        address(&self.public)
    }

    /// Where operators connect.
    pub fn admin_addr(&self) -> SocketAddr {
        address(&self.admin)
    }

    /// Asks whether its tasks come round, while it runs.
    pub fn life(&self) -> impl Fn() -> bool + Send + 'static {
        let rooms = self.rooms.clone();
        move || rooms.is_alive()
    }

    /// Serves until `stop`, then drains. Answers what was still open within the drain time.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Report {
        let Self { edge, rooms, leave, public, admin, tls, drain } = self;
        let traffic = [Traffic::default(), Traffic::default()];
        let [visitors, operators] = traffic.clone();
        let public_listener = Listener {
            of: Listeners::Public,
            connections_max: edge.connections_max,
            proxies: edge.trusted_proxies.clone(),
            traffic: visitors,
            drain: leave.subscribe(),
            of_network_max: connections_of(edge.strangers.address_sockets),
            networks: Networks::default(),
            tls: tls.clone(),
            bounds: edge.bounds,
        };
        let admin_listener = Listener {
            of: Listeners::Admin,
            connections_max: ADMIN_CONNECTIONS_MAX,
            proxies: Vec::new(),
            traffic: operators,
            drain: leave.subscribe(),
            of_network_max: 0,
            networks: Networks::default(),
            tls: None,
            bounds: edge.bounds,
        };
        let certificate = tls.map(|tls| tokio::spawn(async move { tls.watch().await }));
        let door = tokio::spawn(public_listener.serve(public, edge::public_router(edge.clone())));
        let admin = tokio::spawn(admin_listener.serve(admin, edge::admin_router(edge)));
        stop.await;
        let report = shutdown::Leaver { rooms, traffic, leave, door }.drain(drain).await;
        admin.abort();
        if let Some(certificate) = certificate {
            certificate.abort();
        }
        report
    }
}

/// Until when the certificate is good that these settings name, in words; what `doctor` asks.
pub fn certificate_until(settings: &TlsSettings) -> Result<String, StartError> {
    Ok(tls::day(Tls::good_until(settings)?))
}

/// Connections that a network may have with so many sockets: a browser keeps some beside each, for a moment.
fn connections_of(sockets: u32) -> u32 {
    if sockets == 0 { 0 } else { sockets.saturating_mul(2).saturating_add(CONNECTIONS_BESIDE) }
}

/// The PostgreSQL that is wanted, with its schema up to date.
async fn check_postgres(settings: &ServeSettings) -> Result<(), StartError> {
    let url = &settings.postgres.postgres_url;
    let explain = |error: ConnectError| {
        let text = format!("PostgreSQL at {url} ({error}); {}", error.advice());
        if error.is_refusal() { StartError::Settings(text) } else { StartError::Unreachable(text) }
    };
    let (one, other) = (postgres_single(url.expose()).await, postgres_single(url.expose()).await);
    let (one, other) = (one.map_err(explain)?, other.map_err(explain)?);
    let facts = timeout(FACTS_WITHIN, PostgresFacts::read(&one, &other)).await;
    let facts = facts.map_err(|_| explain(ConnectError::Silent))?.map_err(|error| explain(error.into()))?;
    let danger = |allow_data_loss| facts.danger(settings.postgres.postgres_pool, allow_data_loss);
    if let Some(danger) = danger(true) {
        return Err(StartError::Settings(danger.to_string()));
    }
    // `doctor` fails for this. Whoever starts all the same, in a test perhaps, hears it.
    if let Some(danger) = danger(settings.redis.allow_data_loss) {
        tracing::error!("{danger}");
    }
    migrations::run(url.expose()).await.map_err(|error| match error {
        MigrateError::Misfit(misfit) => StartError::Settings(format!("PostgreSQL at {url}: {misfit}")),
        error => {
            StartError::Unreachable(format!("PostgreSQL at {url} ({error}); may this user create tables?"))
        }
    })?;
    Ok(())
}

async fn connect_redis(settings: &ServeSettings, site: Site) -> Result<Redis, StartError> {
    let url = &settings.redis.redis_url;
    let instance = Uuid::new_v4().simple().to_string()[..12].to_owned();
    let unreachable =
        |error: String| StartError::Unreachable(format!("Redis at {url} ({error}); is it running?"));
    for Finding { grade, subject, text } in review(&site, &settings.redis).await {
        match grade {
            Grade::Ok => {}
            Grade::Warn => tracing::warn!("{subject}: {text}"),
            Grade::Fail => return Err(StartError::Settings(text)),
            Grade::Away => return Err(unreachable(text)),
        }
    }
    Redis::connect(site, &instance).await.map_err(|error| unreachable(error.to_string()))
}

/// A socket that has that address, which a killed predecessor may have left in use; with others that want to share it.
pub fn bound(addr: SocketAddr, shared: bool) -> std::io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    // Taken over by each connection: nobody makes the kernel hold megabytes for him.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// An address that is ours, where nobody can connect yet.
struct Reserved {
    setting: &'static str,
    addr: SocketAddr,
    socket: TcpSocket,
}

impl Reserved {
    fn new(setting: &'static str, addr: SocketAddr, shared: bool) -> Result<Self, StartError> {
        let socket = bound(addr, shared).map_err(|error| cannot_listen(setting, addr, &error))?;
        Ok(Self { setting, addr, socket })
    }

    /// A listener with a long queue.
    fn listen(self) -> Result<TcpListener, StartError> {
        self.socket.listen(QUEUE).map_err(|error| cannot_listen(self.setting, self.addr, &error))
    }
}

fn cannot_listen(setting: &str, addr: SocketAddr, error: &std::io::Error) -> StartError {
    StartError::Settings(format!("{setting}: cannot listen on {addr}: {error}"))
}

fn address(listener: &TcpListener) -> SocketAddr {
    // A bound listener has an address.
    listener.local_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)))
}
