//! The line's life in Redis: how it begins, how this instance reads it anew after a gap or a loss, and how the operator's
//! settings come into force there.

use super::LiveLine;
use crate::{
    limits::JOINS_MAX,
    room::{
        Room,
        sockets::{Hub, News},
    },
    store::{
        errors::StoreError,
        line::{Install, LineSettings, Takeover},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use wire::domain::{ids::Seq, line::Position, phase::Phase, sale::SaleState};

/// Seqs drawn in one epoch stay below this: the places of an older epoch, which only their tokens prove any more,
/// come before those of a newer one.
const SEQS_PER_EPOCH: Seq = 1_000_000_000;

/// Whoever has got the number of the next life installs it within this.
const BEGUN_PAUSE: Duration = Duration::from_millis(200);

/// How often it is looked again, after somebody else has begun a life.
const LOOKS: u32 = 5;

/// Longer than the right to a journal lasts that nobody renews.
const ELSEWHERE_PATIENCE: Duration = Duration::from_secs(8);

/// How long a question waits for a line that is being restored.
const RESTORE_PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two looks at whether that is done.
const RESTORE_PAUSE: Duration = Duration::from_millis(50);

/// Pause between two groups of sockets that are to ask anew.
const RECHECK_PAUSE: Duration = Duration::from_millis(10);

impl LiveLine {
    /// Makes sure that the sale lives in the Redis that answers now, with all that anybody was told and the settings that
    /// PostgreSQL has. One that has lost something begins a new life, and is restored by whoever keeps the journal.
    pub(in crate::room) async fn install(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.installing.lock().await;
        self.clock.forget();
        for _ in 0..LOOKS {
            // Before anything is looked at: whoever begins a life after that is first, and this instance begins none.
            let last_epoch = self.sales.last_epoch(&self.sale).await?;
            let journaled = self.journal.end().await?;
            let mut lost_epoch = self.look(journaled).await?;
            if lost_epoch.is_some() && last_epoch > self.sale.first_epoch {
                // Another instance may have got its number and be about to install it: of a new sale all hear at once.
                sleep(BEGUN_PAUSE).await;
                lost_epoch = self.look(journaled).await?;
            }
            let Some(lost_epoch) = lost_epoch else { return self.apply_settings(&self.state()).await };
            if self.has_waited_for_others().await? {
                continue;
            }
            self.begin(lost_epoch, last_epoch).await?;
        }
        Err(StoreError::OtherProcess)
    }

    /// An instance that has never known the line may have been led to another Redis than those who serve it: where theirs lost the
    /// line, they begin its next life themselves, and where they have died, their right to the journal ends. Answers whether there
    /// was somebody to wait for.
    async fn has_waited_for_others(&self) -> Result<bool, StoreError> {
        let is_new = self.live().position == Position::default();
        let began = Instant::now();
        let mut waited = false;
        while is_new && self.journal.is_kept_by_others(self.store.instance()).await? {
            waited = true;
            if self.look(self.journal.end().await?).await?.is_none() {
                break;
            }
            if began.elapsed() > ELSEWHERE_PATIENCE {
                return Err(StoreError::Elsewhere);
            }
            sleep(BEGUN_PAUSE).await;
        }
        Ok(waited)
    }

    /// Looks at the Redis that answers now: the epoch that was lost there, 0 if there is nothing of this sale; or nothing was
    /// lost.
    async fn look(&self, journaled: Position) -> Result<Option<u64>, StoreError> {
        Ok(match self.store.take_over(journaled).await? {
            Takeover::Whole if self.is_of_this_sale().await? => None,
            Takeover::Whole | Takeover::Missing => Some(0),
            Takeover::Lost(epoch) => Some(epoch),
        })
    }

    /// Whether what Redis has is not what a deleted sale of the same id left there.
    async fn is_of_this_sale(&self) -> Result<bool, StoreError> {
        let position = self.store.position().await?;
        Ok(position.is_some_and(|(position, _)| position.epoch > self.sale.first_epoch))
    }

    /// Begins the next life of the line, unless somebody has since the one of `last_epoch` was begun; `lost_epoch` is the one
    /// that it follows in Redis, 0 if there is nothing.
    async fn begin(&self, lost_epoch: u64, last_epoch: u64) -> Result<(), StoreError> {
        let first_epoch = self.sale.first_epoch;
        let (booked_seats, held) = self.bookings.booked().await?;
        // In a life that follows another they come back with the places, a few at a time.
        let is_first = last_epoch <= first_epoch;
        let visitors = if is_first { self.bookings.visitors().await? } else { Vec::new() };
        let Some((epoch, shift_ms)) = self.sales.next_epoch(&self.sale, last_epoch).await? else {
            return Ok(());
        };
        let install = Install {
            epoch,
            first_epoch,
            lost_epoch,
            command: self.state().command,
            first_seq: epoch.saturating_sub(1) * SEQS_PER_EPOCH,
            seats: self.sale.plan.seats.len(),
            shift_ms,
            booked_seats: &booked_seats,
            held: &held,
            visitors: &visitors,
        };
        if self.store.install(&install).await? && epoch > first_epoch + 1 {
            let sale = &self.sale.id;
            tracing::error!(%sale, "Redis has lost the line, or a part of it: epoch {epoch} begins, and is restored");
        }
        Ok(())
    }

    /// After a call that failed: if another Redis answers, or one that has lost the line, that is seen to; and what is being
    /// restored is waited for, a while. Then the call may be made again.
    pub(super) async fn revive(&self, error: StoreError) -> Result<(), StoreError> {
        if error.is_missing_line() || matches!(error, StoreError::OtherProcess) {
            self.install().await?;
        } else if !error.is_restoring() {
            return Err(error);
        }
        let since = Instant::now();
        while self.store.restoring().await?.is_some() {
            if since.elapsed() > RESTORE_PATIENCE {
                return Err(error);
            }
            sleep(RESTORE_PAUSE).await;
        }
        Ok(())
    }

    /// The same for a Redis that was believed, and turns out to have gone back in that epoch; unless another was begun since.
    pub(in crate::room) async fn begin_anew(&self, epoch: u64) -> Result<(), StoreError> {
        let last_epoch = self.sales.last_epoch(&self.sale).await?;
        let lost_epoch = self.store.position().await?.map_or(0, |(position, _)| position.epoch);
        if lost_epoch > epoch {
            return Ok(());
        }
        self.begin(lost_epoch, last_epoch).await
    }

    /// Puts settings in force in Redis, unless newer ones are.
    pub(super) async fn apply_settings(&self, state: &SaleState) -> Result<(), StoreError> {
        let s = &state.settings;
        let settings = LineSettings {
            version: state.version,
            command: state.command,
            rate: s.rate,
            max_active: s.max_active,
            grant_ttl_ms: u64::from(s.grant_ttl_s) * 1000,
            claim_ms: u64::from(s.claim_s) * 1000,
            away_ms: u64::from(s.away_s) * 1000,
            blocked: &state.blocked,
            banned: &state.banned,
        };
        self.store.apply(&settings).await?;
        Ok(())
    }

    /// Whether the stream goes on from where this instance stands.
    pub(super) async fn is_current(&self, at: Position) -> Result<bool, StoreError> {
        match self.store.position().await {
            Ok(Some((position, _))) => Ok(position.epoch == at.epoch && position.n >= at.n),
            Ok(None) | Err(StoreError::OtherProcess) => {
                self.install().await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Room {
    /// Reads the line and the seats anew. The stream is followed from where it stood before reading began: applying a
    /// change twice does no harm, so the picture comes right as the stream is caught up with.
    pub(in crate::room) async fn resync(&self) -> Result<(), StoreError> {
        let line = &self.line;
        let Some((position, phase)) = line.store.position().await? else {
            return Err(StoreError::Corrupt("the sale is not installed".into()));
        };
        let (position, board) = line.read_board(position).await?;
        let booked = line.store.booked_seats(self.sale.plan.seats.len()).await?;
        let held = line.store.held().await?;
        self.redeems.unspent.forget();
        self.seats.map().replace(booked, held);
        let before = line.change_live(|live| {
            live.board = board;
            std::mem::replace(&mut live.position, position)
        });
        if (1..position.epoch).contains(&before.epoch) {
            let journal = self.journal.clone();
            tokio::spawn(async move { journal.witness(position.epoch).await });
        }
        if before.epoch == 0 {
            // What was so before this instance came is no news.
            self.line.change_live(|live| live.phase = phase);
            self.line.revision.rise();
        }
        self.set_phase(phase, position);
        // A line that is being restored is read once more when that is done.
        if line.store.restoring().await?.is_none() {
            tokio::spawn(recheck_all(self.sockets.clone(), self.line.clone()));
        }
        Ok(())
    }

    pub(super) fn set_phase(&self, phase: Phase, position: Position) {
        let before = self.line.change_live(|live| std::mem::replace(&mut live.phase, phase));
        self.line.pace().run(phase == Phase::Open, Instant::now());
        if before != phase {
            tracing::info!(sale = %self.sale.id, "phase {before} → {phase}");
            self.line.revision.rise();
            self.sockets.tell_all(position, &News::Phase(phase));
        }
    }
}

/// Everyone here is to ask anew how he stands: not all at once, or those who come last are sent away.
async fn recheck_all(sockets: Arc<Hub>, line: Arc<LiveLine>) {
    for some in sockets.all().chunks(JOINS_MAX) {
        some.iter().for_each(|socket| socket.tell(Position::default(), News::Recheck));
        sleep(RECHECK_PAUSE).await;
        while line.joins_waiting() > JOINS_MAX {
            sleep(RECHECK_PAUSE).await;
        }
    }
}
