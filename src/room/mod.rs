//! The live part of one sale on this instance. Redis decides, its stream tells, PostgreSQL judges the seats; a room
//! carries questions there and answers back to its sockets. It has four wings; who knows one of them knows where the
//! other half of it lies in `store`.

mod batch;
pub mod errors;
pub mod glance;
pub mod health;
pub mod line;
mod outbox;
pub mod redeems;
pub mod rooms;
pub mod seats;
pub mod sockets;

use crate::{
    drain::Drain,
    metrics,
    store::{bookings::Bookings, errors::StoreError, redis::Redis, sales::Sales},
};
use glance::Revision;
use health::Health;
use line::LiveLine;
use outbox::Outbox;
use redeems::Redeems;
use seats::Seats;
use sockets::Hub;
use std::sync::Arc;
use tokio::sync::watch;
use wire::domain::{
    ids::VisitorId,
    sale::{Sale, SaleState},
};

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
}

/// What a room is made of.
pub(crate) struct Parts {
    pub redis: Redis,
    pub sales: Sales,
    pub bookings: Bookings,
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
        let room = Arc::new(Self { sale, line, seats, redeems, sockets });
        metrics::start_sale(room.sale.id.as_str());
        room.line.install().await?;
        room.resync().await?;
        room.start(asked, tried, parts, outbox);
        Ok(room)
    }

    /// Each task takes the wing that it needs. What the stream and the operator say concerns all of them.
    fn start(self: &Arc<Self>, asked: line::Asked, tried: redeems::Tried, parts: Parts, outbox: Outbox) {
        let Self { line, seats, redeems, sockets, .. } = &**self;
        let drain = &parts.drain;
        tokio::spawn(line::joins::run(line.clone(), asked.joins));
        tokio::spawn(line::polls::run(line.clone(), asked.polls));
        tokio::spawn(line::presence::run(line.clone(), asked.departures, outbox));
        tokio::spawn(line::ticker::run(line.clone(), redeems.clone()));
        tokio::spawn(line::follower::run(self.clone(), parts.redis));
        tokio::spawn(line::settings::run(self.clone()));
        tokio::spawn(seats::news::run(seats.clone(), sockets.clone(), drain.clone()));
        tokio::spawn(seats::holds::run(seats.clone(), line.clone()));
        tokio::spawn(seats::compare::run(seats.clone(), line.clone(), redeems.clone()));
        tokio::spawn(redeems::run(redeems.clone(), tried));
        tokio::spawn(sockets::sweeper::run(sockets.clone(), line.clone()));
    }

    /// The visitor's socket is gone.
    pub fn detach(&self, visitor: &VisitorId, socket: u64) {
        self.sockets.detach(visitor, socket);
        self.line.departed(visitor, socket);
    }

    /// Whether a redeem, or the telling of one, is under way.
    pub fn is_busy(&self) -> bool {
        self.seats.outbox.is_busy()
    }
}
