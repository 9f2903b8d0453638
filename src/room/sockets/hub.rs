//! The sockets of one room on this instance, by visitor: each has one.

use super::socket::{News, Socket};
use crate::room::pulse::Pulse;
use dashmap::DashMap;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use wire::domain::{ids::VisitorId, line::Position};

/// The sockets of one room, by visitor: a visitor has one.
#[derive(Default)]
pub struct Hub {
    sockets: DashMap<VisitorId, Arc<Socket>>,
    /// Those who watch the seats: hundreds among the many who wait.
    seat_watchers: Mutex<HashMap<u64, Arc<Socket>>>,
    /// Of the sweeper.
    pub(in crate::room) pulse: Pulse,
}

impl Hub {
    /// The visitor's socket is this one; an older one is told that it was replaced.
    pub fn attach(&self, visitor: &VisitorId, socket: Arc<Socket>) {
        let id = socket.id;
        if let Some(older) = self.sockets.insert(visitor.clone(), socket)
            && older.id != id
        {
            older.tell(Position::default(), News::Replaced);
        }
    }

    /// The socket is gone; a newer one of the visitor stays.
    pub fn detach(&self, visitor: &VisitorId, id: u64) {
        self.unwatch_seats(id);
        self.sockets.remove_if(visitor, |_, socket| socket.id == id);
    }

    /// Tells the visitor, if he is here.
    pub fn tell(&self, visitor: &VisitorId, position: Position, news: News) {
        if let Some(socket) = self.get(visitor) {
            socket.tell(position, news);
        }
    }

    /// The visitor's socket, if he is here.
    pub fn get(&self, visitor: &VisitorId) -> Option<Arc<Socket>> {
        self.sockets.get(visitor).map(|socket| socket.clone())
    }

    /// Tells everyone.
    pub fn tell_all(&self, position: Position, news: &News) {
        self.all().iter().for_each(|socket| socket.tell(position, news.clone()));
    }

    /// From now on the socket gets the changes of the seat map.
    pub fn watch_seats(&self, socket: &Arc<Socket>) {
        self.watchers().insert(socket.id, socket.clone());
    }

    /// The socket gets no more changes of the seat map.
    pub fn unwatch_seats(&self, id: u64) {
        self.watchers().remove(&id);
    }

    /// Who watches the seats, as of now.
    pub fn seat_watchers(&self) -> Vec<Arc<Socket>> {
        self.watchers().values().cloned().collect()
    }

    fn watchers(&self) -> MutexGuard<'_, HashMap<u64, Arc<Socket>>> {
        self.seat_watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All sockets, as of now.
    pub fn all(&self) -> Vec<Arc<Socket>> {
        self.sockets.iter().map(|socket| socket.clone()).collect()
    }

    /// Some visitor who is here, for the audit.
    pub fn some_visitor(&self, skip: usize) -> Option<(VisitorId, Arc<Socket>)> {
        let entry = self.sockets.iter().nth(skip % self.sockets.len().max(1))?;
        Some((entry.key().clone(), entry.value().clone()))
    }

    /// How many sockets.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }
}
