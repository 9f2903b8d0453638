//! Follows the sale's stream: the board, the seat map, the phase, and the news of the local sockets.

use super::{Room, hub::News, settle};
use crate::{
    domain::{booking::BookingStatus, phase::Phase},
    shutdown::Stage,
    store::{
        errors::StoreError,
        events::{BookingChange, Changes, Entry, EventReader, Position},
    },
};
use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Follows until the server has stopped.
pub(super) async fn run(room: Arc<Room>) {
    while room.stage() < Stage::Stopped {
        if let Err(error) = follow(&room).await {
            tracing::warn!(sale = %room.id, "the stream is lost, trying again: {error}");
            sleep(Duration::from_millis(300)).await;
        }
    }
}

async fn follow(room: &Room) -> Result<(), StoreError> {
    let mut reader: EventReader = room.redis.events(&room.line).await?;
    while room.stage() < Stage::Stopped {
        let after = room.live().position;
        let entries = reader.read(after).await?;
        if entries.is_empty() {
            // Silence may also mean that Redis lost what was there.
            if !settle::is_current(room, after).await? {
                settle::resync(room).await?;
            }
            room.heard_now();
            continue;
        }
        if has_gap(after, &entries) {
            tracing::warn!(sale = %room.id, "the stream has a gap after {after:?}: reading the line anew");
            settle::resync(room).await?;
            continue;
        }
        apply(room, entries);
        room.heard_now();
    }
    Ok(())
}

/// Entries are numbered without a gap within an epoch.
fn has_gap(after: Position, entries: &[Entry]) -> bool {
    let expected = (1..).map(|i| Position { epoch: after.epoch, n: after.n + i });
    entries.iter().zip(expected).any(|(entry, expected)| entry.position != expected)
}

fn apply(room: &Room, entries: Vec<Entry>) {
    room.change_live(|live| {
        for Entry { position, changes } in &entries {
            if let Some((first, last)) = changes.joined {
                (first..=last).for_each(|seq| live.board.insert(seq));
            }
            changes.restored.iter().for_each(|seq| live.board.insert(*seq));
            let left = changes.left.iter().map(|(_, seq)| *seq);
            let away = changes.away.iter().map(|(_, seq)| *seq);
            left.chain(away)
                .chain(changes.admitted.iter().map(|a| a.1))
                .for_each(|seq| live.board.remove(seq));
            live.position = *position;
        }
        live.board.settle();
    });
    for entry in entries {
        // Before the seats: a seat that his own booking took is never told to a visitor as someone else's.
        end_grants(room, &entry.changes);
        apply_seats(room, &entry.changes);
        tell(room, entry.position, entry.changes);
    }
}

fn end_grants(room: &Room, changes: &Changes) {
    let lapsed = changes.lapsed.iter().map(|(_, seq, _)| *seq);
    let left = changes.left.iter().map(|(_, seq)| *seq);
    let booked = changes.booked.iter().filter_map(|change| change.seq);
    lapsed.chain(left).chain(booked).for_each(|seq| room.unspent.end(seq));
    if changes.booked.iter().any(|change| change.booking.is_empty()) {
        room.unspent.forget();
    }
}

fn apply_seats(room: &Room, changes: &Changes) {
    if changes.booked.is_empty() && changes.freed.is_empty() {
        return;
    }
    let now = Instant::now();
    let at = now.checked_sub(room.since(changes.at)).unwrap_or(now);
    let mut seats = room.seats();
    for change in &changes.freed {
        seats.free_at(&change.booking, &change.seats, at);
    }
    for change in &changes.booked {
        seats.book_at(&change.booking, change.status == BookingStatus::Held, &change.seats, at);
    }
}

fn tell(room: &Room, position: Position, changes: Changes) {
    let from_line = changes.admitted.iter().filter(|admitted| admitted.4 == 0).count() as u64;
    if from_line > 0 {
        room.pace.lock().unwrap_or_else(PoisonError::into_inner).count(from_line, Instant::now());
    }
    if let Some(phase) = changes.phase.filter(|phase| *phase != Phase::Closed) {
        room.set_phase(phase, position);
    }
    for admitted in &changes.admitted {
        let news = News::Granted {
            grant: admitted.grant(),
            owned: admitted.3,
            deadline_ms: changes.deadline,
            claim_ms: changes.claim,
            at_ms: changes.at,
        };
        room.hub.tell(&admitted.0, position, news);
    }
    for (visitor, seq, reason) in &changes.lapsed {
        room.hub.tell(visitor, position, News::Lapsed(*seq, *reason));
    }
    // Passed over although he is here: his instance was cut off. Asking anew brings him back.
    for (visitor, _) in &changes.away {
        room.hub.tell(visitor, position, News::Recheck);
    }
    for (visitor, seq) in &changes.left {
        let reason = crate::domain::place::LapseReason::Left;
        room.hub.tell(visitor, position, News::Lapsed(*seq, reason));
    }
    changes.booked.iter().chain(&changes.freed).for_each(|change| tell_booking(room, position, change));
    for (visitor, instance, _) in &changes.moved {
        if instance != room.redis.instance()
            && let Some(socket) = room.hub.get(visitor)
        {
            socket.tell(position, News::Replaced);
        }
    }
    if changes.shifted.is_some() {
        room.hub.tell_all(position, &News::Shifted);
    }
    if changes.settings.is_some() {
        room.changed.notify_one();
    }
    // Last, so that what came before it is heard first.
    if changes.phase == Some(Phase::Closed) {
        room.set_phase(Phase::Closed, position);
    }
}

fn tell_booking(room: &Room, position: Position, change: &BookingChange) {
    let Some((visitor, booking)) = change.booking() else { return };
    let news = match change.seq {
        Some(seq) => News::Booked(seq),
        None => News::BookingChanged(booking),
    };
    room.hub.tell(&visitor, position, news);
}
