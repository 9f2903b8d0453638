//! Who is behind the address now: found out anew for each connection. All who may know are asked at once, and whoever most
//! of them name is tried first; only a node that itself says that it is a primary, and that has its replicas where they are
//! to be waited for, is used.

use super::{
    address::Address,
    facts::RedisFacts,
    site::{Kind, Site},
    slot::Slot,
};
use futures_util::future::join_all;
use redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisError, RedisResult, Value,
    aio::MultiplexedConnection,
};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long connecting may take.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// How long each of those who may know has to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a new connection waits for its node's replicas.
const PROOF_TIMEOUT: Duration = Duration::from_secs(1);
/// Nodes of a cluster that are asked at most.
const ASKED_MAX: usize = 12;

/// Names one process of Redis: it changes with every start.
pub type RunId = Arc<str>;

/// What was last said of who is where. Many connect at the same moment, after a failover: one asks for all of them.
#[derive(Default)]
pub(super) struct Asked {
    last: tokio::sync::Mutex<Option<(Instant, Arc<Said>)>>,
    /// Nodes that others told of: those that the URL names may be gone by now. As they are announced.
    told_of: Mutex<Vec<Address>>,
}

/// What all who may know said.
struct Said {
    answers: Vec<Answer>,
    /// Why the others did not.
    silent: Vec<String>,
}

/// What one of them said.
enum Answer {
    /// A Sentinel: where the primary is, if it knows one of that name.
    Primary(Option<Address>),
    /// A node of a cluster: who has which slots.
    Slots(Vec<Range>),
}

/// Slots that one node has.
pub(super) struct Range {
    pub first: u16,
    pub last: u16,
    /// The node, and then its replicas.
    pub nodes: Vec<Address>,
}

impl Site {
    /// A connection to the primary that has the slot, which has proved that it is one.
    pub(super) async fn open(
        &self,
        slot: Slot,
        response: Duration,
    ) -> RedisResult<(MultiplexedConnection, RunId)> {
        let (_, connection, run_id) = self.find(slot, response).await?;
        Ok((connection, run_id))
    }

    /// The same, and how more such connections are made.
    pub(super) async fn find(
        &self,
        slot: Slot,
        response: Duration,
    ) -> RedisResult<(Client, MultiplexedConnection, RunId)> {
        let tried = async |client: Client| {
            let (connection, run_id) = self.prove(connect(&client, response).await?).await?;
            Ok::<_, RedisError>((client, connection, run_id))
        };
        if let Kind::Single = self.kind {
            return tried(self.single()?).await;
        }
        let mut first_problem = None;
        for announced in self.candidates(slot).await? {
            match tried(self.node_at(&announced)?).await {
                Ok(found) => return Ok(found),
                Err(error) => first_problem.get_or_insert(self.unreachable(&announced, &error)),
            };
        }
        Err(failed(first_problem.unwrap_or_else(|| "nobody to connect to".to_owned())))
    }

    /// The connection, if it leads to a primary that has its replicas; and which process that is.
    async fn prove(
        &self,
        mut connection: MultiplexedConnection,
    ) -> RedisResult<(MultiplexedConnection, RunId)> {
        let proof = async {
            let (role, info): (Vec<Value>, String) =
                redis::pipe().cmd("ROLE").cmd("INFO").arg("server").query_async(&mut connection).await?;
            let role = role.into_iter().next().and_then(|role| String::from_redis_value(role).ok());
            match role.as_deref() {
                Some("master") => self.confirm(&mut connection, PROOF_TIMEOUT).await?,
                Some("sentinel") => return Err(failed("this is a Sentinel: give redis-sentinel://…/name")),
                role => return Err(failed(format!("this is no primary ({})", role.unwrap_or("no role")))),
            }
            Ok(RedisFacts::parse(&info).run_id.into())
        };
        let silent = || Err(failed(format!("no answer within {CONNECTION_TIMEOUT:?}")));
        let run_id = timeout(CONNECTION_TIMEOUT, proof).await.unwrap_or_else(|_| silent())?;
        Ok((connection, run_id))
    }

    /// Waits until as many replicas as are wanted have all that this connection has heard of.
    pub(super) async fn confirm(
        &self,
        connection: &mut MultiplexedConnection,
        patience: Duration,
    ) -> RedisResult<()> {
        if self.replicas == 0 {
            return Ok(());
        }
        let confirmed: u32 = self.wait(patience).query_async(connection).await?;
        if confirmed >= self.replicas {
            return Ok(());
        }
        Err(failed(format!(
            "{confirmed} of {} replicas (redis_replicas) confirm what it does",
            self.replicas
        )))
    }

    pub(super) fn wait(&self, patience: Duration) -> Cmd {
        let mut wait = redis::cmd("WAIT");
        wait.arg(self.replicas).arg(patience.as_millis() as u64);
        wait
    }

    pub(super) fn unreachable(&self, announced: &Address, error: &RedisError) -> String {
        if !error.is_io_error() {
            return format!("{announced}: {error}");
        }
        let reachable = self.addresses.reachable(announced);
        let by = if *announced == reachable { String::new() } else { format!(" by way of {reachable}") };
        format!(
            "{announced} is what the node announces, and it cannot be connected to from here{by} ({error}); if it is reached \
             at another address, set redis_addresses: {announced}=host:port"
        )
    }

    /// Who may be the primary that has the slot: whoever most name comes first.
    async fn candidates(&self, slot: Slot) -> RedisResult<Vec<Address>> {
        let said = self.ask().await;
        let mut votes: Vec<(Address, usize)> = Vec::new();
        for answer in &said.answers {
            let named = match answer {
                Answer::Primary(address) => address.as_ref(),
                Answer::Slots(ranges) => owner(ranges, slot),
            };
            let Some(named) = named else { continue };
            match votes.iter_mut().find(|(address, _)| address == named) {
                Some((_, count)) => *count += 1,
                None => votes.push((named.clone(), 1)),
            }
        }
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        if !votes.is_empty() {
            return Ok(votes.into_iter().map(|(address, _)| address).collect());
        }
        Err(failed(match &self.kind {
            _ if said.answers.is_empty() => said.silent.join("; "),
            Kind::Sentinel { master, .. } => format!("no Sentinel knows a primary of the name {master:?}"),
            _ => format!("no node of the cluster has slot {}", slot.0),
        }))
    }

    /// What was said by then to whoever asked after we came here.
    async fn ask(&self) -> Arc<Said> {
        let came = Instant::now();
        let mut last = self.asked.last.lock().await;
        if let Some((_, said)) = last.as_ref().filter(|(asked, _)| *asked >= came) {
            return said.clone();
        }
        let asked = Instant::now();
        let said = Arc::new(self.ask_all().await);
        *last = Some((asked, said.clone()));
        said
    }

    async fn ask_all(&self) -> Said {
        let (mut answers, mut silent) = (Vec::new(), Vec::new());
        let asking = self.who_may_know().into_iter().map(|(name, client)| async move {
            let answer = timeout(ASK_TIMEOUT, self.ask_one(client?, &name)).await;
            answer.unwrap_or_else(|_| Err(failed(format!("{name}: no answer within {ASK_TIMEOUT:?}"))))
        });
        for answer in join_all(asking).await {
            match answer {
                Ok(answer) => answers.push(answer),
                Err(error) => silent.push(error.to_string()),
            }
        }
        self.remember(&answers);
        Said { answers, silent }
    }

    fn who_may_know(&self) -> Vec<(Address, RedisResult<Client>)> {
        let named = |all: &[Address]| -> Vec<_> {
            all.iter().map(|address| (address.clone(), self.named_at(address))).collect()
        };
        match &self.kind {
            Kind::Single => Vec::new(),
            Kind::Sentinel { sentinels, .. } => named(sentinels),
            Kind::Cluster { seeds } => {
                let told_of = self.told_of().clone();
                let mut all = named(seeds);
                for address in told_of {
                    let reachable = self.addresses.reachable(&address);
                    if all.len() < ASKED_MAX && !seeds.contains(&reachable) {
                        all.push((reachable, self.node_at(&address)));
                    }
                }
                all
            }
        }
    }

    async fn ask_one(&self, client: Client, name: &Address) -> RedisResult<Answer> {
        let named = |error: RedisError| failed(format!("{name}: {error}"));
        let mut connection = connect(&client, ASK_TIMEOUT).await.map_err(named)?;
        if let Kind::Sentinel { master, .. } = &self.kind {
            let found: Option<(String, u16)> = redis::cmd("SENTINEL")
                .arg("GET-MASTER-ADDR-BY-NAME")
                .arg(master)
                .query_async(&mut connection)
                .await
                .map_err(named)?;
            return Ok(Answer::Primary(found.map(|(host, port)| Address { host, port })));
        }
        Ok(Answer::Slots(slots(&mut connection, name).await.map_err(named)?))
    }

    fn told_of(&self) -> std::sync::MutexGuard<'_, Vec<Address>> {
        self.asked.told_of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, answers: &[Answer]) {
        let mut nodes: Vec<Address> = Vec::new();
        for answer in answers {
            let Answer::Slots(ranges) = answer else { return };
            nodes.extend(ranges.iter().flat_map(|range| range.nodes.clone()));
        }
        nodes.sort_unstable();
        nodes.dedup();
        if !nodes.is_empty() {
            *self.told_of() = nodes;
        }
    }
}

/// A plain connection, which anyone may answer.
pub(super) async fn connect(client: &Client, response: Duration) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(Some(response));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Who has which slots, as the node of that name knows it.
pub(super) async fn slots(connection: &mut MultiplexedConnection, name: &Address) -> RedisResult<Vec<Range>> {
    let rows: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await?;
    // A node that knows no better name for itself is reached where it was asked.
    let node = |node: &Value| {
        let Value::Array(fields) = node else { return None };
        let host = Option::<String>::from_redis_value_ref(fields.first()?).ok()?;
        let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| name.host.clone());
        Some(Address { host, port: number(fields.get(1)?)? })
    };
    let range = |row: Vec<Value>| {
        let (first, last) = (number(row.first()?)?, number(row.get(1)?)?);
        Some(Range { first, last, nodes: row[2..].iter().filter_map(node).collect() })
    };
    Ok(rows.into_iter().filter_map(range).collect())
}

fn number(value: &Value) -> Option<u16> {
    u16::from_redis_value_ref(value).ok()
}

fn owner(ranges: &[Range], slot: Slot) -> Option<&Address> {
    ranges.iter().find(|range| (range.first..=range.last).contains(&slot.0))?.nodes.first()
}

pub(super) fn failed(problem: impl Into<String>) -> RedisError {
    io::Error::new(io::ErrorKind::NotConnected, problem.into()).into()
}
