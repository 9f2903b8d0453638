//! Follows the sale's stream: the board, the seat map, the phase, and the news of the local sockets. What
//! it hears concerns every wing.

use crate::{
    drain::Drain,
    metrics,
    room::{Room, sockets::News},
    store::{
        errors::StoreError,
        line::stream::{BookingChange, Changes, Entry},
        redis::Redis,
    },
};
use std::{
    sync::Weak,
    time::{Duration, Instant},
};
use tokio::time::{sleep, sleep_until};
use wire::domain::{booking::BookingStatus, line::Position, phase::Phase, place::LapseReason};

/// Pause after a stream that was lost, or has a gap; longer each time …
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// From one read to the next, at least: each entry wakes all who follow.
const READ_PAUSE_MIN: Duration = Duration::from_millis(5);

/// Follows until the server has stopped.
pub(in crate::room) async fn run(room: Weak<Room>, redis: Redis) {
    let Some(room) = room.upgrade() else { return };
    let (mut pause, mut on_record) = (PAUSE_MIN, Position::default());
    while room.line.drain() < Drain::Done {
        let began = Instant::now();
        let ended = follow(&room, &redis).await;
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        let heard = room.line.live().position;
        if heard != on_record && room.line.drain() < Drain::Done {
            on_record = heard;
            // Redis may come back without what was heard of it last, and whoever restores the line waits for nobody who is late.
            let journal = room.journal.clone();
            tokio::spawn(async move { journal.witness(u64::MAX).await });
        }
        let Err(error) = ended else { continue };
        // Another Redis answers: that may be all that there was.
        let Err(error) = room.line.revive(error).await else { continue };
        // Said once: an outage has many tries, and many rooms.
        match pause {
            PAUSE_MIN => tracing::warn!(sale = %room.sale.id, "the stream is lost, trying again: {error}"),
            _ => tracing::debug!(sale = %room.sale.id, "the stream is lost, trying again: {error}"),
        }
        sleep(pause).await;
        pause = PAUSE_MAX.min(2 * pause);
    }
}

async fn follow(room: &Room, redis: &Redis) -> Result<(), StoreError> {
    let line = &room.line;
    let mut reader = redis.events(&line.store).await?;
    let mut gaps = 0;
    let mut next = tokio::time::Instant::now();
    while line.drain() < Drain::Done && reader.is_good() {
        sleep_until(next).await;
        let after = line.live().position;
        let entries = match reader.read(after).await {
            Err(StoreError::Corrupt(why)) => {
                tracing::warn!(sale = %room.sale.id, "the stream has what is no entry after {after:?} ({why}): reading the line anew");
                room.resync().await?;
                gaps += 1;
                sleep(PAUSE_MAX.min(PAUSE_MIN * gaps)).await;
                continue;
            }
            entries => entries?,
        };
        next = (Instant::now() + line.company_pause().max(READ_PAUSE_MIN)).into();
        if entries.is_empty() {
            // Silence may also mean that Redis lost what was there.
            if !line.is_current(after).await? {
                room.resync().await?;
            }
            line.heard_now();
            continue;
        }
        if has_gap(after, &entries) {
            tracing::warn!(sale = %room.sale.id, "the stream has a gap after {after:?}: reading the line anew");
            room.resync().await?;
            // A gap that stays is not looked at as fast as can be.
            gaps += 1;
            sleep(PAUSE_MAX.min(PAUSE_MIN * gaps)).await;
            continue;
        }
        gaps = 0;
        room.journal.keep(&entries);
        let merged = entries.iter().any(|entry| entry.changes.as_ref().is_ok_and(|c| c.merged.is_some()));
        let unread = apply(room, entries);
        if let Some((position, why)) = unread {
            tracing::warn!(sale = %room.sale.id, "entry {position:?} cannot be read ({why}): reading the line anew");
            room.resync().await?;
        } else if merged {
            room.resync().await?;
        }
        line.heard_now();
    }
    Ok(())
}

/// Entries are numbered without a gap within an epoch.
fn has_gap(after: Position, entries: &[Entry]) -> bool {
    let expected = (1..).map(|i| Position { epoch: after.epoch, n: after.n + i });
    entries.iter().zip(expected).any(|(entry, expected)| entry.position != expected)
}

/// Applies entries up to the first that cannot be read, and answers that one.
fn apply(room: &Room, entries: Vec<Entry>) -> Option<(Position, String)> {
    let mut readable = Vec::with_capacity(entries.len());
    let mut unread = None;
    for Entry { position, changes, .. } in entries {
        match changes {
            Ok(changes) => readable.push((position, changes)),
            Err(why) => {
                unread = Some((position, why));
                break;
            }
        }
    }
    let mut gone = Vec::with_capacity(readable.len());
    room.line.change_live(|live| {
        for (position, changes) in &readable {
            if let Some((first, last)) = changes.joined {
                (first..=last).for_each(|seq| live.board.insert(seq));
            }
            changes.restored.iter().for_each(|seq| live.board.insert(*seq));
            let left = changes.left.iter().map(|(_, seq)| *seq);
            let away = changes.away.iter().map(|(_, seq)| *seq);
            // A turn that is given up was no place in the line any more.
            gone.push(left.clone().chain(away.clone()).filter(|seq| live.board.has(*seq)).count() as u64);
            left.chain(away)
                .chain(changes.admitted.iter().map(|a| a.1))
                .for_each(|seq| live.board.remove(seq));
            live.position = *position;
            room.line.store.is_told(*position);
        }
        live.board.recount();
    });
    for ((position, changes), gone) in readable.into_iter().zip(gone) {
        count(room, &changes);
        // Before the seats: a seat that his own booking took is never told to a visitor as someone else's.
        end_grants(room, &changes);
        apply_seats(room, &changes);
        note_pace(room, &changes, gone);
        tell(room, position, changes);
    }
    unread
}

/// What this instance's ticks did; the answer to a tick may be lost, its entry is not.
fn count(room: &Room, changes: &Changes) {
    if changes.by.as_deref() != Some(room.line.store.instance()) {
        return;
    }
    let sale = room.sale.id.as_str();
    metrics::admissions(sale, changes.admitted.len() as u64);
    for (_, _, reason) in &changes.lapsed {
        metrics::lapses(sale, reason.as_str(), 1);
    }
}

fn end_grants(room: &Room, changes: &Changes) {
    let lapsed = changes.lapsed.iter().map(|(_, seq, _)| *seq);
    let left = changes.left.iter().map(|(_, seq)| *seq);
    let booked = changes.booked.iter().filter_map(|change| change.seq);
    lapsed.chain(left).chain(booked).for_each(|seq| room.redeems.unspent.end(seq));
    if changes.booked.iter().any(|change| change.booking.is_none()) {
        room.redeems.unspent.forget();
    }
}

fn apply_seats(room: &Room, changes: &Changes) {
    if changes.booked.is_empty() && changes.freed.is_empty() {
        return;
    }
    let now = Instant::now();
    let at = now.checked_sub(room.line.since(changes.at)).unwrap_or(now);
    let mut seats = room.seats.map();
    for change in &changes.freed {
        seats.free_at(change.booking, &change.seats, at);
    }
    for change in &changes.booked {
        seats.book_at(change.booking, change.status == BookingStatus::Held, &change.seats, at);
    }
}

/// How the line moves on: by admissions, and by those who leave it otherwise.
fn note_pace(room: &Room, changes: &Changes, gone: u64) {
    let from_line = changes.admitted.iter().filter(|admitted| admitted.4 == 0).count() as u64;
    if from_line + gone > 0 {
        room.line.pace().count(from_line, gone, Instant::now());
    }
}

fn tell(room: &Room, position: Position, changes: Changes) {
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
        room.sockets.tell(&admitted.0, position, news);
    }
    for (visitor, seq, reason) in &changes.lapsed {
        room.sockets.tell(visitor, position, News::Lapsed(*seq, *reason));
    }
    // Passed over although he is here: his instance was cut off. Asking anew brings him back.
    for (visitor, _) in &changes.away {
        room.sockets.tell(visitor, position, News::Recheck);
    }
    let is_removed = |visitor| changes.removed.iter().any(|(removed, _)| removed == visitor);
    for (visitor, _) in &changes.removed {
        room.sockets.tell(visitor, position, News::Removed);
    }
    for (visitor, seq) in changes.left.iter().filter(|(visitor, _)| !is_removed(visitor)) {
        room.sockets.tell(visitor, position, News::Lapsed(*seq, LapseReason::Left));
    }
    changes.booked.iter().chain(&changes.freed).for_each(|change| tell_booking(room, position, change));
    for (visitor, instance, _) in &changes.moved {
        if instance != room.line.store.instance()
            && let Some(socket) = room.sockets.get(visitor)
        {
            socket.tell(position, News::Replaced);
        }
    }
    if changes.shifted.is_some() {
        room.sockets.tell_all(position, &News::Shifted);
    }
    if changes.settings.is_some() {
        room.line.changed.notify_one();
    }
    // Last, so that what came before it is heard first.
    if changes.phase == Some(Phase::Closed) {
        room.set_phase(Phase::Closed, position);
    }
}

fn tell_booking(room: &Room, position: Position, change: &BookingChange) {
    let (Some(visitor), Some(booking)) = (&change.visitor, change.booking) else { return };
    let news = match change.seq {
        Some(seq) => News::Booked(seq),
        None => News::BookingChanged(booking),
    };
    room.sockets.tell(visitor, position, news);
}
