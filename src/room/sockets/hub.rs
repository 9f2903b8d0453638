//! The sockets of one room on this instance, by visitor: each has one. For who goes over all of them they stand in slots.

use super::{
    news::{News, Watch},
    socket::Socket,
};
use crate::room::pulse::Pulse;
use dashmap::DashMap;
use slab::Slab;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use wire::domain::{ids::VisitorId, line::Position};

/// The sockets of one room, by visitor: a visitor has one.
#[derive(Default)]
pub struct Hub {
    sockets: DashMap<VisitorId, Arc<Socket>>,
    /// The same, each in a slot that it keeps.
    slots: Mutex<Slab<Arc<Socket>>>,
    /// Parked sockets that are to hear what all hear.
    behind: Mutex<Vec<Arc<Socket>>>,
    /// Those who are near the head of the line, by the rank that they show: they are told more often, and looking for them among all
    /// would cost more than telling them.
    near: Mutex<HashMap<u64, Arc<Socket>>>,
    /// Those who watch the seats: hundreds among the many who wait.
    seat_watchers: Mutex<HashMap<u64, Arc<Socket>>>,
    /// Whether all were told of an outage that is not over.
    outage: AtomicBool,
    /// Of the sweeper.
    pub(in crate::room) pulse: Pulse,
}

impl Hub {
    /// The visitor's socket is this one; an older one is told that it was replaced.
    pub fn attach(&self, visitor: &VisitorId, socket: Arc<Socket>) {
        socket.stand_at(self.slots().insert(socket.clone()));
        let Some(older) = self.sockets.insert(visitor.clone(), socket.clone()) else { return };
        if older.id != socket.id {
            self.vacate(&older);
            older.tell(Position::default(), News::Replaced);
        }
    }

    /// The socket is gone; a newer one of the visitor stays.
    pub fn detach(&self, visitor: &VisitorId, socket: &Socket) {
        self.unwatch_seats(socket.id);
        // Whoever goes over all of them may have it in hand: it is near no more.
        socket.watch(None);
        self.near().remove(&socket.id);
        self.vacate(socket);
        self.sockets.remove_if(visitor, |_, other| other.id == socket.id);
    }

    /// Its slot may be another's already: who was replaced has none.
    fn vacate(&self, socket: &Socket) {
        let mut slots = self.slots();
        if slots.get(socket.slot()).is_some_and(|there| there.id == socket.id) {
            slots.remove(socket.slot());
        }
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

    /// Tells everyone; those who are parked hear it as the sweeper comes to it, before anything else that they are told.
    pub fn tell_all(&self, position: Position, news: &News) {
        let mut all = self.all();
        all.retain(|socket| socket.put(position, news.clone()));
        self.behind().append(&mut all);
    }

    /// Whether all were told of an outage, and not yet of its end.
    pub fn outage(&self) -> bool {
        self.outage.load(Ordering::SeqCst)
    }

    /// Tells everyone of an outage, or of its end; whoever comes from now on finds it here.
    pub(super) fn tell_outage(&self, on: bool) {
        self.outage.store(on, Ordering::SeqCst);
        self.tell_all(Position::default(), &News::Outage(on));
    }

    /// Some of the sockets that are to hear what all hear.
    pub(super) fn some_behind(&self, max: usize) -> Vec<Arc<Socket>> {
        let mut behind = self.behind();
        let rest = behind.len().saturating_sub(max);
        behind.split_off(rest)
    }

    fn behind(&self) -> MutexGuard<'_, Vec<Arc<Socket>>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the socket shows this place's rank, or none.
    pub fn watch_rank(&self, socket: &Arc<Socket>, watch: Option<Watch>) {
        socket.watch(watch);
        self.keep_if_near(socket);
    }

    /// Whoever is near is one of the [`Hub::near_ones`] from here on.
    pub(super) fn keep_if_near(&self, socket: &Arc<Socket>) {
        if socket.is_near() {
            self.near().insert(socket.id, socket.clone());
        }
    }

    /// Of those who are near one part of so many. Who is near no more is let go.
    pub(super) fn near_ones(&self, part: u64, parts: u64) -> Vec<Arc<Socket>> {
        let (mut near, is_of) = (self.near(), |id: &u64| id % parts == part);
        near.retain(|id, socket| !is_of(id) || socket.is_near());
        near.iter().filter(|(id, _)| is_of(id)).map(|(_, socket)| socket.clone()).collect()
    }

    fn near(&self) -> MutexGuard<'_, HashMap<u64, Arc<Socket>>> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.slots().iter().map(|(_, socket)| socket.clone()).collect()
    }

    /// Ends those that are left.
    pub fn end(&self) {
        self.all().iter().for_each(|socket| socket.kill("closed"));
    }

    /// The sockets in these slots.
    pub(super) fn in_slots(&self, slots: impl Iterator<Item = usize>) -> Vec<Arc<Socket>> {
        let all = self.slots();
        slots.filter_map(|slot| all.get(slot).cloned()).collect()
    }

    /// How many slots there are, empty ones too.
    pub(super) fn slots_len(&self) -> usize {
        self.slots().capacity()
    }

    fn slots(&self) -> MutexGuard<'_, Slab<Arc<Socket>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::NEAR_RANK;

    #[test]
    fn who_is_near_is_told_apart_until_he_is_near_no_more_or_gone() {
        let hub = Hub::default();
        let watch = |shown| Some(Watch { seq: 1, since: Position::default(), shown });
        let sockets: Vec<_> = (0..5).map(Socket::new).collect();
        let shown = [NEAR_RANK - 1, NEAR_RANK, 5, 7, 9];
        sockets.iter().zip(shown).for_each(|(socket, shown)| hub.watch_rank(socket, watch(shown)));
        let near = || {
            let mut ids: Vec<_> =
                (0..2).flat_map(|part| hub.near_ones(part, 2)).map(|socket| socket.id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(near(), [0, 2, 3, 4]);
        hub.watch_rank(&sockets[2], None);
        hub.detach(&VisitorId::anonymous(), &sockets[3]);
        hub.keep_if_near(&sockets[3]);
        sockets[1].watch(watch(NEAR_RANK - 1));
        hub.keep_if_near(&sockets[1]);
        assert_eq!(near(), [0, 1, 4]);
    }
}
