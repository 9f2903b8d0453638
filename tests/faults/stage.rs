//! Stores, instances and a sale.

use crate::{
    clock::Clock,
    clusters,
    hosts::Hosts,
    instance::{ADMIN_TOKEN, Instance, Wiring, waitroom},
    nodes::{Node, PATIENCE},
    proxy::Proxy,
    redises::Redises,
    standby::Standby,
};
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use tokio_postgres::config::Host;
use waitroom::{embedded::Postgres, store::postgres::connect};

/// How the servers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One Redis.
    Alone,
    /// One, with a clock that can be moved; so can the first instance's.
    Clocked,
    /// A primary and a replica behind Sentinels; what nobody confirms is told all the same.
    Replica,
    /// A primary and so many replicas behind Sentinels; one of them confirms what is told.
    Confirmed(usize),
    /// A cluster of three, and a replica of the one that has the sale.
    Cluster,
    /// One Redis; each instance is a host of its own.
    Hosts,
}

impl Topology {
    pub fn replicas(self) -> usize {
        match self {
            Self::Replica => 1,
            Self::Confirmed(replicas) => replicas,
            _ => 0,
        }
    }

    /// How many replicas confirm what is told.
    pub fn waits_for(self) -> u32 {
        u32::from(matches!(self, Self::Confirmed(_)))
    }
}

/// The sale's name.
pub const SALE: &str = "faults";

/// One sale on two instances.
pub struct Stage {
    pub instances: Vec<Instance>,
    /// Others that came, and will go.
    pub spares: Vec<Instance>,
    pub redis: Redises,
    pub postgres: Postgres,
    /// What has taken PostgreSQL's place, or is about to.
    pub standby: Option<Standby>,
    pub folder: tempfile::TempDir,
    pub hosts: Option<Hosts>,
    pub topology: Topology,
}

impl Stage {
    pub async fn set(topology: Topology) -> Self {
        let folder = clusters::folder();
        clusters::put(&folder.path().join("postgres"));
        let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
        sql(&postgres.url(), "ALTER SYSTEM SET recovery_init_sync_method = syncfs").await;
        sql(&postgres.url(), "SELECT pg_reload_conf()").await;
        let redis = Redises::start(topology);
        let hosts = (topology == Topology::Hosts).then(|| Hosts::make(2));
        let mut stage = Self {
            instances: Vec::new(),
            spares: Vec::new(),
            redis,
            postgres,
            standby: None,
            folder,
            hosts,
            topology,
        };
        for i in 0..2 {
            let wiring = stage.wiring(i);
            let instance = Instance::start(wiring, None).await;
            assert!(instance.is_up(), "the server refuses to start");
            stage.instances.push(instance);
        }
        stage
    }

    /// Another instance, which shares the address of this one: the kernel parts the visitors between them.
    pub async fn start_beside(&self, i: usize) -> Instance {
        let beside = self.instances[i].public.clone();
        Instance::start(self.wiring(i), Some(beside)).await
    }

    fn wiring(&self, i: usize) -> Wiring {
        let url = self.postgres.url();
        let config: tokio_postgres::Config = url.parse().unwrap();
        let Host::Unix(sockets) = &config.get_hosts()[0] else { panic!("a Unix socket") };
        let postgres = Proxy::before_postgres(sockets);
        let (database, _) = url.split_once('?').unwrap();
        let postgres_url = format!("{database}?host={}&user=waitroom", postgres.folder().display());
        let alone = matches!(self.topology, Topology::Alone | Topology::Clocked);
        let redis = alone.then(|| Proxy::before_redis(&self.redis.nodes[0].socket()));
        let redis_url = match (&redis, &self.hosts) {
            (Some(proxy), _) => format!("redis+unix://{}", proxy.socket().display()),
            (None, Some(hosts)) => format!("redis://{}:{}", hosts.stores(), self.redis.nodes[0].port),
            (None, None) => self.redis.url(),
        };
        let clock = (self.topology == Topology::Clocked && i == 0).then(Clock::right);
        let host = self.hosts.as_ref().map(|hosts| (hosts.namespace(i), hosts.address(i)));
        let replicas = self.topology.waits_for();
        Wiring { redis_url, redis, postgres_url, postgres, clock, replicas, host }
    }

    /// The Redis that has the line, where there is one.
    pub fn redis(&mut self) -> &mut Node {
        &mut self.redis.nodes[0]
    }

    /// The sale, not open yet.
    pub fn make_sale(&self, settings: &[&str]) {
        self.operate(&[&["sale", "create", SALE, "--anonymous"], settings].concat());
    }

    pub fn open_sale(&self) {
        self.operate(&["sale", "open", SALE]);
    }

    fn operate(&self, words: &[&str]) {
        let mut sale = waitroom(words);
        sale.arg(format!("--admin-listen={}", self.instances[0].admin));
        let done = sale.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(done.success(), "{words:?}");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }

    /// Waits until every instance takes newcomers in again; how long that took.
    pub async fn back_to_normal(&mut self) -> Duration {
        let began = Instant::now();
        for i in 0..self.instances.len() {
            while !self.takes_in(i).await {
                assert!(began.elapsed() < PATIENCE, "instance {i} takes nobody in any more");
                self.instances[i].see_to_it();
                sleep(Duration::from_millis(100)).await;
            }
        }
        began.elapsed()
    }

    /// Waits until everything that happened is on record: an instance that left has its lease for some seconds more.
    pub async fn journaled(&self) {
        let client = connect::postgres_single(&self.postgres.url()).await.unwrap();
        let key = format!("waitroom:{{{SALE}}}:sale");
        let began = Instant::now();
        loop {
            let home = &self.redis.nodes[self.redis.home().unwrap()];
            let line: (i64, i64) = home.say(&["HMGET", &key, "epoch", "n"]);
            // None before somebody writes it.
            let head = client.query_opt("SELECT epoch, n FROM journal_heads", &[]).await.unwrap();
            let head: Option<(i64, i64)> = head.map(|head| (head.get(0), head.get(1)));
            if head >= Some(line) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "the journal has {head:?}, and the line is at {line:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Whether a newcomer gets a place at that instance. He goes again at once: the line is the crowd's.
    async fn takes_in(&self, i: usize) -> bool {
        let url = format!("{}/v1/sales/{SALE}/places", self.instances[i].url());
        let come_and_go = move || {
            let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(3)));
            let agent: ureq::Agent = config.build().into();
            let mut joined = agent.post(&url).send_empty().ok()?;
            let said: Value = joined.body_mut().read_json().ok()?;
            let bearer = format!("Bearer {}", said["place"].as_str()?);
            let _ = agent.delete(format!("{url}/me")).header("Authorization", bearer).call();
            Some(())
        };
        tokio::task::spawn_blocking(come_and_go).await.unwrap().is_some()
    }

    /// The operator's token.
    pub fn admin_token(&self) -> &'static str {
        ADMIN_TOKEN
    }
}

/// Said to PostgreSQL itself.
pub async fn sql(url: &str, text: &str) {
    connect::postgres_single(url).await.unwrap().batch_execute(text).await.unwrap();
}
