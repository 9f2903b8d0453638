//! What a Redis is, and whether it may be trusted with a line. All from INFO and a try: managed Redis forbids CONFIG.

use redis::{RedisResult, Script, aio::ConnectionLike};
use std::{collections::HashMap, sync::LazyLock};

/// How long the key of a proof lives.
const PROOF_MS: u64 = 10_000;

/// Writes as the line's scripts do.
static PROOF: LazyLock<Script> =
    LazyLock::new(|| Script::new("return redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])"));

/// The key that an instance's proofs write.
pub(super) fn proof_key(instance: &str) -> String {
    format!("waitroom:probe:{instance}")
}

/// Runs a script that writes a key of `instance`, as the line's do: an error of one that is out of memory, or whose disk is
/// full, or that is a replica, or whose user may run no scripts. It answers all else, and is of no use.
pub async fn takes_joins<C: ConnectionLike>(connection: &mut C, instance: &str) -> RedisResult<()> {
    let mut proof = PROOF.prepare_invoke();
    proof.key(proof_key(instance)).arg(PROOF_MS);
    proof.invoke_async(connection).await
}

/// The facts of one Redis server that decide whether it may hold a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisFacts {
    /// What it is and its version: `Redis 7.0.15`, `Valkey 9.1.0`.
    pub version: String,
    /// The version of Redis that it speaks like.
    pub redis_version: String,
    /// Every write is appended to a file before long.
    pub aof_enabled: bool,
    /// What Redis does when memory is full; only `noeviction` keeps a line.
    pub maxmemory_policy: String,
    /// Bytes; 0 is no limit.
    pub maxmemory: u64,
    /// Bytes in use.
    pub used_memory: u64,
    /// Replicas that are connected now.
    pub connected_replicas: u32,
    /// `master` or `slave`.
    pub role: String,
    /// Changes with every start of the server.
    pub run_id: String,
    /// Part of a Redis Cluster, where a plain URL reaches only some of the keys.
    pub cluster_enabled: bool,
    /// What a primary says to a script that writes, if it refuses it.
    pub refuses: Option<String>,
    /// Watches others and keeps nothing.
    pub is_sentinel: bool,
    /// What it runs on; managed services say so here.
    pub os: String,
}

/// Refusals that are no passing state of a server that starts or changes.
const REFUSALS: [&str; 5] = ["NOPERM", "NOREPLICAS", "OOM", "MISCONF", "ERR"];

impl RedisFacts {
    /// Asks the server, and writes a key of `instance` that is gone soon.
    pub async fn read<C: ConnectionLike>(connection: &mut C, instance: &str) -> RedisResult<Self> {
        let text: String = redis::cmd("INFO").query_async(connection).await?;
        let mut facts = Self::parse(&text);
        // A replica, or a node of a cluster, refuses for what it is.
        let is_asked = facts.role == "master" && !facts.cluster_enabled;
        if is_asked && let Err(error) = takes_joins(connection, instance).await {
            let code = error.code().filter(|code| REFUSALS.contains(code)).map(str::to_owned);
            let Some(code) = code else { return Err(error) };
            // What follows is the script's hash.
            let why = error.detail().and_then(|why| why.split(" script: ").next()).unwrap_or_default();
            facts.refuses = Some(format!("{code}: {why}"));
        }
        Ok(facts)
    }

    /// Reads the text of INFO. What a server does not tell counts as the worse case.
    pub fn parse(info: &str) -> Self {
        let fields: HashMap<&str, &str> =
            info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let text = |key: &str| fields.get(key).copied().unwrap_or_default().to_owned();
        let number = |key: &str| fields.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
        Self {
            version: match fields.get("valkey_version") {
                Some(version) => format!("Valkey {version}"),
                None => format!("Redis {}", text("redis_version")),
            },
            redis_version: text("redis_version"),
            aof_enabled: text("aof_enabled") == "1",
            maxmemory_policy: text("maxmemory_policy"),
            maxmemory: number("maxmemory"),
            used_memory: number("used_memory"),
            connected_replicas: u32::try_from(number("connected_slaves")).unwrap_or(u32::MAX),
            role: text("role"),
            run_id: text("run_id"),
            cluster_enabled: text("cluster_enabled") == "1",
            refuses: None,
            // Valkey 9 calls it otherwise.
            is_sentinel: ["redis_mode", "server_mode"].iter().any(|key| text(key) == "sentinel"),
            os: text("os"),
        }
    }

    /// The version's first number; 0 if the server does not say.
    pub fn major_version(&self) -> u32 {
        self.redis_version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
    }

    /// Where its parameters are set.
    pub fn place_of_parameters(&self) -> &'static str {
        match self.os.starts_with("Amazon") {
            true => "in its parameter group",
            false => "in redis.conf, or by CONFIG SET",
        }
    }

    /// Why a sale must not run on this server, or on one that may take its place, and what to do; `None` if it may.
    /// `allow_data_loss` is the operator's word that a lost line is acceptable, nothing else overrules.
    pub fn danger(&self, redis_replicas: u32, allow_data_loss: bool) -> Option<String> {
        if self.major_version() < 7 {
            return Some(format!("{} is too old: use Redis 7 or newer (or Valkey)", self.version));
        }
        if allow_data_loss {
            return None;
        }
        // A cache would throw the line away under memory pressure, and nobody would see it go.
        if self.maxmemory_policy != "noeviction" {
            return Some(format!(
                "Redis evicts keys when memory is full (maxmemory_policy {}): set it to noeviction {}, or set \
                 allow_data_loss to run on it all the same",
                self.maxmemory_policy,
                self.place_of_parameters()
            ));
        }
        if !self.aof_enabled && redis_replicas == 0 {
            return Some(format!(
                "Redis keeps nothing over a restart (aof_enabled 0 and redis_replicas 0): set `appendonly yes` and \
                 `appendfsync always` {}, or set redis_replicas, or set allow_data_loss to run on it all the same",
                self.place_of_parameters()
            ));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str = "# Server\r\nredis_version:7.0.15\r\nrun_id:abc\r\n# Memory\r\nused_memory:1000\r\nmaxmemory:0\r\n\
                        maxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n# Replication\r\nrole:master\r\n\
                        connected_slaves:2\r\n# Cluster\r\ncluster_enabled:0\r\n";

    #[test]
    fn reads_info() {
        let facts = RedisFacts::parse(INFO);
        assert_eq!(facts.version, "Redis 7.0.15");
        assert!(facts.aof_enabled && !facts.cluster_enabled);
        assert_eq!((facts.connected_replicas, facts.maxmemory, facts.used_memory), (2, 0, 1000));
        assert_eq!((facts.role.as_str(), facts.run_id.as_str()), ("master", "abc"));
        assert_eq!(facts.danger(0, false), None);
    }

    #[test]
    fn no_aof_is_dangerous_unless_replicated_or_allowed() {
        let facts = RedisFacts { aof_enabled: false, ..RedisFacts::parse(INFO) };
        assert!(facts.danger(0, false).unwrap().contains("allow_data_loss"));
        assert_eq!(facts.danger(1, false), None);
        assert_eq!(facts.danger(0, true), None);
    }

    #[test]
    fn eviction_is_dangerous_even_with_replicas() {
        let facts = RedisFacts { maxmemory_policy: "allkeys-lru".into(), ..RedisFacts::parse(INFO) };
        assert!(facts.danger(3, false).unwrap().contains("noeviction"));
        assert_eq!(facts.danger(0, true), None);
    }

    #[test]
    fn an_old_server_cannot_be_allowed() {
        let old = RedisFacts { redis_version: "6.2.1".into(), ..RedisFacts::parse(INFO) };
        assert!(old.danger(0, true).unwrap().contains("too old"));
    }

    #[test]
    fn a_managed_one_is_set_elsewhere() {
        let facts =
            RedisFacts { os: "Amazon ElastiCache".into(), aof_enabled: false, ..RedisFacts::parse(INFO) };
        assert!(facts.danger(0, false).unwrap().contains("parameter group"));
    }

    #[test]
    fn valkey_is_called_by_its_name() {
        let facts =
            RedisFacts::parse("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.0\r\n");
        assert_eq!((facts.version.as_str(), facts.major_version()), ("Valkey 9.1.0", 7));
    }

    #[test]
    fn silence_is_the_worse_case() {
        assert!(RedisFacts::parse("").danger(0, false).is_some());
    }
}
