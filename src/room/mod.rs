//! The live part of one sale on this instance. Redis decides, its stream tells, PostgreSQL judges the seats; a room
//! carries questions there and answers back to its sockets. It has four wings; who knows one of them knows where the
//! other half of it lies in `store`.

mod batch;
pub mod closed;
pub mod errors;
pub mod glance;
pub mod health;
pub mod journal;
pub mod line;
mod outbox;
mod pulse;
pub mod redeems;
pub mod rooms;
pub mod seats;
pub mod sockets;
mod tasks;

use crate::{
    drain::Drain,
    metrics,
    store::{bookings::Bookings, errors::StoreError, journal::Journal, redis::Redis, sales::Sales},
};
use errors::RoomError;
use glance::Revision;
use health::Health;
use journal::Journaling;
use line::LiveLine;
use outbox::Outbox;
use redeems::Redeems;
use seats::Seats;
use sockets::{Hub, Socket};
use std::sync::Arc;
use tasks::Tasks;
use tokio::sync::{Mutex, watch};
use wire::domain::{
    ids::VisitorId,
    line::Left,
    sale::{Sale, SaleState},
};

/// A queue that outlives the task that empties it.
type Queue<T> = Arc<Mutex<T>>;

fn queue<T>(receiver: T) -> Queue<T> {
    Arc::new(Mutex::new(receiver))
}

/// Keeps a task that takes clones of these.
macro_rules! keep {
    ($tasks:expr, $name:literal, [$($part:ident),+] => $task:expr) => {{
        $(let $part = $part.clone();)+
        $tasks.keep($name, move || {
            $(let $part = $part.clone();)+
            async move { $task.await }
        });
    }};
}

/// One sale on this instance.
pub struct Room {
    /// What of the sale never changes.
    pub sale: Arc<Sale>,
    /// Who waits, whose turn it is, and what the operator says.
    pub line: Arc<LiveLine>,
    /// Who has which seat.
    pub seats: Arc<Seats>,
    /// Tries to spend a grant.
    pub redeems: Arc<Redeems>,
    /// Who is connected here.
    pub sockets: Arc<Hub>,
    /// What happened, on record.
    pub journal: Arc<Journaling>,
    tasks: Tasks,
}

/// What a room is made of.
pub(crate) struct Parts {
    pub redis: Redis,
    pub sales: Sales,
    pub bookings: Bookings,
    pub journal: Journal,
    pub health: Arc<Health>,
    pub drain: watch::Receiver<Drain>,
    pub revision: Revision,
}

impl Room {
    /// Opens the room: the line is installed and known before anyone comes in.
    pub(crate) async fn open(sale: Sale, state: SaleState, parts: Parts) -> Result<Arc<Self>, StoreError> {
        let sale = Arc::new(sale);
        let store = parts.redis.line(&sale.id);
        let outbox = Outbox::new(sale.id.clone());
        let sockets = Arc::new(Hub::default());
        let seats =
            Arc::new(Seats::new(&sale, &state, parts.bookings.clone(), store.clone(), outbox.clone()));
        let (line, asked) = LiveLine::new(&sale, state, store.clone(), &parts);
        let line = Arc::new(line);
        let (redeems, tried) = Redeems::new(&sale, &line, &seats, store, outbox.clone(), &parts);
        let redeems = Arc::new(redeems);
        let tasks = Tasks::new(sale.id.clone(), parts.drain.clone());
        let journal = Arc::new(Journaling::new(line.clone(), parts.journal.clone()));
        let room = Arc::new(Self { sale, line, seats, redeems, sockets, journal, tasks });
        metrics::start_sale(room.sale.id.as_str());
        room.line.install().await?;
        room.resync().await?;
        room.start(asked, tried, parts, outbox);
        Ok(room)
    }

    /// Each task takes the wing that it needs. What the stream and the operator say concerns all of them.
    fn start(self: &Arc<Self>, asked: line::Asked, tried: redeems::Tried, parts: Parts, outbox: Outbox) {
        let Self { line, seats, redeems, sockets, journal, tasks, .. } = &**self;
        let (joins, polls, departures, tried) =
            (queue(asked.joins), queue(asked.polls), queue(asked.departures), queue(tried));
        let (leaves, claims) = (queue(asked.leaves), queue(asked.claims));
        keep!(tasks, "joins", [line, joins] => line::joins::run(line, joins));
        keep!(tasks, "polls", [line, polls] => line::polls::run(line, polls));
        keep!(tasks, "leaves", [line, leaves] => line::turns::leaves(line, leaves));
        keep!(tasks, "claims", [line, claims] => line::turns::claims(line, claims));
        keep!(tasks, "presence", [line, departures, outbox] => line::presence::run(line, departures, outbox));
        keep!(tasks, "ticker", [line, redeems] => line::ticker::run(line, redeems));
        let (this, redis, drain) = (Arc::downgrade(self), parts.redis, parts.drain);
        keep!(tasks, "journal", [journal, redis] => journal::run(journal, redis));
        keep!(tasks, "follower", [this, redis] => line::follower::run(this, redis));
        keep!(tasks, "settings", [this] => line::settings::run(this));
        keep!(tasks, "seat news", [seats, sockets, drain] => seats::news::run(seats, sockets, drain));
        keep!(tasks, "outages", [sockets, line] => sockets::outage::run(sockets, line));
        keep!(tasks, "holds", [seats, line, sockets] => seats::holds::run(seats, line, sockets));
        keep!(tasks, "comparison", [seats, line, redeems] => seats::compare::run(seats, line, redeems));
        keep!(tasks, "redeems", [redeems, tried] => redeems::run(redeems, tried));
        keep!(tasks, "sweeper", [sockets, line] => sockets::sweeper::run(sockets, line));
    }

    /// Whether nobody needs the room any more: the sale is closed, and everyone has heard of it.
    pub(crate) fn is_over(&self) -> bool {
        self.line.is_over()
            && self.journal.is_whole()
            && self.sockets.is_empty()
            && self.under_way() == 0
            && !self.seats.map().any_held()
    }

    /// Ends the room's tasks.
    pub(crate) fn end(&self) {
        self.tasks.end();
        // Nobody goes over them any more.
        self.sockets.end();
        metrics::end_sale(self.sale.id.as_str());
    }

    /// Tasks that are not to be relied upon now.
    pub(crate) fn unwell(&self) -> Vec<&'static str> {
        self.tasks.unwell()
    }

    /// Whether its sockets are still gone over: a task that hangs, or holds what others need, stops that.
    pub(crate) fn is_alive(&self) -> bool {
        self.sockets.pulse.is_alive()
    }

    /// The visitor gives the place up. A try of his that nobody settled is settled first: from then on it books nothing.
    pub async fn leave(&self, visitor: &VisitorId) -> Result<Left, RoomError> {
        let left = self.line.leave(visitor).await?;
        let Left::Unsettled(turn) = left else { return Ok(left) };
        match self.redeems.void(&[(visitor.clone(), turn)]).await {
            Ok(()) => self.line.leave(visitor).await,
            Err(error) => {
                tracing::warn!(sale = %self.sale.id, "an unheard redeem is settled later: {error}");
                Ok(left)
            }
        }
    }

    /// The visitor's socket is gone.
    pub fn detach(&self, visitor: &VisitorId, socket: &Socket) {
        self.sockets.detach(visitor, socket);
        self.line.departed(visitor, socket.id);
    }

    /// How many redeems, and tellings of what happened, are under way.
    pub fn under_way(&self) -> usize {
        self.seats.outbox.under_way()
    }
}
