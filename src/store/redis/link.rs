//! A connection to Redis that many share. It ends when Redis, or what is behind its address now, is of no use any more:
//! an answer that only a replica gives, replicas that do not confirm, or nothing within the time. Another is made with the
//! next call, to whoever is behind the address then, and not at once after one that failed. Each connection knows which
//! process it leads to.
//!
//! Where replicas are waited for, `WAIT` follows each command on the same connection (on another it proves nothing), and
//! nobody hears an answer before as many have all that it rests upon, also what others wrote before.

use super::{
    find::{RunId, failed},
    site::Site,
    slot::Slot,
    trouble::Trouble,
};
use futures_util::future::join;
use redis::{
    Cmd, FromRedisValue, Pipeline, RedisFuture, RedisResult, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a call may take before it counts as failed.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// A node whose replicas confirm nothing for so long tells nobody anything any more.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after the first connection that could not be made, or was of no use; doubled with each …
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this. A random part of up to a half is taken off: many instances come back at the same moment.
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

/// Which node: the one that has this slot, for as long as it has it.
#[derive(Clone)]
pub(super) struct Whose {
    pub site: Arc<Site>,
    pub slot: Slot,
    pub tenure: Tenure,
}

/// A shared connection; cheap to clone.
#[derive(Clone)]
pub struct Link(Arc<Inner>);

struct Inner {
    whose: Whose,
    state: Mutex<State>,
    /// Held by whoever connects; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<Connected>,
    made: u64,
    failures: u32,
    /// Not before this is another connection tried, and why it failed.
    pause: Option<(Instant, String)>,
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
    pub(super) fn new(whose: Whose) -> Self {
        let (state, connecting) = Default::default();
        Self(Arc::new(Inner { whose, state, connecting }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> Option<Connected> {
        let state = self.state();
        state.connection.clone().filter(|connected| connected.tenure == self.0.whose.tenure.now())
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
        if let Some((_, why)) = self.state().pause.as_ref().filter(|(until, _)| Instant::now() < *until) {
            return Err(failed(format!("not connected, another try is due soon: {why}")));
        }
        let Whose { site, slot, tenure } = &self.0.whose;
        let made = site.open(*slot, RESPONSE_TIMEOUT).await;
        let mut state = self.state();
        match made {
            Ok((connection, run_id)) => {
                state.made += 1;
                let tenure = tenure.meets(&run_id);
                let connected = Connected { number: state.made, tenure, run_id, connection };
                state.connection = Some(connected.clone());
                Ok(connected)
            }
            Err(error) => {
                state.pause(error.to_string());
                Err(error)
            }
        }
    }

    /// Makes the call, and waits for the replicas that must have what it answers.
    async fn call<T>(
        &self,
        connected: &Connected,
        call: impl Future<Output = RedisResult<T>>,
        of_answer: impl Fn(&T) -> Option<Trouble>,
    ) -> RedisResult<T> {
        let site = &self.0.whose.site;
        let of = |result: &RedisResult<T>| result.as_ref().map_or_else(Trouble::of_error, &of_answer);
        if site.replicas == 0 {
            let result = call.await;
            self.judge(connected, of(&result));
            return result;
        }
        // Polled in this order, so that it is sent in this order.
        let mut behind = connected.connection.clone();
        let wait = site.wait(CONFIRM_TIMEOUT);
        let (result, confirmed) = join(call, behind.req_packed_command(&wait)).await;
        let confirmed =
            confirmed.is_ok_and(|count| u32::from_redis_value(count).is_ok_and(|n| n >= site.replicas));
        let trouble = of(&result).or_else(|| (!confirmed).then_some(Trouble::Unconfirmed));
        self.judge(connected, trouble);
        match trouble {
            Some(Trouble::Unconfirmed) => Err(unconfirmed(site)),
            _ => result,
        }
    }

    /// Looks at what came of a call, and ends the connection if it is of no use any more.
    fn judge(&self, connected: &Connected, trouble: Option<Trouble>) {
        let mut state = self.state();
        let Some(trouble) = trouble else {
            (state.failures, state.pause) = (0, None);
            return;
        };
        if trouble.is_of_node() {
            self.0.whose.tenure.end(connected.tenure);
        }
        if state.connection.as_ref().is_some_and(|current| current.number == connected.number) {
            state.connection = None;
            state.pause(trouble.why().to_owned());
            // Who has the slot now is known, and ready.
            if trouble == Trouble::Moved && state.failures == 1 {
                state.pause = None;
            }
            tracing::warn!("a connection to Redis ends and another is made: {}", trouble.why());
        }
    }
}

fn unconfirmed(site: &Site) -> redis::RedisError {
    failed(format!(
        "fewer than {} replicas (redis_replicas) confirmed it within {CONFIRM_TIMEOUT:?}",
        site.replicas
    ))
}

impl State {
    fn pause(&mut self, why: String) {
        let pause = PAUSE_MAX.min(PAUSE_MIN * 2u32.saturating_pow(self.failures));
        self.failures += 1;
        let random = getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX));
        self.pause = Some((Instant::now() + pause.mul_f64(1.0 - random / 2.0), why));
    }
}

impl ConnectionLike for Bound {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let call = self.connected.connection.clone();
            let call = async move { { call }.req_packed_command(cmd).await };
            self.link.call(&self.connected, call, Trouble::of_value).await
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let call = self.connected.connection.clone();
            let call = async move { { call }.req_packed_commands(pipeline, offset, count).await };
            let trouble = |values: &Vec<Value>| values.iter().find_map(Trouble::of_value);
            self.link.call(&self.connected, call, trouble).await
        })
    }

    fn get_db(&self) -> i64 {
        self.link.get_db()
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
        self.0.whose.site.db()
    }
}

/// A connection of one's own, for reads that wait until there is something to read.
pub struct Own {
    whose: Whose,
    since: u64,
    run_id: RunId,
    connection: MultiplexedConnection,
}

impl Own {
    /// Connects. A call on it may take so long.
    pub(super) async fn connect(whose: Whose, response: Duration) -> RedisResult<Self> {
        let (connection, run_id) = whose.site.open(whose.slot, response).await?;
        Ok(Self { since: whose.tenure.meets(&run_id), whose, run_id, connection })
    }

    /// One that was connected in this tenure, to this process.
    pub(super) fn of(whose: Whose, since: u64, run_id: RunId, connection: MultiplexedConnection) -> Self {
        Self { whose, since, run_id, connection }
    }

    /// The process that answers.
    pub fn run_id(&self) -> &RunId {
        &self.run_id
    }

    pub(super) fn db(&self) -> i64 {
        self.whose.site.db()
    }

    /// Whether its node is still the one that has the keys.
    pub fn is_good(&self) -> bool {
        self.whose.tenure.now() == self.since
    }

    /// What it answers by itself; nobody has confirmed that.
    pub async fn ask(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let result = self.connection.req_packed_command(cmd).await;
        let trouble = result.as_ref().map_or_else(Trouble::of_error, Trouble::of_value);
        if trouble.is_some_and(Trouble::is_of_node) {
            self.whose.tenure.end(self.since);
        }
        result.and_then(Value::extract_error)
    }

    /// Waits until enough replicas have all that was read on it until now.
    pub async fn confirm(&mut self) -> RedisResult<()> {
        let Whose { site, tenure, .. } = &self.whose;
        if site.replicas == 0 {
            return Ok(());
        }
        // WAIT waits for what was written before the last command came in, and a read that waited came in long ago.
        let (mut now, mut behind) = (self.connection.clone(), self.connection.clone());
        let (ping, wait) = (redis::cmd("PING"), site.wait(CONFIRM_TIMEOUT));
        let (_, count) = join(now.req_packed_command(&ping), behind.req_packed_command(&wait)).await;
        if count.is_ok_and(|count| u32::from_redis_value(count).is_ok_and(|n| n >= site.replicas)) {
            return Ok(());
        }
        tenure.end(self.since);
        Err(unconfirmed(site))
    }
}
