//! A journal read from its first entry to its last, and who drew which place: what a lost line is restored from.

use super::{Journal, bigint, read::read, unsigned};
use crate::store::{
    errors::StoreError,
    postgres::{NO_TIMEOUT, long_reader},
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use std::pin::pin;
use tokio_postgres::{Row, types::ToSql};
use wire::domain::{
    ids::{Seq, VisitorId},
    journal::Ledger,
};

impl Journal {
    /// How all places stood when the line's lives before that one had ended.
    pub async fn ledger(&self, epoch: u64) -> Result<Ledger, StoreError> {
        let client = long_reader(&self.pool, NO_TIMEOUT).await?;
        let query = "SELECT entry FROM journal WHERE sale_id = $1 AND epoch < $2 ORDER BY epoch, n";
        let asked: [&(dyn ToSql + Sync); 2] = [&self.sale.as_str(), &bigint(epoch)];
        let mut rows = pin!(client.query_raw(query, asked).await?);
        let mut ledger = Ledger::default();
        while let Some(row) = rows.try_next().await? {
            ledger.apply(&read(row.get(0))?);
        }
        Ok(ledger)
    }

    /// Who drew which place, up to `chunk` at a time.
    pub async fn drawn(
        &self,
        chunk: usize,
    ) -> Result<impl Stream<Item = Result<Vec<(Seq, VisitorId)>, StoreError>> + Send, StoreError> {
        let client = long_reader(&self.pool, NO_TIMEOUT).await?;
        let query = "SELECT seq, visitor_id FROM journal_places WHERE sale_id = $1";
        let rows = client.query_raw(query, [self.sale.as_str()]).await?;
        let drawn = |row: &Row| Some((unsigned(row.get(0)), VisitorId::parse(row.get(1))?));
        Ok(rows.try_chunks(chunk).map(move |rows| {
            let _keep = &client;
            Ok(rows.map_err(|error| error.1)?.iter().filter_map(drawn).collect())
        }))
    }
}
