//! An old sale's journal leaves PostgreSQL, once it is kept elsewhere.

use super::Journal;
use crate::store::{audit::Note, errors::StoreError};
use jiff::Timestamp;
use serde_json::{Value, json};
use wire::domain::{audit::Actor, phase::Phase};

/// What became of a journal that was to be purged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purge {
    /// It is gone: so many entries.
    Done(u64),
    /// There is no such sale.
    NoSale,
    /// The sale is not closed.
    NotClosed,
    /// Its newest entry was journaled then, which is not before the time that was given.
    TooYoung(Timestamp),
    /// Nothing of it is journaled.
    Nothing,
}

impl Journal {
    /// Deletes the journal of a closed sale whose newest entry was journaled before then, all or nothing. The row of the
    /// chain's end stays, so that what is left in a stream is never taken for a new journal.
    pub async fn purge(&self, before: Timestamp) -> Result<Purge, StoreError> {
        let by = Actor::command_line();
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        // A journal may have millions of rows.
        tx.batch_execute("SET LOCAL statement_timeout = 0").await?;
        let sale: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&self.sale.as_str()];
        let phase = tx.query_opt("SELECT phase FROM sales WHERE id = $1 FOR SHARE", &sale).await?;
        let Some(phase) = phase else { return Ok(Purge::NoSale) };
        if phase.get::<_, &str>(0) != Phase::Closed.as_str() {
            return Ok(Purge::NotClosed);
        }
        // Whoever writes it waits here.
        tx.query_opt("SELECT FROM journal_heads WHERE sale_id = $1 FOR UPDATE", &sale).await?;
        let newest: Option<i64> =
            tx.query_one("SELECT max(at) FROM journal_batches WHERE sale_id = $1", &sale).await?.get(0);
        let Some(newest) = newest else { return Ok(Purge::Nothing) };
        if newest >= before.as_millisecond() {
            return Ok(Purge::TooYoung(Timestamp::from_millisecond(newest).unwrap_or_default()));
        }
        let entries = tx.execute("DELETE FROM journal WHERE sale_id = $1", &sale).await?;
        tx.execute("DELETE FROM journal_batches WHERE sale_id = $1", &sale).await?;
        tx.execute("DELETE FROM journal_places WHERE sale_id = $1", &sale).await?;
        let note = Note::new(&by, "journal purged").sale(&self.sale);
        note.change(json!({ "entries": entries }), Value::Null).write(&tx).await?;
        tx.commit().await?;
        Ok(Purge::Done(entries))
    }
}
