//! The lives of a sale's line, counted.

use super::Sales;
use crate::store::{
    errors::StoreError,
    postgres::{bigint, unsigned, within},
};
use wire::domain::sale::Sale;

impl Sales {
    /// The epoch of the life of the line that was begun last.
    ///
    /// # Errors
    /// The sale was deleted, even if there is another of its id by now.
    pub async fn last_epoch(&self, sale: &Sale) -> Result<u64, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = "SELECT epoch FROM sales WHERE id = $1 AND first_epoch = $2";
            let row = client.query_opt(query, &[&sale.id.as_str(), &bigint(sale.first_epoch)]).await?;
            let row = row.ok_or_else(|| StoreError::Corrupt(format!("sale {} was deleted", sale.id)))?;
            Ok(unsigned(row.get(0)))
        })
        .await
    }

    /// Begins a new life of the line after that of epoch `last`: its epoch, and the shift of deadlines so far in ms. Nothing if
    /// somebody else has begun one since, or the sale was deleted.
    pub async fn next_epoch(&self, sale: &Sale, last: u64) -> Result<Option<(u64, i64)>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let update = "UPDATE sales SET epoch = epoch + 1 WHERE id = $1 AND first_epoch = $2 AND epoch = $3 \
                          RETURNING epoch, shift_ms";
            let known = [bigint(sale.first_epoch), bigint(last)];
            let row = client.query_opt(update, &[&sale.id.as_str(), &known[0], &known[1]]).await?;
            Ok(row.map(|row| (unsigned(row.get(0)), row.get(1))))
        })
        .await
    }
}
