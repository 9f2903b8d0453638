//! What an operator does about one visitor: removes him from a sale, perhaps for good, or forgets him in all.

use super::{Found, Rooms};
use crate::{
    metrics,
    room::{Room, errors::RoomError},
    store::{
        audit,
        errors::{Store, StoreError},
        journal::Journal,
        line::{Line, Removed},
        visitors::{Forgotten, Visitors},
    },
};
use futures_util::{Stream, TryStreamExt};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use wire::domain::{
    audit::{Actor, AuditFilter, AuditRecord},
    ids::{SaleId, Seq, VisitorId},
};

/// How long a visitor who books just now is waited for: a try to book is over by then.
const BUSY_PATIENCE: Duration = Duration::from_secs(4);
/// How long the journal is waited for: it is a second behind.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

impl Rooms {
    /// Records that a visitor is removed from a sale: until he is removed again without `ban`, he may not come any more if it is
    /// set. False if there is no such sale any more. [`Rooms::remove_visitor`] does it.
    pub async fn record_removal(
        &self,
        sale: &SaleId,
        visitor: &VisitorId,
        ban: bool,
        by: &Actor,
    ) -> Result<bool, RoomError> {
        Ok(Visitors::new(self.pool.clone()).remove(sale, visitor, ban, by).await?)
    }

    /// Ends a visitor's place and grant in a sale, and sends his sockets away. Answers whether a place ended; nothing if he books
    /// just now. What is recorded of it is in force once the line can be told.
    pub async fn remove_visitor(
        &self,
        found: &Found,
        visitor: &VisitorId,
    ) -> Result<Option<bool>, RoomError> {
        let id = &found.sale().id;
        // First, so that who is sent away does not come in again.
        self.put_in_force(id).await?;
        let Found::Room(room) = found else { return Ok(Some(false)) };
        let Some(ended) = end_in(room.line.store(), Some(room), visitor, None).await? else {
            return Ok(None);
        };
        metrics::lapses(id.as_str(), "removed", u64::from(ended));
        Ok(Some(ended))
    }

    /// Forgets a person: in each line that Redis has, and then in PostgreSQL, once the journals have all that happened with
    /// him. Nothing if he books just now. Safe to repeat, and to be repeated after an error.
    pub async fn forget_visitor(
        &self,
        visitor: &VisitorId,
        by: &Actor,
    ) -> Result<Option<Forgotten>, RoomError> {
        for id in self.ids().await? {
            // A sale that lives has a room from here on, though this instance may only just hear of it: its journal goes on.
            let (line, room) = match self.find(&id).await? {
                Some(Found::Room(room)) => (room.line.store().clone(), Some(room)),
                Some(Found::Closed(_)) => (self.redis.line(&id), None),
                None => continue,
            };
            let lives = room.is_some();
            // What it does not have yet nobody would find again.
            if lives {
                self.wait_for_journal(&id, &line).await?;
            }
            let drawn = Journal::new(self.pool.clone(), id.clone()).places_of(visitor).await?;
            match end_in(&line, room.as_deref(), visitor, Some(&drawn)).await {
                Ok(Some(ended)) if lives => {
                    metrics::lapses(id.as_str(), "removed", u64::from(ended));
                    self.wait_for_journal(&id, &line).await?;
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                // A sale that is over may have left nothing there.
                Err(error) if error.is_missing_line() && !lives => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(Visitors::new(self.pool.clone()).forget(visitor, by).await?))
    }

    /// Until the journal has all that the line has now: what it does not have yet would name him again.
    async fn wait_for_journal(&self, id: &SaleId, line: &Line) -> Result<(), StoreError> {
        let Some((now, _)) = line.position().await? else { return Ok(()) };
        let journal = Journal::new(self.pool.clone(), id.clone());
        let since = Instant::now();
        while journal.end().await? < now {
            if since.elapsed() > JOURNAL_PATIENCE {
                return Err(StoreError::Timeout(Store::Postgres));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What operators changed, oldest first.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
    ) -> Result<impl Stream<Item = Result<AuditRecord, RoomError>> + Send + use<>, RoomError> {
        Ok(audit::read(&self.pool, filter).await?.map_err(RoomError::from))
    }
}

/// Whether a place ended; nothing while it is being redeemed. A try that nobody settled is settled first.
async fn end_in(
    line: &Line,
    room: Option<&Room>,
    visitor: &VisitorId,
    forget: Option<&[Seq]>,
) -> Result<Option<bool>, StoreError> {
    let since = Instant::now();
    loop {
        match (line.remove(visitor, forget).await?, room) {
            (Removed::Done { ended }, _) => return Ok(Some(ended)),
            _ if since.elapsed() > BUSY_PATIENCE => return Ok(None),
            (Removed::Unsettled(turn), Some(room)) => room.redeems.void(&[(visitor.clone(), turn)]).await?,
            (Removed::Busy | Removed::Unsettled(_), _) => sleep(PAUSE).await,
        }
    }
}
