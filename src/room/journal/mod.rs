//! Keeps the journal: what the sale's stream tells goes to PostgreSQL, by whichever instance has the right to write it. Only
//! what is journaled leaves the stream. Who has that right also restores a line that Redis lost.

mod kept;
mod restore;

use super::{errors::RoomError, line::LiveLine};
use crate::{
    drain::Drain,
    limits::{HEAD_LOGGED, JOURNAL_LEASE, JOURNAL_PAUSE, STREAM_KEPT},
    metrics,
    store::{
        errors::StoreError,
        journal::{Journal, JournalError, Lease, Record, Tail, Writer},
        line::stream::{Changes, Entry, EventReader},
        redis::Redis,
    },
};
use kept::Kept;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;
use wire::domain::{
    ids::{Seq, VisitorId},
    journal::{Head, Receipt, Story},
    line::Position,
    phase::Phase,
};

/// Leaves of one batch at most: the memory and the time that one transaction takes.
const LEAVES_MAX: usize = 20_000;
/// How long the last entries of a server that has left are waited for.
const LAST_READ: Duration = Duration::from_millis(100);
/// How long others may take up a journal that this program cannot go on with.
const JOURNAL_LEFT: Duration = JOURNAL_LEASE.saturating_mul(4);
/// Tries to add what Redis has lost, beside others who know it too.
const WITNESS_TRIES: u32 = 5;

/// A sale's journal as this instance knows it.
pub struct Journaling {
    line: Arc<LiveLine>,
    store: Journal,
    /// Up to where this instance knows the journal to be written.
    done: Mutex<Position>,
    /// What came after that.
    kept: Mutex<Kept>,
    /// Whether this instance will not write any more.
    given_up: watch::Sender<bool>,
}

/// Why this instance does not go on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("Redis has gone back: its stream is not the one that is journaled (epoch {0})")]
    Forked(u64),
    #[error(
        "entry {0:?} cannot be read by this program ({1}): it goes on when an instance of the release that wrote it runs"
    )]
    Unreadable(Position, String),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Journal(error.into())
    }
}

impl Journaling {
    pub(super) fn new(line: Arc<LiveLine>, store: Journal) -> Self {
        let (done, kept, given_up) = Default::default();
        Self { line, store, done, kept, given_up }
    }

    /// Whether all that this instance has heard of the line is on record, or another instance sees to it.
    pub(super) fn is_whole(&self) -> bool {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) >= self.line.live().position
    }

    /// Waits until the server has left and another instance may write.
    pub async fn given_up(&self) {
        // Fails only when nobody can write any more.
        let _ = self.given_up.subscribe().wait_for(|given_up| *given_up).await;
    }

    /// Entries were heard: until they are journaled, Redis may lose them.
    pub(super) fn keep(&self, entries: &[Entry]) {
        self.kept().add(entries);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_done_to(&self, position: Position) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = position;
        self.kept().drop_before(position);
    }

    fn holder(&self) -> &str {
        self.line.store().instance()
    }

    /// What this instance heard of the lives before `epoch`, and nobody has journaled, goes on record: Redis has lost it, or may have.
    pub(super) async fn witness(&self, epoch: u64) {
        for _ in 0..WITNESS_TRIES {
            match self.add_lost(epoch).await {
                Ok(0) => return,
                Ok(count) => {
                    let sale = &self.line.sale().id;
                    tracing::info!(%sale, "{count} entries that Redis may have lost were put on record");
                    return;
                }
                Err(Stopped::Journal(JournalError::NotHolder)) => {}
                Err(error) => {
                    let sale = &self.line.sale().id;
                    return tracing::warn!(%sale, "what Redis may have lost could not be put on record: {error}");
                }
            }
        }
    }

    async fn add_lost(&self, epoch: u64) -> Result<usize, Stopped> {
        let Some(mut tail) = self.store.tail().await? else { return Ok(0) };
        let mut rest = self.kept().after(&tail, epoch);
        let count = rest.len();
        while !rest.is_empty() {
            let batch = next_batch(&mut rest)?;
            tail = self.store.append(Writer::Witness, &tail, &batch).await?;
        }
        Ok(count)
    }
}

/// Writes for as long as the server lives, whenever nobody else does.
pub(super) async fn run(journal: Arc<Journaling>, redis: Redis) {
    while journal.line.drain() < Drain::Done {
        match journal.store.lease(journal.holder()).await {
            Ok(Lease::Ours(tail)) => {
                if let Err(stopped) = write(&journal, &redis, tail).await {
                    tracing::warn!(sale = %journal.line.sale().id, "the journal stops for now: {stopped}");
                    match stopped {
                        Stopped::Forked(epoch) => {
                            begin_anew(&journal, epoch).await;
                            continue;
                        }
                        Stopped::Unreadable(..) => leave_it_to_others(&journal).await,
                        // A witness was faster, or somebody else keeps it now: the lease tells.
                        Stopped::Journal(JournalError::NotHolder) => continue,
                        // Somebody else may reach both stores.
                        Stopped::Journal(JournalError::Store(_)) => give_up(&journal).await,
                    }
                }
            }
            Ok(Lease::Theirs(position)) => journal.is_done_to(position),
            Err(error) => tracing::debug!("the right to write the journal was not had: {error}"),
        }
        tokio::select! {
            () = sleep(JOURNAL_LEASE) => {}
            () = journal.line.reached(Drain::Done, Duration::ZERO) => {}
        }
    }
    give_up(&journal).await;
    journal.given_up.send_replace(true);
}

/// The next instance need not wait until the lease has run out.
async fn give_up(journal: &Journaling) {
    // Else it ends by itself.
    let _ = journal.store.release(journal.holder()).await;
}

/// A newer program wrote what this one cannot read: where one of those runs, it goes on with the journal.
async fn leave_it_to_others(journal: &Journaling) {
    give_up(journal).await;
    sleep(JOURNAL_LEFT).await;
}

/// A Redis that was believed turns out to have gone back.
async fn begin_anew(journal: &Journaling, epoch: u64) {
    metrics::journal_fork();
    let line = &journal.line;
    if let Err(error) = line.begin_anew(epoch).await {
        tracing::warn!(sale = %line.sale().id, "a new epoch could not be begun: {error}");
    }
    sleep(JOURNAL_PAUSE).await;
}

async fn write(journal: &Journaling, redis: &Redis, mut tail: Tail) -> Result<(), Stopped> {
    let line = &journal.line;
    let mut reader = redis.events(line.store()).await?;
    let mut after = start(journal, &mut reader, &tail).await?;
    journal.is_done_to(tail.position);
    // Whoever wrote before may have begun it and come no further.
    restore::if_lost(journal, tail.position.epoch, &[]).await?;
    let mut leased = Instant::now();
    let mut logged = None;
    let mut rest: Vec<Entry> = Vec::new();
    while reader.is_good() {
        log_head(line, &tail, &mut logged);
        if rest.is_empty() {
            rest = tokio::select! {
                read = reader.read(after) => read?,
                // Nothing has come for a moment: that was all.
                () = line.reached(Drain::Done, LAST_READ) => return Ok(()),
            };
        }
        let Some(last) = rest.last() else {
            if leased.elapsed() > JOURNAL_LEASE {
                // What a witness has added is to be compared with the stream first.
                if lease(journal).await? != tail {
                    return Err(JournalError::NotHolder.into());
                }
                leased = Instant::now();
            }
            continue;
        };
        after = last.position;
        let mut batch = next_batch(&mut rest)?;
        if let Some(epoch) =
            batch.first().map(|first| first.position.epoch).filter(|e| *e > tail.position.epoch)
        {
            tail = restore::if_lost(journal, epoch, &batch).await?.unwrap_or(tail);
            batch.retain(|record| record.position > tail.position);
        }
        if let Some(first) = batch.first().filter(|first| !follows(first.position, tail.position)) {
            return Err(Stopped::Forked(first.position.epoch));
        }
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

async fn lease(journal: &Journaling) -> Result<Tail, Stopped> {
    match journal.store.lease(journal.holder()).await? {
        Lease::Ours(tail) => Ok(tail),
        Lease::Theirs(_) => Err(JournalError::NotHolder.into()),
    }
}

/// Entries are numbered without a gap, from 1 in each epoch.
fn follows(next: Position, last: Position) -> bool {
    if next.epoch == last.epoch { next.n == last.n + 1 } else { next.epoch > last.epoch && next.n == 1 }
}

/// Where to read on from. The stream that goes on behind the journal's end must be the one that the journal has so far: a Redis
/// that came back with an older state writes other entries under numbers that are journaled. Once that was seen, and another
/// epoch begun, nothing more of the forked one counts.
async fn start(journal: &Journaling, reader: &mut EventReader, tail: &Tail) -> Result<Position, Stopped> {
    let [there, next, last] = reader.look(tail.position).await?;
    // Trimmed before it was journaled, by whoever that was: what comes behind the gap cannot be added. What is no entry says
    // nothing of that.
    let is_gone = next.is_some_and(|next| next.changes.is_ok() && !follows(next.position, tail.position));
    let has_forked = match there {
        Some(entry) => entry.source() != tail.source,
        // Trimmed, or gone with an older life of the line; or Redis has gone back.
        None => last.is_some_and(|last| last.position < tail.position),
    };
    if !has_forked && !is_gone {
        return Ok(tail.position);
    }
    match journal.line.store().position().await? {
        Some((now, _)) if now.epoch > tail.position.epoch => Ok(Position { epoch: now.epoch, n: 0 }),
        _ => Err(Stopped::Forked(tail.position.epoch)),
    }
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
    let take = |entry: Entry| {
        let position = entry.position;
        Record::of(entry).map_err(|why| Stopped::Unreadable(position, why))
    };
    rest.drain(..count).map(take).collect()
}

async fn append(journal: &Journaling, tail: &Tail, batch: &[Record]) -> Result<Tail, Stopped> {
    let tail = journal.store.append(Writer::Holder(journal.holder()), tail, batch).await?;
    let line = &journal.line;
    if let (Some(first), Some(last)) = (batch.first(), batch.last()) {
        metrics::journal_lag(line.since(first.changes.at));
        let keep_from = tail.position.n.saturating_sub(STREAM_KEPT);
        let written = last.changes.written + last.text.len() as u64;
        line.store().journaled(tail.position.epoch, written, keep_from).await?;
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

    /// Whether whoever drew the place has been forgotten: nobody can prove it any more but by a receipt that he has.
    pub async fn is_forgotten(&self, seq: Seq) -> Result<bool, RoomError> {
        Ok(self.0.is_forgotten(seq).await?)
    }

    /// Whether the journal was deleted, as an operator may once the sale is closed.
    pub async fn is_purged(&self) -> Result<bool, RoomError> {
        Ok(self.0.is_purged().await?)
    }

    /// The proof of a visitor's place; nothing while the journal has not got there, or if he has been forgotten.
    pub async fn receipt(&self, visitor: &VisitorId, seq: Seq) -> Result<Option<Receipt>, RoomError> {
        Ok(self.0.receipt(visitor, seq).await?)
    }
}
