//! The live part of one sale on this instance. Redis decides, its stream tells, PostgreSQL judges the seats; a room
//! carries questions there and answers back to its sockets.

pub mod board;
mod clock;
mod follower;
pub mod glance;
pub mod health;
pub mod hub;
mod joins;
mod keeper;
mod pace;
mod presence;
mod redeems;
pub mod rooms;
mod seat_map;
mod seat_news;
mod settle;
mod sweeper;
mod ticker;

use crate::{
    domain::{
        booking::Booking,
        eta::{Pace, eta_s},
        ids::{SaleId, VisitorId},
        phase::Phase,
        plan::Plan,
        sale::SaleSettings,
    },
    metrics,
    shutdown::Stage,
    store::{
        bookings::{Bookings, Confirmation, Owned},
        errors::StoreError,
        events::Position,
        line::{Committed, Counts, Join, JoinAnswer, Line},
        redis::Redis,
        sales::{Sale, SaleState, Sales},
    },
};
use board::Board;
use clock::RedisClock;
use glance::Revision;
use health::Health;
use hub::{Hub, News};
use pace::PaceMeter;
use seat_map::SeatMap;
use std::{
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, atomic::AtomicI64},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};
use uuid::Uuid;

pub use redeems::Redeem;
#[doc(hidden)]
pub use redeems::write_alone;

/// How long a join waits for room in the queue, when everyone comes at once.
const QUEUE_PATIENCE: Duration = Duration::from_secs(3);

/// Tries to tell the line of a booking's change, and the pause between them.
const TELL_TRIES: u32 = 60;
const TELL_PAUSE: Duration = Duration::from_secs(1);

/// One sale on this instance.
pub struct Room {
    /// The sale.
    pub id: SaleId,
    /// Its name.
    pub name: String,
    /// Its seats.
    pub plan: Arc<Plan>,
    /// Whether visitors need no identity of the shop.
    pub anonymous: bool,
    /// The sockets.
    pub hub: Hub,
    line: Line,
    bookings: Bookings,
    sales: Sales,
    redis: Redis,
    health: Arc<Health>,
    stage: watch::Receiver<Stage>,
    clock: RedisClock,
    live: RwLock<Live>,
    seats: Mutex<SeatMap>,
    pace: Mutex<PaceMeter>,
    joins: mpsc::Sender<joins::Request>,
    redeems: mpsc::Sender<redeems::Request>,
    unspent: redeems::Unspent,
    /// Held while redeems of instances that have ended are settled.
    settling: tokio::sync::Mutex<()>,
    departures: mpsc::UnboundedSender<(VisitorId, u64)>,
    /// The operator changed something: look at once.
    changed: Notify,
    /// Counted: see [`Room::is_busy`].
    busy: Arc<()>,
    /// The shift of deadlines that holds are known to have.
    shifted_ms: AtomicI64,
    /// When the stream was last heard to its end.
    heard: Mutex<Instant>,
    revision: Revision,
}

/// What the stream tells.
struct Live {
    position: Position,
    board: Board,
    phase: Phase,
    state: SaleState,
}

impl Room {
    /// Brings a visitor into the line, or back to his place.
    pub async fn join(&self, join: Join) -> Result<JoinAnswer, StoreError> {
        let started = Instant::now();
        let (reply, answer) = oneshot::channel();
        let queued = timeout(QUEUE_PATIENCE, self.joins.send(joins::Request { join, reply })).await;
        let heard = if matches!(queued, Ok(Ok(()))) { answer.await.ok() } else { None };
        let answer = heard.unwrap_or(Err(StoreError::Timeout("the line")));
        metrics::join(started.elapsed(), answer.is_ok());
        answer
    }

    /// The visitor used his turn for the first time; false if he holds no grant.
    pub async fn claim(&self, visitor: &VisitorId) -> Result<bool, StoreError> {
        self.line.claim(visitor).await
    }

    /// The visitor gives the place up; false if there was none to give, or a redeem is under way.
    pub async fn leave(&self, visitor: &VisitorId) -> Result<bool, StoreError> {
        let left = self.line.leave(visitor).await?;
        if left {
            metrics::lapses(self.id.as_str(), "left", 1);
        }
        Ok(left)
    }

    /// The visitor's socket is gone.
    pub fn detach(&self, visitor: &VisitorId, socket: u64) {
        self.hub.detach(visitor, socket);
        // Fails only when the process ends: then the instance's lease ends too.
        let _ = self.departures.send((visitor.clone(), socket));
    }

    /// The visitor's bookings, oldest first.
    pub async fn bookings_of(&self, visitor: &VisitorId) -> Result<Vec<Booking>, StoreError> {
        self.bookings.by_visitor(visitor).await
    }

    /// All bookings, for the operator.
    pub fn bookings(&self) -> &Bookings {
        &self.bookings
    }

    /// A booking that was confirmed or released is told to the line, and so to its visitor.
    async fn tell_booking(&self, id: Uuid) -> Result<(), StoreError> {
        let tell = |owned: Owned| async move {
            self.line.bookings(&[Committed::of(&owned.visitor, None, &owned.booking)], &[]).await
        };
        self.bookings.present(id, tell).await
    }

    /// The same, until it succeeds, whether or not anyone waits for it: PostgreSQL has it, so it holds.
    fn tell_booking_soon(self: &Arc<Self>, id: Uuid) -> JoinHandle<()> {
        let (room, busy) = (self.clone(), self.busy());
        tokio::spawn(async move {
            let _busy = busy;
            for _ in 0..TELL_TRIES {
                let Err(error) = room.tell_booking(id).await else { return };
                tracing::warn!(sale = %room.id, "a booking's change is told to the line later: {error}");
                sleep(TELL_PAUSE).await;
            }
        })
    }

    /// The caller hears once the line has heard, unless that takes long.
    async fn told_within_patience(self: &Arc<Self>, id: Uuid) {
        let _ = timeout(QUEUE_PATIENCE, self.tell_booking_soon(id)).await;
    }

    /// Held by whoever must not be cut off when the server leaves.
    fn busy(&self) -> Arc<()> {
        self.busy.clone()
    }

    /// Whether a redeem, or the telling of one, is under way.
    pub fn is_busy(&self) -> bool {
        Arc::strong_count(&self.busy) > 1
    }

    /// The shop was paid: nothing if there is no such booking.
    pub async fn confirm(self: &Arc<Self>, id: Uuid) -> Result<Option<Confirmation>, StoreError> {
        let confirmation = self.bookings.confirm(id).await?;
        if let Some(Confirmation::Confirmed { changed: true, .. }) = &confirmation {
            self.told_within_patience(id).await;
        }
        Ok(confirmation)
    }

    /// The operator releases a booking: nothing if there is no such booking.
    pub async fn release(self: &Arc<Self>, id: Uuid) -> Result<Option<Owned>, StoreError> {
        let Some((owned, changed)) = self.bookings.release(id).await? else { return Ok(None) };
        if changed {
            self.told_within_patience(id).await;
        }
        Ok(Some(owned))
    }

    /// Settings as PostgreSQL has them are put in force, here and in Redis.
    pub async fn sync(&self) -> Result<(), StoreError> {
        keeper::sync(self).await
    }

    /// What an operator can change, as this instance knows it.
    pub fn state(&self) -> SaleState {
        self.live().state.clone()
    }

    /// The settings in force.
    pub fn settings(&self) -> SaleSettings {
        self.live().state.settings.clone()
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.live().phase
    }

    /// The phase as Redis has decided it, which the stream will tell.
    pub async fn decided_phase(&self) -> Result<Phase, StoreError> {
        Ok(self.line.position().await?.map_or(self.phase(), |(_, phase)| phase))
    }

    /// Live numbers from Redis.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        self.line.counts().await
    }

    /// `[low, high]` seconds until the place with this rank is admitted.
    pub fn eta_s(&self, rank: u64) -> Option<[u64; 2]> {
        eta_s(rank, self.current_pace())
    }

    fn current_pace(&self) -> Option<Pace> {
        let rate = self.live().state.settings.rate;
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).pace(rate, Instant::now())
    }

    /// Milliseconds until Redis' clock shows `at_ms`.
    pub fn until_ms(&self, at_ms: i64) -> u64 {
        self.clock.until_ms(at_ms)
    }

    /// Time since Redis' clock showed `at_ms`.
    pub fn since(&self, at_ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.now_ms() - at_ms).unwrap_or(0))
    }

    fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_live<T>(&self, change: impl FnOnce(&mut Live) -> T) -> T {
        change(&mut self.live.write().unwrap_or_else(PoisonError::into_inner))
    }

    fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Seats that a visitor who has so many may still book.
    pub fn max_seats_of(&self, owned: u32) -> u32 {
        self.live().state.settings.max_seats.saturating_sub(owned)
    }

    fn set_phase(&self, phase: Phase, position: Position) {
        let before = self.change_live(|live| std::mem::replace(&mut live.phase, phase));
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.run(phase == Phase::Open, Instant::now());
        drop(pace);
        if before != phase {
            tracing::info!(sale = %self.id, "phase {before} → {phase}");
            self.revision.rise();
            self.hub.tell_all(position, &News::Phase(phase));
        }
    }
}

/// What a room is made of.
pub(crate) struct Parts {
    pub redis: Redis,
    pub sales: Sales,
    pub bookings: Bookings,
    pub health: Arc<Health>,
    pub stage: watch::Receiver<Stage>,
    pub revision: Revision,
}

impl Room {
    /// Opens the room: the line is installed and known before anyone comes in.
    pub(crate) async fn open(sale: Sale, parts: Parts) -> Result<Arc<Self>, StoreError> {
        let line = parts.redis.line(&sale.id);
        let (joins, join_requests) = mpsc::channel(crate::limits::JOINS_QUEUE_MAX);
        let (redeems, redeem_requests) = mpsc::channel(crate::limits::REDEEMS_QUEUE_MAX);
        let (departures, departed) = mpsc::unbounded_channel();
        let mut seats = SeatMap::new(sale.plan.clone());
        seats.block(sale.state.blocked.clone());
        let live = Live {
            position: Position::default(),
            board: Board::default(),
            phase: sale.state.command,
            state: sale.state,
        };
        let room = Arc::new(Self {
            id: sale.id,
            name: sale.name,
            plan: sale.plan,
            anonymous: sale.anonymous,
            hub: Hub::default(),
            line,
            bookings: parts.bookings,
            sales: parts.sales,
            redis: parts.redis,
            health: parts.health,
            stage: parts.stage,
            clock: RedisClock::new(jiff::Timestamp::now().as_millisecond()),
            live: RwLock::new(live),
            seats: Mutex::new(seats),
            pace: Mutex::default(),
            joins,
            redeems,
            unspent: redeems::Unspent::default(),
            settling: tokio::sync::Mutex::default(),
            departures,
            changed: Notify::new(),
            busy: Arc::new(()),
            shifted_ms: AtomicI64::new(0),
            heard: Mutex::new(Instant::now()),
            revision: parts.revision,
        });
        metrics::start_sale(room.id.as_str());
        settle::install(&room).await?;
        settle::resync(&room).await?;
        tokio::spawn(joins::run(room.clone(), join_requests));
        tokio::spawn(redeems::run(room.clone(), redeem_requests));
        tokio::spawn(presence::run(room.clone(), departed));
        tokio::spawn(follower::run(room.clone()));
        tokio::spawn(ticker::run(room.clone()));
        tokio::spawn(sweeper::run(room.clone()));
        tokio::spawn(seat_news::run(room.clone()));
        tokio::spawn(keeper::run(room.clone()));
        Ok(room)
    }
}
