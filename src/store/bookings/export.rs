//! All bookings of a sale, row by row, for the operator.

use super::{Bookings, COLUMNS};
use crate::store::errors::StoreError;
use futures_util::{Stream, StreamExt, TryStreamExt};
use std::pin::Pin;
use wire::domain::booking::BookingRecord;

impl Bookings {
    /// Every booking, oldest first; memory does not grow with their number.
    pub async fn export(
        &self,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<BookingRecord, StoreError>> + Send>>, StoreError> {
        let client = self.pool.get().await?;
        let query = format!(
            "SELECT {COLUMNS} FROM bookings WHERE sale_id = $1 AND status <> 'void' ORDER BY created_at, id"
        );
        let rows = client.query_raw(&query, [self.sale.as_str()]).await?;
        let this = self.clone();
        // The client must live as long as its rows: it goes back to the pool when the stream ends.
        let stream = rows.map_err(StoreError::from).map(move |row| {
            let _keep = &client;
            this.record(&row?)
        });
        Ok(Box::pin(stream))
    }
}
