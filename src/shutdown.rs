//! How a server leaves, in which order, and what it reports at the end.

use crate::{
    drain::Drain,
    room::{rooms::Rooms, sockets::News},
};
use std::{
    fmt,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};
use wire::domain::line::Position;

/// The balancer hears of the drain within this share of the drain time; sockets are sent away in the rest.
const NOTICE_SHARE: f64 = 0.25;
const SPREAD_SHARE: f64 = 0.5;

/// What was still open when the server stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Sockets that were open when the drain began.
    pub sockets: usize,
    /// Sockets that had to be cut.
    pub cut: usize,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "drained {} sockets in {:.1} s, {} cut", self.sockets, self.took.as_secs_f64(), self.cut)
    }
}

/// Not ready; wait for the balancer; no more joins and ticks; send the sockets away, each at its own moment; finish
/// the redeems.
pub async fn drain(rooms: &Rooms, leave: &watch::Sender<Drain>, within: Duration) -> Report {
    let started = Instant::now();
    let sockets = rooms.connections();
    tracing::info!("draining {sockets} sockets within {} s", within.as_secs());
    leave.send_replace(Drain::Announced);
    if sockets > 0 {
        sleep(within.mul_f64(NOTICE_SHARE)).await;
    }
    leave.send_replace(Drain::Leaving);
    let spread = within.mul_f64(SPREAD_SHARE);
    let farewells: Vec<_> = rooms.all().iter().flat_map(|room| room.sockets.all()).collect();
    let count = farewells.len().max(1) as u32;
    let delay = |i: usize| spread * (i as u32 + 1) / count;
    for (i, socket) in farewells.iter().enumerate() {
        socket.tell(Position::default(), News::Reconnect(delay(i).as_millis() as u64));
    }
    let leaving = tokio::time::Instant::now();
    for (i, socket) in farewells.iter().enumerate() {
        sleep_until(leaving + delay(i)).await;
        socket.tell(Position::default(), News::Restart);
    }
    let unfinished = || rooms.connections() > 0 || rooms.all().iter().any(|room| room.is_busy());
    while unfinished() && started.elapsed() < within {
        sleep(Duration::from_millis(20)).await;
    }
    leave.send_replace(Drain::Done);
    Report { sockets, cut: rooms.connections(), took: started.elapsed() }
}
