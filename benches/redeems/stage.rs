//! What the benchmark stands on: a real Redis (AOF, always), a real PostgreSQL (fsync on), instances, sales with
//! visitors whose turn has come.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use waitroom::{
    drain::Drain,
    embedded,
    room::{Room, health::Health, redeems::Redeem, rooms::Rooms},
    store::{
        bookings::Bookings,
        postgres::{connect, migrations},
        redis::{Redis, Site},
    },
};
use wire::domain::{
    audit::Actor,
    booking::{Booking, Wish},
    ids::{GrantKey, SaleId, VisitorId},
    line::{Join, JoinMode},
    phase::Phase,
    plan::{Plan, SeatIndex},
    refusal::Refusal,
    sale::{NewSale, SaleSettings, SaleState},
    sample_plan::sample_plan,
    seats::SeatSet,
};

/// Ends when dropped.
pub struct Stage {
    _folder: tempfile::TempDir,
    pub redis: embedded::Redis,
    pub postgres: embedded::Postgres,
    instances: Vec<(Arc<Rooms>, watch::Sender<Drain>)>,
}

/// A visitor with a grant.
#[derive(Clone)]
pub struct Holder {
    pub visitor: VisitorId,
    pub grant: GrantKey,
}

impl Holder {
    /// Someone whom the line does not know.
    pub fn stranger(i: usize) -> Self {
        let visitor = VisitorId::parse(&format!("visitor-{i:032}")).unwrap();
        Self { visitor, grant: GrantKey { seq: 1 + i as u64, turn: 0 } }
    }

    pub fn wants(&self, seats: &[SeatIndex]) -> Redeem {
        let wish = Ok(Wish::Seats(seats.to_vec()));
        Redeem { visitor: self.visitor.clone(), grant: self.grant, wish }
    }
}

pub type Answer = Result<Booking, Refusal>;

impl Stage {
    pub async fn new(instances: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let redis = embedded::Redis::start_at(&folder.path().join("redis")).unwrap();
        let postgres = embedded::Postgres::start_at(&folder.path().join("postgres")).unwrap();
        migrations::run(&postgres.url()).await.unwrap();
        let mut stage = Self { _folder: folder, redis, postgres, instances: Vec::new() };
        for i in 0..instances {
            let redis =
                Redis::connect(Site::parse(&stage.redis.url()).unwrap(), &format!("i{i}")).await.unwrap();
            let pool = connect::postgres_pool(&stage.postgres.url(), 8).unwrap();
            let (running, watched) = watch::channel(Drain::NotYet);
            let rooms = Rooms::new(redis, pool, Arc::new(Health::default()), watched);
            tokio::spawn(rooms.clone().run());
            stage.instances.push((rooms, running));
        }
        stage
    }

    /// A new sale of so many seats, open on every instance; so many visitors, each with a grant.
    pub async fn sale(&self, seats: u32, visitors: usize) -> (Vec<Arc<Room>>, Vec<Holder>) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let id = SaleId::parse(&format!("bench-{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap();
        let json = sample_plan(seats).to_string();
        let plan = Plan::parse(json.as_bytes()).unwrap();
        let settings = SaleSettings {
            opens_at: None,
            rate: 10_000.0,
            max_active: 1_000_000,
            grant_ttl_s: 3_600,
            claim_s: 3_600,
            away_s: 3_600,
            max_seats: 4,
            hold_ttl_s: 0,
        };
        let new = NewSale {
            id: &id,
            name: "Bench",
            plan_json: json.as_bytes(),
            plan: &plan,
            settings: &settings,
            anonymous: true,
            blocked: &SeatSet::new(plan.seats.len()),
        };
        let first = &self.instances[0].0;
        assert!(first.create(&new, &Actor::admin()).await.unwrap());
        let room = first.get(new.id).await.unwrap().unwrap();
        command(first, &room, Phase::Open).await;
        let mut rooms = Vec::new();
        for (instance, _) in &self.instances {
            rooms.push(instance.get(&id).await.unwrap().unwrap());
        }
        let joins = (0..visitors).map(|i| {
            let room = rooms[0].clone();
            tokio::spawn(async move {
                let visitor = VisitorId::parse(&format!("visitor-{i:032}")).unwrap();
                let join = Join {
                    visitor: visitor.clone(),
                    connection: None,
                    poll_ms: 3_600_000,
                    mode: JoinMode::Join,
                    token_seq: None,
                    stranger: None,
                };
                let standing = room.line.join(join).await.unwrap().standing.unwrap();
                Holder { visitor, grant: standing.grant() }
            })
        });
        let mut holders = Vec::with_capacity(visitors);
        for joined in joins.collect::<Vec<_>>() {
            holders.push(joined.await.unwrap());
        }
        while visitors > 0 && rooms[0].line.counts().await.unwrap().waiting > 0 {
            sleep(Duration::from_millis(100)).await;
        }
        (rooms, holders)
    }
}

impl Stage {
    /// The bookings desk of a sale.
    pub fn desk(&self, room: &Room) -> Bookings {
        let pool = connect::postgres_pool(&self.postgres.url(), 1).unwrap();
        Bookings::new(pool, room.sale.id.clone(), room.sale.plan.clone())
    }
}

/// Ends a sale that was measured: an open one goes on costing.
pub async fn close(rooms: &[Arc<Room>], stage: &Stage) {
    command(&stage.instances[0].0, &rooms[0], Phase::Closed).await;
    for room in rooms {
        room.sync().await.unwrap();
    }
}

async fn command(rooms: &Rooms, room: &Room, phase: Phase) {
    let change = |state: &mut SaleState| {
        state.command = phase;
        Ok::<_, Infallible>(())
    };
    rooms.change(&room.sale, &Actor::admin(), change).await.unwrap().unwrap().unwrap();
    rooms.put_in_force(&room.sale.id).await.unwrap();
}
