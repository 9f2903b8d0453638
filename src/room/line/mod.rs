//! The line as this instance knows it: the board of who waits, the phase, the operator's settings, Redis' clock; and the
//! questions that visitors ask of it. The other half is `store/line`.

pub mod board;
mod clock;
pub(super) mod follower;
pub(super) mod joins;
mod life;
mod pace;
pub(super) mod polls;
pub(super) mod presence;
mod reading;
pub(super) mod settings;
pub(super) mod ticker;
pub(super) mod turns;

use super::{
    Parts,
    batch::{self, Batcher, batcher},
    errors::RoomError,
    glance::Revision,
    health::Health,
};
use crate::{
    drain::{self, Drain},
    limits::{CLOSED_ROOM, JOINS_QUEUE_MAX, POLLS_QUEUE_MAX, TURNS_QUEUE_MAX},
    metrics,
    store::{
        bookings::Bookings,
        journal::Journal,
        line::{Counts, Line},
        sales::Sales,
    },
};
use board::Board;
use clock::RedisClock;
use pace::PaceMeter;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::sleep,
};
use wire::domain::{
    eta::{Pace, eta_s},
    ids::VisitorId,
    line::{Join, JoinMode, Left, LineAnswer, Poll, Position},
    phase::Phase,
    sale::{Sale, SaleSettings, SaleState},
};

/// While Redis is away a look at the sale's numbers is repeated for so long …
const COUNTS_WITHIN: Duration = Duration::from_secs(1);
/// … after this pause.
const COUNTS_PAUSE: Duration = Duration::from_millis(100);
/// For each instance that shares a line …
const COMPANY_PAUSE: Duration = Duration::from_millis(1);
/// … and at most: visitors wait for it.
const COMPANY_PAUSE_MAX: Duration = Duration::from_millis(50);

/// The line of one sale on this instance.
pub struct LiveLine {
    sale: Arc<Sale>,
    store: Line,
    sales: Sales,
    /// What a fresh life in Redis starts from.
    bookings: Bookings,
    /// What a lost life is restored from.
    journal: Journal,
    /// Held by whoever looks at a Redis before it is believed: several notice at once, and a life is to be begun once.
    installing: tokio::sync::Mutex<()>,
    health: Arc<Health>,
    drain: watch::Receiver<Drain>,
    clock: RedisClock,
    live: RwLock<Live>,
    pace: Mutex<PaceMeter>,
    joins: Batcher<Join, LineAnswer>,
    polls: Batcher<Poll, LineAnswer>,
    leaves: Batcher<VisitorId, Left>,
    claims: Batcher<VisitorId, bool>,
    departures: mpsc::UnboundedSender<(VisitorId, u64)>,
    /// The operator changed something: look at once.
    changed: Notify,
    /// When the stream was last heard to its end.
    heard: Mutex<Instant>,
    /// Redis' milliseconds at the last tick that it answered.
    ticked_ms: AtomicI64,
    /// When it last heard that somebody ticks who may.
    went_on: Mutex<Instant>,
    /// Whether the last tick was told that nothing may be decided now.
    declined: AtomicBool,
    /// Grants that lived at the last tick; until the first nobody knows.
    grants: AtomicU64,
    /// Instances that lived at the last tick, this one too.
    instances: AtomicU64,
    /// When this instance heard that the sale is closed.
    closed_at: OnceLock<Instant>,
    revision: Revision,
}

/// What the stream tells.
pub(super) struct Live {
    pub position: Position,
    pub board: Board,
    pub phase: Phase,
    pub state: SaleState,
}

/// What is asked of a line, for the tasks that answer.
pub(super) struct Asked {
    pub joins: mpsc::Receiver<batch::Asked<Join, LineAnswer>>,
    pub polls: mpsc::Receiver<batch::Asked<Poll, LineAnswer>>,
    pub leaves: mpsc::Receiver<batch::Asked<VisitorId, Left>>,
    pub claims: mpsc::Receiver<batch::Asked<VisitorId, bool>>,
    pub departures: mpsc::UnboundedReceiver<(VisitorId, u64)>,
}

impl LiveLine {
    pub(super) fn new(sale: &Arc<Sale>, state: SaleState, store: Line, parts: &Parts) -> (Self, Asked) {
        let (joins, asked_joins) = batcher(JOINS_QUEUE_MAX);
        let (polls, asked_polls) = batcher(POLLS_QUEUE_MAX);
        let (leaves, asked_leaves) = batcher(TURNS_QUEUE_MAX);
        let (claims, asked_claims) = batcher(TURNS_QUEUE_MAX);
        let (departures, departed) = mpsc::unbounded_channel();
        let (position, board, phase) = (Position::default(), Board::default(), state.command);
        let line = Self {
            sale: sale.clone(),
            store,
            sales: parts.sales.clone(),
            bookings: parts.bookings.clone(),
            journal: parts.journal.clone(),
            installing: Default::default(),
            health: parts.health.clone(),
            drain: parts.drain.clone(),
            clock: RedisClock::new(jiff::Timestamp::now().as_millisecond()),
            live: RwLock::new(Live { position, board, phase, state }),
            pace: Mutex::default(),
            joins,
            polls,
            leaves,
            claims,
            departures,
            changed: Notify::new(),
            heard: Mutex::new(Instant::now()),
            ticked_ms: AtomicI64::new(0),
            went_on: Mutex::new(Instant::now()),
            declined: AtomicBool::new(false),
            grants: AtomicU64::new(u64::MAX),
            instances: AtomicU64::new(1),
            closed_at: OnceLock::new(),
            revision: parts.revision.clone(),
        };
        let asked = Asked {
            joins: asked_joins,
            polls: asked_polls,
            leaves: asked_leaves,
            claims: asked_claims,
            departures: departed,
        };
        (line, asked)
    }

    /// Brings a visitor into the line, or back to his place.
    #[tracing::instrument(level = "debug", skip_all, fields(sale = %self.sale.id))]
    pub async fn join(&self, join: Join) -> Result<LineAnswer, RoomError> {
        let (started, comes) = (Instant::now(), join.mode != JoinMode::Recheck);
        let answer = self.joins.ask(join).await;
        let answer = answer.and_then(|answer| match (answer.standing, answer.full_ms) {
            (None, Some(again_ms)) => Err(RoomError::NetworkFull { again: Duration::from_millis(again_ms) }),
            (None, None) if comes && !answer.removed && answer.phase != Phase::Closed => {
                Err(RoomError::JournalBehind)
            }
            _ => Ok(answer),
        });
        if comes {
            let refused = matches!(answer, Err(RoomError::NetworkFull { .. }));
            metrics::join(started.elapsed(), answer.is_ok() || refused);
        }
        answer
    }

    /// How many joins wait for a call.
    pub(super) fn joins_waiting(&self) -> usize {
        self.joins.waiting()
    }

    /// How a visitor without a socket stands; counts as presence.
    pub async fn poll(&self, poll: Poll) -> Result<LineAnswer, RoomError> {
        self.polls.ask(poll).await
    }

    /// The visitor used his turn for the first time; false if he holds no grant.
    pub async fn claim(&self, visitor: &VisitorId) -> Result<bool, RoomError> {
        self.claims.ask(visitor.clone()).await
    }

    /// The visitor gives the place up.
    pub async fn leave(&self, visitor: &VisitorId) -> Result<Left, RoomError> {
        self.leaves.ask(visitor.clone()).await
    }

    /// The visitor's socket is gone.
    pub(super) fn departed(&self, visitor: &VisitorId, socket: u64) {
        // Fails only when the process ends: then the instance's lease ends too.
        let _ = self.departures.send((visitor.clone(), socket));
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
    pub async fn decided_phase(&self) -> Result<Phase, RoomError> {
        Ok(self.store.position().await?.map_or(self.phase(), |(_, phase)| phase))
    }

    /// Live numbers from Redis.
    pub async fn counts(&self) -> Result<Counts, RoomError> {
        Ok(self.store.counts().await?)
    }

    /// The same for who only looks: Redis ends its connection with each write that it does not take, and another is made in a moment.
    pub async fn counts_surely(&self) -> Result<Counts, RoomError> {
        let asked = Instant::now();
        loop {
            match self.store.counts().await {
                Err(error) if error.may_pass() && asked.elapsed() < COUNTS_WITHIN => {
                    sleep(COUNTS_PAUSE).await
                }
                answer => return Ok(answer?),
            }
        }
    }

    /// `[low, high]` seconds until the place with this rank is admitted.
    pub fn eta_s(&self, rank: u64) -> Option<[u64; 2]> {
        eta_s(rank, self.current_pace())
    }

    /// Nothing while PostgreSQL is away: nobody is admitted then, whatever the last minute was like.
    pub(super) fn current_pace(&self) -> Option<Pace> {
        if self.health.postgres_is_away() {
            return None;
        }
        let rate = self.live().state.settings.rate;
        self.pace().pace(rate, Instant::now())
    }

    fn pace(&self) -> MutexGuard<'_, PaceMeter> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many instances share the line.
    pub(in crate::room) fn company(&self) -> u64 {
        self.instances.load(Ordering::Relaxed)
    }

    /// The least time from one call of a kind to the next.
    pub(in crate::room) fn company_pause(&self) -> Duration {
        company_pause(self.company())
    }

    /// Milliseconds until Redis' clock shows `at_ms`.
    pub fn until_ms(&self, at_ms: i64) -> u64 {
        self.clock.until_ms(at_ms)
    }

    /// Time since Redis' clock showed `at_ms`.
    pub fn since(&self, at_ms: i64) -> Duration {
        Duration::from_millis(u64::try_from(self.clock.now_ms() - at_ms).unwrap_or(0))
    }

    /// Seats that a visitor who has so many may still book.
    pub fn max_seats_of(&self, owned: u32) -> u32 {
        self.live().state.settings.max_seats.saturating_sub(owned)
    }

    /// ZRANK, for the board's audit, with the entry at which it was true.
    pub(super) async fn rank(&self, visitor: &VisitorId) -> Result<(Option<u64>, Position), RoomError> {
        Ok(self.store.rank(visitor).await?)
    }

    pub(super) fn bookings(&self) -> &Bookings {
        &self.bookings
    }

    /// When this instance last heard a tick answered, by Redis' clock of then.
    pub(super) fn ticked_ms(&self) -> i64 {
        self.ticked_ms.load(Ordering::Relaxed)
    }

    fn goes_on(&self) {
        *self.went_on.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether nobody is admitted here, as a store does not answer or too much waits for the journal, and no other instance goes on:
    /// what this one cannot reach, another may.
    pub(in crate::room) fn stands_still(&self) -> bool {
        let went_on = *self.went_on.lock().unwrap_or_else(PoisonError::into_inner);
        let is_kept = self.declined.load(Ordering::Relaxed) || !self.health.away().is_empty();
        went_on.elapsed() > ticker::STILL && is_kept
    }

    pub(super) fn store(&self) -> &Line {
        &self.store
    }

    pub(super) fn sale(&self) -> &Sale {
        &self.sale
    }

    pub(super) fn live(&self) -> RwLockReadGuard<'_, Live> {
        self.live.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_live<T>(&self, change: impl FnOnce(&mut Live) -> T) -> T {
        change(&mut self.live.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the sale is closed, for long enough that all instances have heard of it, and no grant lives.
    pub(super) fn is_over(&self) -> bool {
        if self.phase() != Phase::Closed {
            return false;
        }
        let closed_at = self.closed_at.get_or_init(Instant::now);
        closed_at.elapsed() >= CLOSED_ROOM && self.grants.load(Ordering::Relaxed) == 0
    }

    /// Waits until the server is so far on its way out, and for so long after that.
    pub(super) async fn reached(&self, stage: Drain, and: Duration) {
        drain::reached(&self.drain, stage, and).await;
    }

    /// How far the server is on its way out.
    pub(super) fn drain(&self) -> Drain {
        *self.drain.borrow()
    }

    pub(super) fn phase_and_waiting(&self) -> (Phase, u64) {
        let live = self.live();
        (live.phase, live.board.len())
    }

    /// When the stream was last heard to its end.
    pub(super) fn heard_at(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard_now(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// All who share a line make about a thousand calls of a kind a second together, however many they are: a call costs Redis and its
/// caller much the same whatever goes in it, and each entry of the stream wakes all.
fn company_pause(instances: u64) -> Duration {
    COMPANY_PAUSE_MAX.min(COMPANY_PAUSE * u32::try_from(instances).unwrap_or(u32::MAX).min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_share_a_line_call_a_thousand_times_a_second_together_and_none_too_late() {
        let ms = [0, 1, 5, 20, 53, u64::MAX].map(|instances| company_pause(instances).as_millis());
        assert_eq!(ms, [0, 1, 5, 20, 50, 50]);
    }
}
