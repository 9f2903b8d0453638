//! Keeps the journal: what the sale's stream tells goes to PostgreSQL, by whichever instance has the right to write it. Only
//! what is journaled leaves the stream.

use super::{errors::RoomError, line::LiveLine};
use crate::{
    drain::Drain,
    limits::{HEAD_LOGGED, JOURNAL_LEASE, JOURNAL_PAUSE, STREAM_KEPT},
    metrics,
    store::{
        errors::StoreError,
        journal::{Journal, JournalError, Lease, Record, Tail},
        line::stream::{Changes, Entry, EventReader},
        redis::Redis,
    },
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};
use tokio::time::sleep;
use uuid::Uuid;
use wire::domain::{
    ids::{Seq, VisitorId},
    journal::{Head, Receipt, Story},
    line::Position,
    phase::Phase,
};

/// Leaves of one batch at most: the memory and the time that one transaction takes.
const LEAVES_MAX: usize = 20_000;

/// A sale's journal as this instance knows it.
pub struct Journaling {
    line: Arc<LiveLine>,
    store: Journal,
    /// Up to where this instance knows the journal to be written.
    done: Mutex<Position>,
}

/// Why this instance does not go on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("Redis has gone back: its stream is not the one that is journaled")]
    Forked,
    #[error("entry {0:?} cannot be read by this program: {1}")]
    Unreadable(Position, String),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Journal(error.into())
    }
}

impl Journaling {
    pub(super) fn new(line: Arc<LiveLine>, store: Journal) -> Self {
        Self { line, store, done: Default::default() }
    }

    /// Whether all that this instance has heard of the line is on record, or another instance sees to it.
    pub(super) fn is_whole(&self) -> bool {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) >= self.line.live().position
    }

    fn is_done_to(&self, position: Position) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }

    fn holder(&self) -> &str {
        self.line.store().instance()
    }
}

/// Writes for as long as the server lives, whenever nobody else does.
pub(super) async fn run(journal: Arc<Journaling>, redis: Redis) {
    while journal.line.drain() < Drain::Done {
        match journal.store.lease(journal.holder()).await {
            Ok(Lease::Ours(tail)) => {
                if let Err(stopped) = write(&journal, &redis, tail).await {
                    tracing::warn!(sale = %journal.line.sale().id, "the journal stops, and goes on in a moment: {stopped}");
                }
            }
            Ok(Lease::Theirs(position)) => journal.is_done_to(position),
            Err(error) => tracing::debug!("the right to write the journal was not had: {error}"),
        }
        sleep(JOURNAL_LEASE).await;
    }
    // The next instance need not wait until the lease has run out.
    let _ = journal.store.release(journal.holder()).await;
}

async fn write(journal: &Journaling, redis: &Redis, mut tail: Tail) -> Result<(), Stopped> {
    let line = &journal.line;
    let mut reader = redis.events(line.store()).await?;
    is_same_stream(&mut reader, &tail).await?;
    journal.is_done_to(tail.position);
    let mut leased = Instant::now();
    let mut logged = None;
    let mut rest: Vec<Entry> = Vec::new();
    while reader.is_good() {
        log_head(line, &tail, &mut logged);
        if rest.is_empty() {
            rest = reader.read(tail.position).await?;
        }
        if rest.is_empty() {
            if line.drain() >= Drain::Done {
                return Ok(());
            }
            if leased.elapsed() > JOURNAL_LEASE {
                if let Lease::Theirs(_) = journal.store.lease(journal.holder()).await? {
                    return Err(JournalError::NotHolder.into());
                }
                leased = Instant::now();
            }
            continue;
        }
        let batch = next_batch(&mut rest)?;
        tail = append(journal, &tail, &batch).await?;
        leased = Instant::now();
        if rest.is_empty() {
            sleep(JOURNAL_PAUSE).await;
        }
    }
    Ok(())
}

/// The chain's end goes into the log every minute while the sale is not over: whoever keeps the log can tell later whether
/// the journal is still the one that it was then.
fn log_head(line: &LiveLine, tail: &Tail, logged: &mut Option<Instant>) {
    let is_due = logged.is_none_or(|logged| logged.elapsed() >= HEAD_LOGGED);
    if tail.batch == 0 || !is_due || line.phase() == Phase::Closed {
        return;
    }
    *logged = Some(Instant::now());
    let Position { epoch, n } = tail.position;
    tracing::info!(sale = %line.sale().id, batch = tail.batch, epoch, n, hash = %tail.hash, "the journal's head");
}

/// The stream that goes on behind the journal's end must be the one that the journal has so far. A Redis that came back with
/// an older state writes other entries under numbers that are journaled.
async fn is_same_stream(reader: &mut EventReader, tail: &Tail) -> Result<(), Stopped> {
    let (there, last) = reader.look(tail.position).await?;
    let forked = match there {
        Some(entry) => entry.source != tail.source,
        // Trimmed, or gone with an older life of the line; or Redis has gone back.
        None => last.is_some_and(|last| last.position < tail.position),
    };
    if forked {
        metrics::journal_fork();
        return Err(Stopped::Forked);
    }
    Ok(())
}

/// Entries of one epoch, no more than one transaction should have.
fn next_batch(rest: &mut Vec<Entry>) -> Result<Vec<Record>, Stopped> {
    let (mut leaves, mut count) = (0, 0);
    let epoch = rest.first().map(|entry| entry.position.epoch);
    for entry in rest.iter().take_while(|entry| Some(entry.position.epoch) == epoch) {
        leaves += 1 + entry.changes.as_ref().map_or(0, Changes::places);
        if count > 0 && leaves > LEAVES_MAX {
            break;
        }
        count += 1;
    }
    let take = |Entry { position, changes, source, bytes }| match changes {
        Ok(changes) => Ok(Record { position, changes, source, bytes }),
        Err(why) => Err(Stopped::Unreadable(position, why)),
    };
    rest.drain(..count).map(take).collect()
}

async fn append(journal: &Journaling, tail: &Tail, batch: &[Record]) -> Result<Tail, Stopped> {
    let tail = journal.store.append(journal.holder(), tail, batch).await?;
    let line = &journal.line;
    if let (Some(first), Some(last)) = (batch.first(), batch.last()) {
        metrics::journal_lag(line.since(first.changes.at));
        let keep_from = tail.position.n.saturating_sub(STREAM_KEPT);
        let written = last.changes.written + last.bytes;
        let waiting = line.store().journaled(tail.position.epoch, written, keep_from).await?;
        metrics::journal_waiting(line.sale().id.as_str(), waiting);
    }
    journal.is_done_to(tail.position);
    Ok(tail)
}

/// What is on record of a sale, also of one that is over.
pub struct Records(Journal);

impl Records {
    pub(super) fn new(journal: Journal) -> Self {
        Self(journal)
    }

    /// The end of the chain; nothing before the first batch.
    pub async fn head(&self) -> Result<Option<Head>, RoomError> {
        Ok(self.0.head().await?)
    }

    /// What became of each place that a visitor drew, and of these bookings of his.
    pub async fn stories(&self, visitor: &VisitorId, bookings: &[Uuid]) -> Result<Vec<Story>, RoomError> {
        Ok(self.0.stories(visitor, bookings).await?)
    }

    /// The proof of a visitor's place; nothing while the journal has not got there, or if he has been forgotten.
    pub async fn receipt(&self, visitor: &VisitorId, seq: Seq) -> Result<Option<Receipt>, RoomError> {
        Ok(self.0.receipt(visitor, seq).await?)
    }
}
