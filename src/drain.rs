//! How far a server is on its way out, and what it must finish before; `shutdown` takes it from one to the next.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// How far the server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Drain {
    /// It stays.
    NotYet,
    /// The balancer is told that it is not ready any more; all else goes on.
    Announced,
    /// Nobody new comes in from here; sockets are sent away.
    Leaving,
    /// All that was to be finished is.
    Done,
}

/// Waits until the server is as far as that, and so much longer.
pub async fn reached(drain: &watch::Receiver<Drain>, stage: Drain, and: Duration) {
    let mut drain = drain.clone();
    if drain.wait_for(|now| *now >= stage).await.is_err() {
        // Nobody will ever say so.
        std::future::pending::<()>().await;
    }
    sleep(and).await;
}

/// What goes on at a listener: who leaves waits for it.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// Connections, WebSockets and resting ones too.
    pub connections: Gauge,
    /// Requests that are being answered.
    pub requests: Gauge,
}

/// How many there are of something; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicUsize>);

/// One of them, for as long as it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Gauge {
    /// One more, if there are fewer than `max`.
    pub fn take(&self, max: usize) -> Option<Counted> {
        let more = |count: usize| (count < max).then_some(count + 1);
        self.0.try_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Counted(self.clone()))
    }

    /// How many.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
