//! What is read of a journal: its batches for whoever proves it, a visitor's receipt, a visitor's story.

use super::{BATCH, Journal, batch, bigint, hash, unsigned};
use crate::store::errors::StoreError;
use deadpool_postgres::GenericClient;
use wire::domain::{
    ids::{Seq, VisitorId},
    journal::{Batch, Entry, Receipt, SALT_BYTES, Tree, Written, entry_leaf, place_leaf},
    line::Position,
};

impl Journal {
    /// The batch of that number and its entries; nothing if there is none.
    pub async fn batch(&self, number: u64) -> Result<Option<(Batch, Vec<Written>)>, StoreError> {
        let client = self.pool.get().await?;
        // Of two, which only a journal without its keys has, either is wrong: its entries tell.
        let query = format!("SELECT {BATCH} FROM journal_batches WHERE sale_id = $1 AND batch = $2 LIMIT 1");
        let statement = client.prepare_cached(&query).await?;
        let Some(row) = client.query_opt(&statement, &[&self.sale.as_str(), &bigint(number)]).await? else {
            return Ok(None);
        };
        let batch = batch(&row)?;
        let query = "SELECT n, entry, commitments FROM journal \
                     WHERE sale_id = $1 AND epoch = $2 AND n BETWEEN $3 AND $4 ORDER BY n";
        let statement = client.prepare_cached(query).await?;
        let (epoch, first, last) = (bigint(batch.epoch), bigint(batch.first), bigint(batch.last));
        let rows = client.query(&statement, &[&self.sale.as_str(), &epoch, &first, &last]).await?;
        let written = rows.iter().map(|row| {
            let commitments = row.get::<_, &[u8]>(2).chunks(32).map(hash).collect::<Result<_, _>>()?;
            Ok(Written { n: unsigned(row.get(0)), text: row.get(1), commitments })
        });
        Ok(Some((batch, written.collect::<Result<_, StoreError>>()?)))
    }

    /// The proof of a visitor's place; nothing while the journal has not got there, or if he has been forgotten.
    pub async fn receipt(&self, visitor: &VisitorId, seq: Seq) -> Result<Option<Receipt>, StoreError> {
        let Some((at, salt, number)) = self.drawn_at(visitor, seq).await? else { return Ok(None) };
        let Some((batch, written)) = self.batch(number).await? else { return Ok(None) };
        let (mut leaves, mut leaf) = (Vec::new(), None);
        for Written { n, text, commitments } in &written {
            let position = Position { epoch: batch.epoch, n: *n };
            leaves.push(entry_leaf(position, text));
            for (place, commitment) in read(text)?.places().zip(commitments) {
                if position == at && place == seq {
                    leaf = Some(leaves.len() as u64);
                }
                leaves.push(place_leaf(position, place, commitment));
            }
        }
        let leaf = leaf.ok_or_else(|| StoreError::Corrupt(format!("place {seq} is not in its entry")))?;
        let path = Tree::new(leaves).path(leaf as usize);
        let head = batch.hash(&self.sale);
        let (sale, visitor, salt) = (self.sale.clone(), visitor.clone(), Receipt::salt_text(&salt));
        Ok(Some(Receipt { sale, visitor, seq, epoch: at.epoch, entry: at.n, salt, batch, leaf, path, head }))
    }

    /// Whether whoever drew the place has been forgotten.
    pub async fn is_forgotten(&self, seq: Seq) -> Result<bool, StoreError> {
        let client = self.pool.get().await?;
        let query =
            "SELECT EXISTS (SELECT FROM journal_places WHERE sale_id = $1 AND seq = $2 AND visitor_id = $3)";
        let nobody = VisitorId::forgotten(seq);
        let row = client.query_one(query, &[&self.sale.as_str(), &bigint(seq), &nobody.as_str()]).await?;
        Ok(row.get(0))
    }

    /// Whether there was a journal, and only its chain's end is kept.
    pub async fn is_purged(&self) -> Result<bool, StoreError> {
        let client = self.pool.get().await?;
        let query = "SELECT EXISTS (SELECT FROM journal_heads WHERE sale_id = $1 AND batch > 0) \
                     AND NOT EXISTS (SELECT FROM journal_batches WHERE sale_id = $1)";
        Ok(client.query_one(query, &[&self.sale.as_str()]).await?.get(0))
    }

    /// Where a visitor's place was drawn, his salt, and the batch that has it.
    async fn drawn_at(
        &self,
        visitor: &VisitorId,
        seq: Seq,
    ) -> Result<Option<(Position, [u8; SALT_BYTES], u64)>, StoreError> {
        let client = self.pool.get().await?;
        let query = "SELECT p.epoch, p.n, p.salt, j.batch FROM journal_places p \
                     JOIN journal j ON j.sale_id = p.sale_id AND j.epoch = p.epoch AND j.n = p.n \
                     WHERE p.sale_id = $1 AND p.seq = $2 AND p.visitor_id = $3 ORDER BY p.epoch, p.n LIMIT 1";
        let statement = client.prepare_cached(query).await?;
        let row =
            client.query_opt(&statement, &[&self.sale.as_str(), &bigint(seq), &visitor.as_str()]).await?;
        let Some(row) = row else { return Ok(None) };
        let salt = row.get::<_, &[u8]>(2).try_into();
        let salt = salt.map_err(|_| StoreError::Corrupt("a salt has not its length".into()))?;
        let at = Position { epoch: unsigned(row.get(0)), n: unsigned(row.get(1)) };
        Ok(Some((at, salt, unsigned(row.get(3)))))
    }
}

pub(super) fn read(text: &str) -> Result<Entry, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Corrupt(format!("an entry of the journal: {error}")))
}
