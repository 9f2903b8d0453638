//! What the journal costs a join, how soon a lost line is served again, and how long it takes when everyone leaves:
//! `cargo bench --bench joins [-- restore PLACES | -- leaves COUNT]`. docs/journal.md and docs/large-lines.md quote it.
//!
//! One instance without sockets, a Redis with `appendfsync always` and a PostgreSQL, all on this machine. The cost: joins at a
//! steady rate, with the journal written and with its lease in a stranger's hands, by turns; CPU of this process, Redis and
//! PostgreSQL together.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

#[path = "bookings/cpu.rs"]
mod cpu;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};
use waitroom::{
    drain::Drain,
    embedded::Embedded,
    room::{Room, health::Health, rooms::Rooms},
    settings::RedisSettings,
    store::{
        journal::Journal,
        postgres::{connect, migrations},
        redis::{Redis, Site, redis_client},
        sales::Sales,
    },
};
use wire::domain::{
    audit::Actor,
    ids::{SaleId, VisitorId},
    line::{Join, JoinMode, Position},
    plan::Plan,
    sale::{NewSale, SaleSettings},
    seats::SeatSet,
};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(6);
const JOINS_PER_S: u32 = 10_000;
const STEP: Duration = Duration::from_millis(10);
const PLAN: &str = r#"{"name":"Hall","categories":[{"name":"Hall"}],
    "zones":[{"name":"Z","rows":[{"row_number":1,"seats":[{"seat_guid":"A-1","category":"Hall"}]}]}]}"#;

struct Stage {
    stores: Embedded,
    room: Arc<Room>,
    journal: Journal,
    sale: SaleId,
    _leave: watch::Sender<Drain>,
    _folder: tempfile::TempDir,
}

impl Stage {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).unwrap();
        let stores = Embedded::start(folder.path()).unwrap();
        migrations::run(&stores.postgres_url()).await.unwrap();
        let (sale, plan) = (SaleId::parse("bench").unwrap(), Plan::parse(PLAN.as_bytes()).unwrap());
        let settings = SaleSettings {
            opens_at: None,
            rate: 1.0,
            max_active: 1,
            grant_ttl_s: 300,
            claim_s: 60,
            away_s: 300,
            max_seats: 1,
            hold_ttl_s: 0,
        };
        let new = NewSale {
            id: &sale,
            name: "Bench",
            plan_json: PLAN.as_bytes(),
            plan: &plan,
            settings: &settings,
            anonymous: true,
            blocked: &SeatSet::new(1),
        };
        let pool = connect::postgres_pool(&stores.postgres_url(), 8).unwrap();
        assert!(Sales::new(pool.clone()).create(&new, &Actor::admin()).await.unwrap());
        let redis = RedisSettings::at(stores.redis_url());
        let redis = Redis::connect(Site::of(&redis).unwrap(), "bench").await.unwrap();
        let (leave, left) = watch::channel(Drain::NotYet);
        let rooms = Rooms::new(redis, pool.clone(), Arc::new(Health::default()), left);
        let room = rooms.get(&sale).await.unwrap().unwrap();
        tokio::spawn(rooms.run());
        let journal = Journal::new(pool, sale.clone());
        Self { stores, room, journal, sale, _leave: leave, _folder: folder }
    }

    fn cpu(&self) -> Duration {
        let redis = cpu::one(self.stores.redis.pid());
        cpu::this_process() + redis + cpu::server(self.stores.postgres.pid())
    }

    /// Joins at the steady rate; how many.
    async fn joins(&self, rate: u32, total: u64) -> u64 {
        let mut every = interval(STEP);
        every.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let a_step = (rate / 100).into();
        let (mut joined, mut asked) = (JoinSet::new(), 0);
        while asked < total {
            every.tick().await;
            for _ in 0..a_step {
                let room = self.room.clone();
                joined.spawn(async move {
                    let join = join();
                    // A disk that is busy with others holds Redis up for seconds.
                    while room.line.join(join.clone()).await.is_err() {}
                });
            }
            asked += a_step;
            while joined.try_join_next().is_some() {}
        }
        while joined.join_next().await.is_some() {}
        asked
    }

    async fn sql(&self, text: &str) {
        let client = connect::postgres_single(&self.stores.postgres_url()).await.unwrap();
        client.batch_execute(text).await.unwrap();
    }

    async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis_client(&self.stores.redis_url()).unwrap();
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&patient).await;
        let mut connection = connection.unwrap();
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query_async(&mut connection).await.unwrap()
    }

    fn key(&self, name: &str) -> String {
        format!("waitroom:{{{}}}:{name}", self.sale)
    }

    /// Until the journal has all that the stream has.
    async fn journaled(&self) {
        loop {
            let n: u64 = self.ask(&["HGET", &self.key("sale"), "n"]).await;
            if self.journal.end().await.unwrap().n == n {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

fn join() -> Join {
    let visitor = VisitorId::anonymous();
    Join {
        visitor,
        connection: None,
        poll_ms: 3_600_000,
        mode: JoinMode::Join,
        token_seq: None,
        stranger: None,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU a join, in µs, with the journal and without.
async fn cost(stage: &Stage) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..2 * ROUNDS {
        let (lease, figures) = if round % 2 == 0 {
            ("UPDATE journal_heads SET until = '-infinity'", &mut with)
        } else {
            ("UPDATE journal_heads SET holder = 'a stranger', until = 'infinity'", &mut without)
        };
        stage.sql(lease).await;
        if round % 2 == 0 {
            // What the round without it has left is none of this one's.
            stage.journaled().await;
        }
        let before = stage.cpu();
        let total = u64::from(JOINS_PER_S) * ROUND.as_secs();
        let joins = stage.joins(JOINS_PER_S, total).await;
        if round % 2 == 0 {
            stage.journaled().await;
        }
        figures.push((stage.cpu() - before).as_secs_f64() * 1e6 / joins as f64);
    }
    let (with, without) = (median(with), median(without));
    let more = 100.0 * (with / without - 1.0);
    println!("| joins/s | CPU a join without the journal | with it | more |\n|---|---|---|---|");
    println!("| {JOINS_PER_S} | {without:.1} µs | {with:.1} µs | {more:.1} % |");
}

/// How long it is until the journal has what Redis has just told, at the same rate: p50, p99 and the longest, in ms.
async fn lag(stage: &Stage) {
    stage.sql("UPDATE journal_heads SET until = '-infinity'").await;
    stage.journaled().await;
    let total = u64::from(JOINS_PER_S) * ROUND.as_secs() * ROUNDS as u64;
    let mut joins = pin!(stage.joins(JOINS_PER_S, total));
    let mut lags: Vec<f64> = Vec::new();
    loop {
        let seen = async {
            let n: u64 = stage.ask(&["HGET", &stage.key("sale"), "n"]).await;
            let began = Instant::now();
            while stage.journal.end().await.unwrap().n < n {
                sleep(Duration::from_millis(5)).await;
            }
            began.elapsed().as_secs_f64() * 1e3
        };
        tokio::select! {
            _ = &mut joins => break,
            lag = seen => lags.push(lag),
        }
    }
    lags.sort_by(f64::total_cmp);
    let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize];
    let (p50, p99, longest) = (at(0.5), at(0.99), at(1.0));
    println!(
        "{} looks: journaled after p50 {p50:.0} ms, p99 {p99:.0} ms, {longest:.0} ms at longest",
        lags.len()
    );
}

/// How soon a line of so many is served again.
async fn restore(stage: &mut Stage, places: u64) {
    stage.joins(20_000, places).await;
    stage.journaled().await;
    let again = async |stage: &Stage| {
        let began = Instant::now();
        while stage.room.line.join(join()).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    };
    stage.stores.redis.restart().unwrap();
    println!("{places} places: Redis restarted, served again {:.1?} after it answers", again(stage).await);
    stage.journaled().await;
    stage.ask::<()>(&["FLUSHALL"]).await;
    println!("{places} places: Redis wiped, served again after {:.1?}", again(stage).await);
    let there: u64 = stage.ask(&["ZCARD", &stage.key("line")]).await;
    println!("{there} places stand in the line");
}

/// Everyone leaves at once, in batches and one a call, by turns.
async fn leaves(stage: &Stage, count: u64) {
    let settings = RedisSettings::at(stage.stores.redis_url());
    let redis = Redis::connect(Site::of(&settings).unwrap(), "leaves").await.unwrap();
    let line = redis.line(&stage.sale);
    line.take_over(Position::default()).await.unwrap();
    println!(
        "| {count} leaves | answered within | Redis' CPU | entries | journaled within |\n|---|---|---|---|---|"
    );
    for round in 0..2 * ROUNDS {
        let visitors: Vec<_> = (0..count).map(|_| VisitorId::anonymous()).collect();
        for some in visitors.chunks(500) {
            let joins: Vec<_> =
                some.iter().map(|visitor| Join { visitor: visitor.clone(), ..join() }).collect();
            line.join(&joins).await.unwrap();
        }
        stage.journaled().await;
        let (began, cpu) = (Instant::now(), cpu::one(stage.stores.redis.pid()));
        let before: u64 = stage.ask(&["HGET", &stage.key("sale"), "n"]).await;
        let mut leaving = JoinSet::new();
        for visitor in visitors {
            let (room, line) = (stage.room.clone(), line.clone());
            leaving.spawn(async move {
                // One a call, so many may have to wait for longer than a call may take.
                match round % 2 {
                    0 => while room.line.leave(&visitor).await.is_err() {},
                    _ => while line.leave(std::slice::from_ref(&visitor)).await.is_err() {},
                }
            });
        }
        while let Some(left) = leaving.join_next().await {
            left.unwrap();
        }
        let (took, used) = (began.elapsed(), cpu::one(stage.stores.redis.pid()) - cpu);
        let entries = stage.ask::<u64>(&["HGET", &stage.key("sale"), "n"]).await - before;
        stage.journaled().await;
        let how = if round % 2 == 0 { "in batches" } else { "one a call" };
        println!("| {how} | {took:.2?} | {used:.2?} | {entries} | {:.1?} |", began.elapsed());
    }
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mut stage = Stage::start().await;
    match &args[..] {
        [what, places] if what == "restore" => restore(&mut stage, places.parse().unwrap()).await,
        [what, count] if what == "leaves" => leaves(&stage, count.parse().unwrap()).await,
        _ => {
            cost(&stage).await;
            lag(&stage).await;
        }
    }
}
