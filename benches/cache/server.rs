//! A server with its own database, with the cache or without.

use deadpool_postgres::Pool;
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::watch};
use waitroom::{
    drain::Drain,
    edge::{self, Edge, EdgeState, keys::Keys, operator::access::Access},
    embedded::{Postgres, Redis},
    limits::Bounds,
    room::{health::Health, rooms::Rooms, sockets::Lot},
    settings::{KeyArgs, KeySettings, ProofOfWork, SigningKey, StrangerSettings},
    store::{
        postgres::{connect, migrations},
        redis::{self, redis_client},
    },
};
use wire::domain::{
    audit::Actor,
    ids::SaleId,
    plan::Plan,
    sale::{NewSale, SaleSettings},
    sample_plan,
    seats::SeatSet,
};

/// Seats of each sale.
pub const SEATS: u32 = 10_000;
const SALES: usize = 20;

/// A running server.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// One of its sales.
    pub sale: String,
    /// Whether it has the cache.
    pub cached: bool,
    database: String,
    pool: Pool,
    redis_url: String,
    _leave: watch::Sender<Drain>,
}

impl Server {
    /// With its own database, and sales of its own.
    pub async fn start(redis: &Redis, postgres: &Postgres, cached: bool) -> Self {
        let database = if cached { "cached" } else { "uncached" }.to_owned();
        let admin = connect::postgres_single(&postgres.url()).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {database}")).await.unwrap();
        let url = postgres.url().replacen("/waitroom?", &format!("/{database}?"), 1);
        migrations::run(&url).await.unwrap();
        let pool = connect::postgres_pool(&url, 8).unwrap();
        let (leave, leaving) = watch::channel(Drain::NotYet);
        let store =
            redis::Redis::connect(redis::Site::parse(&redis.url()).unwrap(), &database).await.unwrap();
        let rooms = Rooms::new(store, pool.clone(), Arc::new(Health::default()), leaving);
        let json = sample_plan::sample_plan(SEATS).to_string();
        let plan = Plan::parse(json.as_bytes()).unwrap();
        for n in 0..SALES {
            create(&rooms, &format!("{database}-{n}"), &json, &plan).await;
        }
        let signing_keys = vec![SigningKey { kid: "k1".into(), secret: vec![7; 32] }];
        let keys = KeySettings { signing_keys, identity_key: None, source: KeyArgs::default() };
        let edge = Arc::new(Edge {
            rooms: rooms.clone(),
            keys: Keys::new(&keys).unwrap(),
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            access: Access::new("the-admin-token-of-the-bench", &[]),
            connections_max: 10_000,
            lot: Lot::open().unwrap(),
            strangers: StrangerSettings {
                address_places: 0,
                address_sockets: 0,
                proof_of_work: ProofOfWork::Off,
            },
            bounds: Bounds::default(),
            state: if cached { EdgeState::default() } else { EdgeState::uncached() },
        });
        tokio::spawn(rooms.run());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = edge::public_router(edge).into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let sale = format!("{database}-0");
        Self { address, sale, cached, database, pool, redis_url: redis.url(), _leave: leave }
    }

    /// Transactions of its database so far.
    pub async fn transactions(&self) -> u64 {
        let client = self.pool.get().await.unwrap();
        let query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1";
        let count: i64 = client.query_one(query, &[&self.database]).await.unwrap().get(0);
        count as u64
    }

    /// Commands that Redis has had so far.
    pub async fn redis_commands(&self) -> u64 {
        let client = redis_client(&self.redis_url).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let info: String = ::redis::cmd("INFO").arg("stats").query_async(&mut connection).await.unwrap();
        let count = info.split("total_commands_processed:").nth(1).unwrap().lines().next().unwrap();
        count.parse().unwrap()
    }
}

async fn create(rooms: &Rooms, id: &str, json: &str, plan: &Plan) {
    let id = SaleId::parse(id).unwrap();
    let settings = SaleSettings {
        opens_at: None,
        rate: 1.0,
        max_active: 1,
        grant_ttl_s: 60,
        claim_s: 60,
        away_s: 60,
        max_seats: 4,
        hold_ttl_s: 0,
    };
    let new = NewSale {
        id: &id,
        name: "A sale",
        plan_json: json.as_bytes(),
        plan,
        settings: &settings,
        anonymous: true,
        blocked: &SeatSet::new(plan.seats.len()),
    };
    assert!(rooms.create(&new, &Actor::admin()).await.unwrap());
}
