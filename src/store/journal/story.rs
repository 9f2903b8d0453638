//! One visitor's story, for whoever answers his complaint.

use super::{Journal, unsigned};
use crate::store::{errors::StoreError, postgres::long_reader};
use futures_util::TryStreamExt;
use std::{pin::pin, time::Duration};
use tokio_postgres::{Client, types::ToSql};
use uuid::Uuid;
use wire::domain::{
    ids::{Seq, VisitorId},
    journal::{Entry, Story},
    line::Position,
};

/// Nobody waits for his answer for longer.
const TIMEOUT: Duration = Duration::from_secs(60);

impl Journal {
    /// The places that a visitor drew, as far as the journal has got. It goes over all places of the sale.
    pub async fn places_of(&self, visitor: &VisitorId) -> Result<Vec<Seq>, StoreError> {
        let client = long_reader(&self.pool, TIMEOUT).await?;
        self.drawn_by(&client, visitor).await
    }

    async fn drawn_by(&self, client: &Client, visitor: &VisitorId) -> Result<Vec<Seq>, StoreError> {
        let query =
            "SELECT DISTINCT seq FROM journal_places WHERE sale_id = $1 AND visitor_id = $2 ORDER BY seq";
        let rows = client.query(query, &[&self.sale.as_str(), &visitor.as_str()]).await?;
        Ok(rows.iter().map(|row| unsigned(row.get(0))).collect())
    }

    /// What became of each place that a visitor drew; none if the journal does not know him, or has forgotten him. It goes
    /// over the whole journal of the sale, some seconds for a million places, on a connection that is not the pool's any more.
    pub async fn stories(&self, visitor: &VisitorId, bookings: &[Uuid]) -> Result<Vec<Story>, StoreError> {
        let client = long_reader(&self.pool, TIMEOUT).await?;
        let seqs = self.drawn_by(&client, visitor).await?;
        if seqs.is_empty() {
            return Ok(Vec::new());
        }
        let mut stories: Vec<Story> = seqs.iter().map(|seq| Story::new(*seq)).collect();
        // An entry that drew him may not have his number in it, but a range.
        let query = "SELECT epoch, n, entry FROM journal WHERE sale_id = $1 AND (entry ~ $3 OR (epoch, n) IN \
                     (SELECT epoch, n FROM journal_places WHERE sale_id = $1 AND visitor_id = $2)) ORDER BY epoch, n";
        let wanted = mentions(&seqs, bookings);
        let wanted: [&(dyn ToSql + Sync); 3] = [&self.sale.as_str(), &visitor.as_str(), &wanted];
        let mut rows = pin!(client.query_raw(query, wanted).await?);
        while let Some(row) = rows.try_next().await? {
            // What a newer program wrote is left out.
            let Ok(entry) = serde_json::from_str::<Entry>(row.get(2)) else { continue };
            let position = Position { epoch: unsigned(row.get(0)), n: unsigned(row.get(1)) };
            stories.iter_mut().for_each(|story| story.hear(position, &entry));
        }
        Ok(stories)
    }
}

/// What an entry's text has in it that may be about these places: a sieve, not a proof. It keeps a million rows in PostgreSQL.
fn mentions(seqs: &[Seq], bookings: &[Uuid]) -> String {
    let seqs: Vec<String> = seqs.iter().map(Seq::to_string).collect();
    let bookings: String = bookings.iter().map(|id| format!("|{id}")).collect();
    format!("(^|[^0-9])({})([^0-9]|$)|\"shifted\"{bookings}", seqs.join("|"))
}
