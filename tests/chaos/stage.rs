//! A sale in a database of its own, instances that sell it, each behind proxies of its own, and visitors.

use crate::{clusters, proxy::Proxy};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinHandle, time::sleep, time::timeout};
use tokio_postgres::config::Host;
use waitroom::{
    drain::Drain,
    embedded::{Embedded, Postgres},
    room::{Room, health::Health, redeems::Redeem, rooms::Rooms},
    store::{
        bookings::Bookings,
        postgres::{connect, migrations},
        redis::{Redis, Site, redis_client},
        sales::Sales,
    },
};
use wire::domain::{
    audit::Actor,
    booking::{Booking, Wish},
    ids::{GrantKey, SaleId, VisitorId},
    line::{Join, JoinMode, Poll},
    phase::Phase,
    place::Stage as Standing,
    plan::{Plan, SeatIndex},
    refusal::Refusal,
    sale::{NewSale, SaleSettings, SaleState},
    seats::SeatSet,
};

/// Longer than everything that the server lets a visitor wait for.
const PATIENCE: Duration = Duration::from_secs(120);
/// Nobody here is ever absent.
const POLL_MS: u64 = 600_000;

/// Stores that several sales share.
pub struct World {
    pub stores: Embedded,
    _folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        let folder = clusters::folder();
        clusters::put(&folder.path().join("postgres"));
        Self { stores: Embedded::start(folder.path()).unwrap(), _folder: folder }
    }

    /// To be killed: PostgreSQL is quick to come back, since it does not sync each of its files first.
    pub async fn mortal() -> Self {
        let world = Self::new();
        let url = world.stores.postgres_url();
        run_sql(&url, "ALTER SYSTEM SET recovery_init_sync_method = syncfs").await;
        run_sql(&url, "SELECT pg_reload_conf()").await;
        world
    }

    /// For whoever neither kills nor fills them. They end with the last who uses them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let world = Arc::new(Self::new());
            *shared = Arc::downgrade(&world);
            world
        })
    }
}

/// Somebody whose turn it is.
#[derive(Clone, Debug)]
pub struct Holder {
    pub visitor: VisitorId,
    pub grant: GrantKey,
}

pub type Answer = Result<Booking, Refusal>;

/// One sale and all that was answered in it.
pub struct Stage {
    pub sale: SaleId,
    pub plan: Arc<Plan>,
    pub postgres_url: String,
    pub redis_url: String,
    pub answers: Mutex<Vec<Answered>>,
    _world: Option<Arc<World>>,
}

/// An answer that was given.
#[derive(Clone, Debug)]
pub struct Answered {
    pub holder: Holder,
    pub wish: Vec<SeatIndex>,
    pub answer: Answer,
}

pub fn settings(hold_ttl_s: u32) -> SaleSettings {
    SaleSettings {
        opens_at: None,
        rate: 10_000.0,
        max_active: 1_000,
        grant_ttl_s: 300,
        claim_s: 300,
        away_s: 600,
        max_seats: 4,
        hold_ttl_s,
    }
}

impl Stage {
    /// On the stores that all share.
    pub async fn shared(rows: usize, settings: SaleSettings) -> Self {
        let world = World::shared();
        let mut stage = Self::on(&world.stores.postgres, &world.stores.redis_url(), rows, settings).await;
        stage._world = Some(world);
        stage
    }

    /// An open sale of rows of ten seats. Its database has no other: instances open every sale that they find.
    pub async fn on(postgres: &Postgres, redis_url: &str, rows: usize, settings: SaleSettings) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("chaos{}", NEXT.fetch_add(1, Ordering::Relaxed));
        run_sql(&postgres.url(), &format!("CREATE DATABASE {name}")).await;
        let postgres_url = postgres.url().replace("/waitroom?", &format!("/{name}?"));
        migrations::run(&postgres_url).await.unwrap();
        let sale = SaleId::parse(&name).unwrap();
        let json = plan(rows);
        let plan = Plan::parse(json.as_bytes()).unwrap();
        let blocked = SeatSet::new(plan.seats.len());
        let new = NewSale {
            id: &sale,
            name: "Chaos",
            plan_json: json.as_bytes(),
            plan: &plan,
            settings: &settings,
            anonymous: true,
            blocked: &blocked,
        };
        let sales = Sales::new(connect::postgres_pool(&postgres_url, 1).unwrap());
        assert!(sales.create(&new, &Actor::admin()).await.unwrap());
        let open = |state: &mut SaleState| {
            state.command = Phase::Open;
            Ok::<_, ()>(())
        };
        let told = |_: &SaleState| serde_json::Value::Null;
        sales.update(&sale, plan.seats.len(), &Actor::admin(), open, told).await.unwrap().unwrap().unwrap();
        Self {
            sale,
            plan: Arc::new(plan),
            postgres_url,
            redis_url: redis_url.to_owned(),
            answers: Mutex::default(),
            _world: None,
        }
    }

    /// An instance with so many connections to PostgreSQL.
    pub async fn instance(&self, connections: usize) -> Instance {
        self.instance_with(connections, "").await
    }

    /// The same, with `options` of PostgreSQL's for each of them.
    pub async fn instance_with(&self, connections: usize, options: &str) -> Instance {
        let (postgres, redis) = self.proxies();
        let url = format!("{}{options}", self.behind(&postgres));
        let pool = connect::postgres_pool(&url, connections).unwrap();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("i{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let line = format!("redis+unix://{}", redis.socket().display());
        let line = Redis::connect(Site::parse(&line).unwrap(), &name).await.unwrap();
        let (leaving, left) = watch::channel(Drain::NotYet);
        let rooms = Rooms::new(line, pool.clone(), Arc::new(Health::default()), left);
        let room = rooms.get(&self.sale).await.unwrap().unwrap();
        let running = tokio::spawn(rooms.run());
        Instance { name, room, pool, postgres, redis, leaving, running }
    }

    /// A proxy before each store.
    pub fn proxies(&self) -> (Proxy, Proxy) {
        let config: tokio_postgres::Config = self.postgres_url.parse().unwrap();
        let Host::Unix(sockets) = &config.get_hosts()[0] else { panic!("a Unix socket") };
        let redis = PathBuf::from(self.redis_url.strip_prefix("redis+unix://").unwrap());
        (Proxy::before_postgres(sockets), Proxy::before_redis(&redis))
    }

    /// PostgreSQL's URL by way of the proxy.
    pub fn behind(&self, proxy: &Proxy) -> String {
        let (database, _) = self.postgres_url.split_once('?').unwrap();
        format!("{database}?host={}&user=waitroom", proxy.folder().display())
    }

    /// So many new visitors, whose turn it is.
    pub async fn holders(&self, instance: &Instance, count: usize) -> Vec<Holder> {
        let visitors: Vec<_> = (0..count).map(|_| VisitorId::anonymous()).collect();
        for visitor in &visitors {
            instance.room.line.join(join(visitor)).await.unwrap();
        }
        let mut holders = Vec::new();
        for visitor in visitors {
            let granted = async {
                loop {
                    let answer = instance
                        .room
                        .line
                        .poll(Poll { visitor: visitor.clone(), poll_ms: POLL_MS })
                        .await
                        .unwrap();
                    let granted = answer.standing.filter(|standing| standing.stage == Standing::Granted);
                    if let Some(standing) = granted {
                        return standing.grant();
                    }
                    sleep(Duration::from_millis(20)).await;
                }
            };
            let grant = timeout(PATIENCE, granted).await.expect("nobody was admitted");
            holders.push(Holder { visitor, grant });
        }
        holders
    }

    /// Tries to spend a grant on these seats; what is answered is kept for the proof.
    pub async fn redeem(&self, instance: &Instance, holder: &Holder, seats: &[SeatIndex]) -> Answer {
        let Holder { visitor, grant } = holder.clone();
        let wish = Ok(Wish::Seats(seats.to_vec()));
        let redeem = instance.room.redeems.redeem(Redeem { visitor, grant, wish });
        let answer = timeout(PATIENCE, redeem).await.expect("a redeem hangs");
        let answered = Answered { holder: holder.clone(), wish: seats.to_vec(), answer: answer.clone() };
        self.answers.lock().unwrap().push(answered);
        answer
    }

    /// Asks again until the answer is not `busy`.
    pub async fn redeem_surely(&self, instance: &Instance, holder: &Holder, seats: &[SeatIndex]) -> Answer {
        let surely = async {
            loop {
                match self.redeem(instance, holder, seats).await {
                    Err(Refusal::Busy) => sleep(Duration::from_millis(200)).await,
                    answer => return answer,
                }
            }
        };
        timeout(PATIENCE, surely).await.expect("busy for ever")
    }

    /// All at once, each holder on his instance.
    pub async fn redeem_all(&self, tries: &[(&Instance, &Holder, &[SeatIndex])]) -> Vec<Answer> {
        let all = tries.iter().map(|(instance, holder, seats)| self.redeem(instance, holder, seats));
        futures_util::future::join_all(all).await
    }

    /// The bookings desk, on connections that no proxy touches.
    pub fn desk(&self) -> Bookings {
        Bookings::new(
            connect::postgres_pool(&self.postgres_url, 1).unwrap(),
            self.sale.clone(),
            self.plan.clone(),
        )
    }

    /// On a connection that no proxy touches.
    pub async fn sql(&self, text: &str) {
        run_sql(&self.postgres_url, text).await;
    }

    pub fn key(&self, name: &str) -> String {
        format!("waitroom:{{{}}}:{name}", self.sale)
    }

    /// A command to Redis that no proxy touches.
    pub async fn redis<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis_client(&self.redis_url).unwrap();
        let patient = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
        let mut connection = connection.unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query_async(&mut connection).await.unwrap()
    }
}

pub async fn run_sql(url: &str, text: &str) {
    connect::postgres_single(url).await.unwrap().batch_execute(text).await.unwrap();
}

fn join(visitor: &VisitorId) -> Join {
    let mode = JoinMode::Join;
    Join {
        visitor: visitor.clone(),
        connection: None,
        poll_ms: POLL_MS,
        mode,
        token_seq: None,
        stranger: None,
    }
}

fn plan(rows: usize) -> String {
    let seat = |row: usize, seat: usize| format!(r#"{{"seat_guid":"{row}-{seat}","category":"Hall"}}"#);
    let row = |r: usize| {
        let seats: Vec<_> = (0..10).map(|s| seat(r, s)).collect();
        format!(r#"{{"row_number":{r},"seats":[{}]}}"#, seats.join(","))
    };
    let rows: Vec<_> = (0..rows).map(row).collect();
    let zone = format!(r#"{{"name":"Z","rows":[{}]}}"#, rows.join(","));
    format!(r#"{{"name":"Hall","categories":[{{"name":"Hall"}}],"zones":[{zone}]}}"#)
}

/// One instance's part of the sale.
pub struct Instance {
    pub name: String,
    pub room: Arc<Room>,
    pub pool: deadpool_postgres::Pool,
    pub postgres: Proxy,
    pub redis: Proxy,
    leaving: watch::Sender<Drain>,
    running: JoinHandle<()>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.leaving.send_replace(Drain::Done);
        self.running.abort();
    }
}
