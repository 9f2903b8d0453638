//! A connection to Redis that many share. It ends when Redis, or what is behind its address now, is of no use any more:
//! an answer that only a replica gives, or none within the time. Another is made with the next call, to the address as
//! it resolves then, and not at once after one that failed. Each connection knows which process it leads to.

use super::facts::RedisFacts;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult,
    ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long a call may take before it counts as failed.
pub(super) const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long connecting may take.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after the first connection that could not be made, or was of no use; doubled with each …
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Which server is believed to be behind the address: rises when one has shown that it is not the one that is wanted, or
/// when another process is found there. All that was connected before is of no use then.
#[derive(Clone, Default)]
pub(super) struct Tenure(Arc<Mutex<Server>>);

#[derive(Default)]
struct Server {
    number: u64,
    run_id: Option<RunId>,
}

/// Names one process of Redis: it changes with every start.
pub type RunId = Arc<str>;

impl Tenure {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one now.
    pub fn now(&self) -> u64 {
        self.server().number
    }

    /// Over, unless it was over already.
    fn end(&self, tenure: u64) {
        let mut server = self.server();
        if server.number == tenure {
            server.number += 1;
        }
    }

    /// A connection leads to this process. Answers the tenure that it belongs to.
    pub fn meets(&self, run_id: &RunId) -> u64 {
        let mut server = self.server();
        if server.run_id.replace(run_id.clone()).is_some_and(|before| before != *run_id) {
            server.number += 1;
        }
        server.number
    }
}

/// A shared connection; cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    client: Client,
    tenure: Tenure,
    state: Mutex<State>,
    /// Held by whoever connects; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
    db: i64,
}

#[derive(Default)]
struct State {
    connection: Option<Connected>,
    made: u64,
    failures: u32,
    /// Not before this is another connection tried.
    pause_until: Option<Instant>,
}

#[derive(Clone)]
struct Connected {
    number: u64,
    tenure: u64,
    run_id: RunId,
    connection: MultiplexedConnection,
}

/// One connection, to one process: what is asked over it goes nowhere else.
pub struct Bound {
    link: Link,
    connected: Connected,
}

impl Bound {
    /// The process that answers.
    pub fn run_id(&self) -> &RunId {
        &self.connected.run_id
    }
}

impl Link {
    /// Not connected yet.
    pub(super) fn new(client: Client, tenure: Tenure) -> Self {
        let db = client.get_connection_info().redis_settings().db();
        let (state, connecting) = Default::default();
        Self(Arc::new(Inner { client, tenure, state, connecting, db }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Connected> {
        let state = self.state();
        state.connection.clone().filter(|connected| connected.tenure == self.0.tenure.now())
    }

    /// The connection as it is now, made if need be.
    pub async fn bound(&self) -> RedisResult<Bound> {
        Ok(Bound { link: self.clone(), connected: self.connected().await? })
    }

    async fn connected(&self) -> RedisResult<Connected> {
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        let _one_at_a_time = self.0.connecting.lock().await;
        if let Some(connected) = self.current() {
            return Ok(connected);
        }
        if self.state().pause_until.is_some_and(|until| Instant::now() < until) {
            return Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "not connected; another try is due soon",
            )
            .into());
        }
        let made = timeout(2 * CONNECTION_TIMEOUT, self.connect()).await;
        let made = made.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        let mut state = self.state();
        match made {
            Ok((connection, run_id)) => {
                state.made += 1;
                let tenure = self.0.tenure.meets(&run_id);
                let connected = Connected { number: state.made, tenure, run_id, connection };
                state.connection = Some(connected.clone());
                Ok(connected)
            }
            Err(error) => {
                state.pause();
                Err(error)
            }
        }
    }

    async fn connect(&self) -> RedisResult<(MultiplexedConnection, RunId)> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let mut connection = self.0.client.get_multiplexed_async_connection_with_config(&config).await?;
        let run_id = run_id(&mut connection).await?;
        Ok((connection, run_id))
    }

    /// Looks at what came of a call, and ends the connection if it is of no use any more.
    fn judge(&self, connected: &Connected, trouble: Option<Trouble>) {
        let mut state = self.state();
        let Some(trouble) = trouble else {
            (state.failures, state.pause_until) = (0, None);
            return;
        };
        if trouble == Trouble::OtherServer {
            self.0.tenure.end(connected.tenure);
        }
        if state.connection.as_ref().is_some_and(|current| current.number == connected.number) {
            state.connection = None;
            state.pause();
            tracing::warn!("a connection to Redis ends and another is made: {}", trouble.why());
        }
    }
}

impl State {
    fn pause(&mut self) {
        let pause = PAUSE_MAX.min(PAUSE_MIN * 2u32.saturating_pow(self.failures));
        self.failures += 1;
        self.pause_until = Some(Instant::now() + pause);
    }
}

/// Why a connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// It leads to a server that is not the primary, not the one for these keys, or not ready.
    OtherServer,
    /// No answer came within the time, or none that can be read: what comes next on it may be anyone's.
    Broken,
}

impl Trouble {
    fn why(self) -> &'static str {
        match self {
            Self::OtherServer => "it answers as a replica does, or as another node, or is still loading",
            Self::Broken => "it gave no answer within the time, or broke",
        }
    }

    fn of_error(error: &RedisError) -> Option<Self> {
        match error.kind() {
            ErrorKind::Server(kind) => Self::of_kind(kind),
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => Some(Self::Broken),
            _ => None,
        }
    }

    fn of_kind(kind: ServerErrorKind) -> Option<Self> {
        use ServerErrorKind::{Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly};
        let other = matches!(kind, Ask | BusyLoading | ClusterDown | MasterDown | Moved | ReadOnly);
        other.then_some(Self::OtherServer)
    }

    /// An error that the server gave comes as a value, alone or among others.
    fn of_value(value: &Value) -> Option<Self> {
        match value {
            Value::ServerError(error) => error.kind().and_then(Self::of_kind),
            Value::Array(values) => values.iter().find_map(Self::of_value),
            _ => None,
        }
    }
}

/// Which process answers.
pub(super) async fn run_id<C: ConnectionLike>(connection: &mut C) -> RedisResult<RunId> {
    let info: String = redis::cmd("INFO").arg("server").query_async(connection).await?;
    Ok(RedisFacts::parse(&info).run_id.into())
}

impl ConnectionLike for Bound {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let result = self.connected.connection.req_packed_command(cmd).await;
            let trouble = result.as_ref().map_or_else(Trouble::of_error, Trouble::of_value);
            self.link.judge(&self.connected, trouble);
            result
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let result = self.connected.connection.req_packed_commands(pipeline, offset, count).await;
            let trouble = |values: &Vec<Value>| values.iter().find_map(Trouble::of_value);
            self.link.judge(&self.connected, result.as_ref().map_or_else(Trouble::of_error, trouble));
            result
        })
    }

    fn get_db(&self) -> i64 {
        self.link.0.db
    }
}

/// Over whichever connection there is.
impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move { self.bound().await?.req_packed_command(cmd).await })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move { self.bound().await?.req_packed_commands(pipeline, offset, count).await })
    }

    fn get_db(&self) -> i64 {
        self.0.db
    }
}
