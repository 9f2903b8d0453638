//! The rooms of this instance: one for each sale that is not over.

mod company;
mod connections;
mod visitors;

pub use connections::Connection;

use super::{
    Parts, Room, closed::ClosedSale, errors::RoomError, glance::Revision, health::Health, journal::Records,
    outbox::Outbox,
};
use crate::{
    drain::{self, Drain},
    limits::SALES_POLL,
    metrics,
    store::{
        bookings::Bookings,
        errors::StoreError,
        journal::Journal,
        postgres::{ANSWER_WITHIN, Pool},
        redis::Redis,
        sales::{Sales, Version},
    },
};
use dashmap::DashMap;
use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};
use tokio::{
    sync::{Mutex, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use uuid::Uuid;
use wire::domain::{
    audit::Actor,
    ids::SaleId,
    phase::Phase,
    sale::{NewSale, Sale, SaleState},
};

/// Sales that are over and are remembered.
const CLOSED_KEPT_MAX: usize = 200;
/// How long who deletes a sale waits for Redis to forget it too.
const FORGET_PATIENCE: Duration = Duration::from_secs(3);

/// A sale that was looked up.
pub enum Found {
    /// It lives here.
    Room(Arc<Room>),
    /// It is over.
    Closed(Box<ClosedSale>),
}

impl Found {
    /// What of the sale never changes.
    pub fn sale(&self) -> &Arc<Sale> {
        match self {
            Self::Room(room) => &room.sale,
            Self::Closed(closed) => &closed.sale,
        }
    }

    /// What an operator can change.
    pub fn state(&self) -> SaleState {
        match self {
            Self::Room(room) => room.line.state(),
            Self::Closed(closed) => closed.state.clone(),
        }
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Room(room) => room.line.phase(),
            Self::Closed(_) => Phase::Closed,
        }
    }
}

/// All rooms of this instance.
pub struct Rooms {
    rooms: DashMap<SaleId, Arc<Room>>,
    /// Rooms are opened one at a time, so that none is opened twice.
    opening: Mutex<()>,
    redis: Redis,
    sales: Sales,
    pool: Pool,
    /// Whether the stores answer.
    pub health: Arc<Health>,
    drain: watch::Receiver<Drain>,
    connections: AtomicUsize,
    /// Rises with what visitors may know of the sales.
    pub revision: Revision,
    /// Sales that this program must not touch, and why.
    refused: DashMap<SaleId, String>,
    /// Sales that are over and were asked for: a plan takes long to read.
    closed: DashMap<SaleId, Arc<Sale>>,
}

impl Rooms {
    /// No rooms yet.
    pub fn new(redis: Redis, pool: Pool, health: Arc<Health>, drain: watch::Receiver<Drain>) -> Arc<Self> {
        Arc::new(Self {
            rooms: DashMap::new(),
            opening: Mutex::new(()),
            redis,
            sales: Sales::new(pool.clone()),
            pool,
            health,
            drain,
            connections: AtomicUsize::new(0),
            revision: Revision::default(),
            refused: DashMap::new(),
            closed: DashMap::new(),
        })
    }

    /// What is on record of a sale.
    pub fn records(&self, id: &SaleId) -> Records {
        Records::new(Journal::new(self.pool.clone(), id.clone()))
    }

    /// The room of a sale, if it is open.
    pub fn open(&self, id: &SaleId) -> Option<Arc<Room>> {
        self.rooms.get(id).map(|room| room.clone())
    }

    /// Whether the sale is known here, without asking anybody.
    pub fn knows(&self, id: &SaleId) -> bool {
        self.rooms.contains_key(id) || self.closed.contains_key(id)
    }

    /// Whether there is such a sale.
    pub async fn is_there(&self, id: &SaleId) -> Result<bool, RoomError> {
        Ok(self.sales.state(id, 0).await?.is_some())
    }

    /// A sale, its room opened if need be; nothing if there is no such sale.
    pub async fn find(&self, id: &SaleId) -> Result<Option<Found>, RoomError> {
        if let Some(room) = self.open(id) {
            return Ok(Some(Found::Room(room)));
        }
        if let Some(closed) = self.closed_before(id).await? {
            return Ok(Some(Found::Closed(Box::new(closed))));
        }
        let Some((sale, state)) = self.sales.load(id).await? else { return Ok(None) };
        let bookings = Bookings::new(self.pool.clone(), id.clone(), sale.plan.clone());
        // A hold that runs out in a closed sale must still be ended.
        if state.command == Phase::Closed && !bookings.any_held().await? {
            let sale = Arc::new(sale);
            if self.closed.len() >= CLOSED_KEPT_MAX {
                self.closed.clear();
            }
            self.closed.insert(id.clone(), sale.clone());
            return Ok(Some(Found::Closed(Box::new(ClosedSale { sale, state, bookings }))));
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(room) = self.open(id) {
            return Ok(Some(Found::Room(room)));
        }
        let parts = Parts {
            redis: self.redis.clone(),
            sales: self.sales.clone(),
            bookings,
            journal: Journal::new(self.pool.clone(), id.clone()),
            health: self.health.clone(),
            drain: self.drain.clone(),
            revision: self.revision.clone(),
        };
        let room = Room::open(sale, state, parts).await?;
        self.refused.remove(id);
        self.closed.remove(id);
        self.rooms.insert(id.clone(), room.clone());
        self.revision.rise();
        Ok(Some(Found::Room(room)))
    }

    /// A sale that is over, if it was asked for before and is still that.
    async fn closed_before(&self, id: &SaleId) -> Result<Option<ClosedSale>, RoomError> {
        let Some(sale) = self.closed.get(id).map(|sale| sale.clone()) else { return Ok(None) };
        let state = self.sales.state(id, sale.plan.seats.len()).await?;
        let Some(state) = state.filter(|state| state.command == Phase::Closed) else {
            self.closed.remove(id);
            return Ok(None);
        };
        let bookings = Bookings::new(self.pool.clone(), id.clone(), sale.plan.clone());
        Ok(Some(ClosedSale { sale, state, bookings }))
    }

    /// The room of a sale, opened if need be; nothing if there is no such sale, or it is over.
    pub async fn get(&self, id: &SaleId) -> Result<Option<Arc<Room>>, RoomError> {
        Ok(match self.find(id).await? {
            Some(Found::Room(room)) => Some(room),
            Some(Found::Closed(_)) | None => None,
        })
    }

    /// Forgets a closed sale: in PostgreSQL, here, and in Redis as soon as that hears of it. False if it is not closed,
    /// nothing if there is none.
    pub async fn delete(&self, id: &SaleId, by: &Actor) -> Result<Option<bool>, RoomError> {
        let deleted = self.sales.delete(id, by).await?;
        if deleted == Some(true) {
            tracing::info!(sale = %id, "deleted");
            self.closed.remove(id);
            self.end(id);
            let line = self.redis.line(id);
            let forgetting = Outbox::new(id.clone()).post("a deleted sale", move || {
                let line = line.clone();
                async move { line.forget().await }
            });
            let _ = timeout(FORGET_PATIENCE, forgetting).await;
        }
        Ok(deleted)
    }

    fn end(&self, id: &SaleId) {
        if let Some((_, room)) = self.rooms.remove(id) {
            room.end();
            self.revision.rise();
        }
    }

    /// Creates a sale in phase `scheduled`, whose room is yet to be opened; false if there is such a sale already.
    pub async fn create(&self, new: &NewSale<'_>, by: &Actor) -> Result<bool, RoomError> {
        Ok(self.sales.create(new, by).await?)
    }

    /// Records a change of what an operator can change, all or nothing: it comes into force, by [`Rooms::put_in_force`] at
    /// once or by the next look at the sales. The refusal of `change` is handed through. Nothing if the sale is gone.
    pub async fn change<E>(
        &self,
        sale: &Sale,
        by: &Actor,
        change: impl FnOnce(&mut SaleState) -> Result<(), E>,
    ) -> Result<Option<Result<(), E>>, RoomError> {
        let told = |state: &SaleState| state.told(&sale.plan);
        let updated = self.sales.update(&sale.id, sale.plan.seats.len(), by, change, told).await?;
        Ok(updated.map(|updated| updated.map(drop)))
    }

    /// What is recorded of the sale is in force from here on, in Redis and here; other instances hear of it through the
    /// stream.
    pub async fn put_in_force(&self, id: &SaleId) -> Result<(), RoomError> {
        match self.open(id) {
            Some(room) => room.sync().await,
            None => Ok(()),
        }
    }

    /// The ids of all sales, oldest first.
    pub async fn ids(&self) -> Result<Vec<SaleId>, RoomError> {
        Ok(self.sales.versions().await?.into_iter().map(|sale| sale.id).collect())
    }

    /// The sale that a booking belongs to.
    pub async fn sale_of(&self, booking: Uuid) -> Result<Option<SaleId>, RoomError> {
        Ok(self.sales.of_booking(booking).await?)
    }

    /// The seating plan of a sale as it was uploaded.
    pub async fn plan_json(&self, id: &SaleId) -> Result<Option<Vec<u8>>, RoomError> {
        Ok(self.sales.plan_json(id).await?)
    }

    /// The rooms that are open now.
    pub fn all(&self) -> Vec<Arc<Room>> {
        self.rooms.iter().map(|room| room.clone()).collect()
    }

    /// Opens the rooms of all sales that are not over, and ends those that are.
    pub async fn open_all(&self) -> Result<(), RoomError> {
        let versions = self.sales.versions().await?;
        for room in self.all() {
            let id = &room.sale.id;
            let is_gone = match versions.iter().find(|sale| sale.id == *id) {
                // There is another sale of that id by now.
                Some(sale) => sale.first_epoch > room.sale.first_epoch,
                // A sale that was made since then is not in the list.
                None => self.sales.state(id, 0).await?.is_none(),
            };
            if is_gone || room.is_over() {
                tracing::info!(sale = %id, "the room ends");
                self.end(id);
            }
        }
        for Version { id, version, is_over, .. } in versions {
            match self.open(&id) {
                // The stream tells of changes; this is for what it could not tell, such as a crash in between.
                Some(room) if room.line.state().version < version => room.sync().await?,
                None if !is_over => self.open_or_tell(id).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// One sale that cannot be read must not keep the others shut.
    async fn open_or_tell(&self, id: SaleId) -> Result<(), RoomError> {
        let Err(error) = self.get(&id).await else { return Ok(()) };
        let RoomError::Store(why) = &error else { return Err(error) };
        match **why {
            StoreError::Corrupt(_) => tracing::error!(sale = %id, "not opened: {error}"),
            StoreError::TooNew { .. } => {
                tracing::error!(sale = %id, "not opened: {error}");
                self.refused.insert(id, error.to_string());
            }
            _ => return Err(error),
        }
        Ok(())
    }

    /// Looks for new sales and watches the stores, until the server has stopped.
    pub async fn run(self: Arc<Self>) {
        let sales = async {
            let mut every = interval(SALES_POLL);
            every.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                every.tick().await;
                if let Err(error) = self.open_all().await {
                    tracing::debug!("sales are looked up later: {error}");
                }
            }
        };
        let upkeep = async {
            let (mut every, mut instances) = (interval(Duration::from_secs(5)), 1);
            loop {
                every.tick().await;
                metrics::run_upkeep();
                instances = self.count_instances(instances).await;
            }
        };
        let mut drain = self.drain.clone();
        tokio::select! {
            () = self.health.watch(&self.redis, &self.sales) => {}
            () = sales => {}
            () = upkeep => {}
            _ = drain.wait_for(|drain| *drain >= Drain::Done) => {}
        }
    }

    /// Shows what is true at the moment of a scrape.
    pub fn sample(&self) {
        let pool = self.pool.status();
        metrics::postgres_pool(pool.max_size, pool.size, pool.available, pool.waiting);
        // Of two that change it at once the slower may have shown what was.
        metrics::connections(self.connections());
    }

    /// Whether the tasks of this instance come round: a store that is away is no reason why they should not.
    pub fn is_alive(&self) -> bool {
        self.health.is_asking() && self.rooms.iter().all(|room| room.is_alive())
    }

    /// Waits until PostgreSQL does not answer, longer than any one statement may take it.
    pub async fn postgres_hangs(&self) {
        sleep(ANSWER_WITHIN).await;
        while !self.health.postgres_is_away() {
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// The stores that cannot be used.
    pub fn away(&self) -> Vec<&'static str> {
        self.health.away()
    }

    /// Why this instance should get no visitors, if so.
    pub fn troubles(&self) -> Vec<String> {
        let stores = self.away().into_iter().map(|store| format!("{store} cannot be used"));
        let refused = self.refused.iter().map(|one| format!("sale {}: {}", one.key(), one.value()));
        let unwell = self.rooms.iter().flat_map(|room| {
            let id = room.sale.id.clone();
            room.unwell().into_iter().map(move |task| format!("sale {id}: {task} broke down a moment ago"))
        });
        stores.chain(refused).chain(unwell).collect()
    }

    /// Waits until nobody new is let in, and for so long after that.
    pub async fn leaving(&self, and: Duration) {
        drain::reached(&self.drain, Drain::Leaving, and).await;
    }

    /// How far the server is on its way out.
    pub fn drain(&self) -> Drain {
        *self.drain.borrow()
    }
}
