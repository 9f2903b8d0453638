//! How a server leaves, in which order, and what it reports at the end.

use crate::{
    drain::{Drain, Traffic},
    room::{
        rooms::Rooms,
        sockets::{News, Socket},
    },
};
use futures_util::future::join_all;
use std::{
    collections::HashSet,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{sleep, timeout},
};
use wire::domain::line::Position;

/// The balancer hears of the drain within this share of the drain time …
const NOTICE_SHARE: f64 = 0.25;
/// … and after the last socket was sent away there is this share of it, and no more than so long, for what is under way. In
/// between sockets are sent away: the longer, the fewer come to the other instances each second.
const FINISH_SHARE: f64 = 0.25;
const FINISH_MAX: Duration = Duration::from_secs(5);
/// The process itself has to end within the drain time, and takes a moment for thousands of connections.
const EXIT_SHARE: f64 = 0.05;
const EXIT_MAX: Duration = Duration::from_millis(500);
/// How often it is looked who has joined since, and what is still open.
const LOOK: Duration = Duration::from_millis(20);
/// How long it may take to tell PostgreSQL that another instance can write the journals.
const JOURNALS: Duration = Duration::from_secs(1);

/// What was still open when the server stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sockets that were open when the drain began.
    pub sockets: usize,
    /// Sockets that had to be cut.
    pub cut: usize,
    /// Requests over HTTP that were cut, exports among them.
    pub requests: usize,
    /// Redeems, and bookings that the line had not heard of, that were under way. Other instances settle them.
    pub redeems: usize,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sockets, cut, requests, redeems, took } = self;
        write!(f, "drained {sockets} sockets in {:.1} s", took.as_secs_f64())?;
        match (cut, requests, redeems) {
            (0, 0, 0) => write!(f, ", nothing was cut off"),
            _ => write!(f, ", cut off: {cut} sockets, {requests} requests, {redeems} redeems"),
        }
    }
}

/// A server that is about to leave.
pub struct Leaver {
    /// Its rooms.
    pub rooms: Arc<Rooms>,
    /// What goes on at its listeners, that of visitors first.
    pub traffic: [Traffic; 2],
    /// Who is told how far it is.
    pub leave: watch::Sender<Drain>,
    /// Ends when the port for visitors is closed.
    pub door: JoinHandle<()>,
}

impl Leaver {
    /// Not ready; wait for the balancer; let nobody new in; send the sockets away, each at its own moment; finish what is
    /// under way.
    pub async fn drain(mut self, within: Duration) -> Report {
        let started = Instant::now();
        let sockets = self.rooms.connections();
        tracing::info!("draining {sockets} sockets within {} s", within.as_secs());
        self.leave.send_replace(Drain::Announced);
        // Nobody is here, and no balancer keeps a connection: nobody has to hear of it.
        if sockets > 0 || self.traffic[0].connections.get() > 0 {
            sleep(within.mul_f64(NOTICE_SHARE)).await;
        }
        self.leave.send_replace(Drain::Leaving);
        // Whoever is sent away must not come to this server again.
        let _ = (&mut self.door).await;
        let finish = within.mul_f64(FINISH_SHARE).min(FINISH_MAX);
        self.send_away(started + within - finish).await;
        let end = started + within - within.mul_f64(EXIT_SHARE).min(EXIT_MAX);
        while !self.is_finished() && Instant::now() < end {
            sleep(LOOK).await;
        }
        let open = self.report();
        self.leave.send_replace(Drain::Done);
        let left = end.saturating_duration_since(Instant::now()).min(JOURNALS);
        let _ = timeout(left, join_all(self.rooms.all().iter().map(|room| room.journal.given_up()))).await;
        Report { sockets, took: started.elapsed(), ..open }
    }

    /// Tells each socket when to come back elsewhere, and closes it then; those of visitors who only now join, too.
    async fn send_away(&self, until: Instant) {
        let mut told = HashSet::new();
        loop {
            let rooms = self.rooms.all();
            let mut sockets: Vec<_> = rooms.iter().flat_map(|room| room.sockets.all()).collect();
            sockets.retain(|socket| told.insert(socket.id));
            let left = until.saturating_duration_since(Instant::now());
            let count = sockets.len() as u32;
            for (i, socket) in (0..).zip(sockets) {
                tokio::spawn(farewell(socket, left * (2 * i + 1) / (2 * count)));
            }
            if self.is_finished() || left.is_zero() {
                return;
            }
            sleep(LOOK).await;
        }
    }

    fn report(&self) -> Report {
        Report {
            cut: self.rooms.connections(),
            requests: self.traffic.iter().map(|traffic| traffic.requests.get()).sum(),
            redeems: self.rooms.all().iter().map(|room| room.under_way()).sum(),
            ..Report::default()
        }
    }

    fn is_finished(&self) -> bool {
        self.report() == Report::default()
    }
}

async fn farewell(socket: Arc<Socket>, after: Duration) {
    socket.tell(Position::default(), News::Reconnect(after.as_millis() as u64));
    sleep(after).await;
    socket.tell(Position::default(), News::Restart);
}
