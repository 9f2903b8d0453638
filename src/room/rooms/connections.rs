//! The sockets of this instance, counted.

use super::Rooms;
use crate::metrics;
use std::sync::{Arc, atomic::Ordering};

impl Rooms {
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
