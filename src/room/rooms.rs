//! The rooms of this instance: one for each sale that is not closed, closed ones when someone asks for them.

use super::{Parts, Room, glance::Revision, health::Health};
use crate::{
    domain::ids::SaleId,
    limits::SALES_POLL,
    metrics,
    shutdown::Stage,
    store::{bookings::Bookings, errors::StoreError, redis::Redis, sales::Sales},
};
use dashmap::DashMap;
use deadpool_postgres::Pool;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Mutex, watch},
    time::interval,
};

/// All rooms of this instance.
pub struct Rooms {
    rooms: DashMap<SaleId, Arc<Room>>,
    /// Rooms are opened one at a time, so that none is opened twice.
    opening: Mutex<()>,
    redis: Redis,
    /// The sales.
    pub sales: Sales,
    pool: Pool,
    /// Whether the stores answer.
    pub health: Arc<Health>,
    stage: watch::Receiver<Stage>,
    connections: AtomicUsize,
    /// Rises with what visitors may know of the sales.
    pub revision: Revision,
}

impl Rooms {
    /// No rooms yet.
    pub fn new(redis: Redis, pool: Pool, health: Arc<Health>, stage: watch::Receiver<Stage>) -> Arc<Self> {
        Arc::new(Self {
            rooms: DashMap::new(),
            opening: Mutex::new(()),
            redis,
            sales: Sales::new(pool.clone()),
            pool,
            health,
            stage,
            connections: AtomicUsize::new(0),
            revision: Revision::default(),
        })
    }

    /// The room of a sale, if it is open.
    pub fn open(&self, id: &SaleId) -> Option<Arc<Room>> {
        self.rooms.get(id).map(|room| room.clone())
    }

    /// The room of a sale, opened if need be; nothing if there is no such sale.
    pub async fn get(&self, id: &SaleId) -> Result<Option<Arc<Room>>, StoreError> {
        if let Some(room) = self.open(id) {
            return Ok(Some(room));
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(room) = self.open(id) {
            return Ok(Some(room));
        }
        let Some(sale) = self.sales.load(id).await? else { return Ok(None) };
        let bookings = Bookings::new(self.pool.clone(), id.clone(), sale.plan.clone());
        let parts = Parts {
            redis: self.redis.clone(),
            sales: self.sales.clone(),
            bookings,
            health: self.health.clone(),
            stage: self.stage.clone(),
            revision: self.revision.clone(),
        };
        let room = Room::open(sale, parts).await?;
        self.rooms.insert(id.clone(), room.clone());
        self.revision.rise();
        Ok(Some(room))
    }

    /// The rooms that are open now.
    pub fn all(&self) -> Vec<Arc<Room>> {
        self.rooms.iter().map(|room| room.clone()).collect()
    }

    /// Opens the rooms of all sales that are not closed.
    pub async fn open_all(&self) -> Result<(), StoreError> {
        for (id, version, closed) in self.sales.versions().await? {
            match self.open(&id) {
                // The stream tells of changes; this is for what it could not tell, such as a crash in between.
                Some(room) if room.state().version < version => room.sync().await?,
                None if !closed => match self.get(&id).await {
                    // One sale that cannot be read must not keep the others shut.
                    Err(StoreError::Corrupt(why)) => tracing::error!(sale = %id, "not opened: {why}"),
                    opened => drop(opened?),
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks for new sales and watches the stores, until the server has stopped.
    pub async fn run(self: Arc<Self>) {
        let sales = async {
            let mut every = interval(SALES_POLL);
            loop {
                every.tick().await;
                if let Err(error) = self.open_all().await {
                    tracing::debug!("sales are looked up later: {error}");
                }
            }
        };
        let upkeep = async {
            let mut every = interval(Duration::from_secs(5));
            loop {
                every.tick().await;
                metrics::run_upkeep();
            }
        };
        let mut stage = self.stage.clone();
        tokio::select! {
            () = self.health.watch(&self.redis, &self.sales) => {}
            () = sales => {}
            () = upkeep => {}
            _ = stage.wait_for(|stage| *stage >= Stage::Stopped) => {}
        }
    }

    /// Shows what is true at the moment of a scrape.
    pub fn sample(&self) {
        let pool = self.pool.status();
        metrics::postgres_pool(pool.max_size, pool.size, pool.available, pool.waiting);
    }

    /// How far the server is on its way out.
    pub fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Sockets open on this instance.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Counts a socket for as long as the guard lives; nothing if there are `max` already.
    pub fn connect(self: &Arc<Self>, max: usize) -> Option<Connection> {
        let counted = self
            .connections
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then_some(n + 1));
        counted.ok()?;
        metrics::connections(self.connections());
        Some(Connection(self.clone()))
    }
}

/// One open socket.
pub struct Connection(Arc<Rooms>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
        metrics::connections(self.0.connections());
    }
}
