//! Bookings of a sale, row by row, for the operator.

use super::{Bookings, COLUMNS};
use crate::store::{
    errors::StoreError,
    postgres::{NO_TIMEOUT, long_reader},
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use std::pin::Pin;
use tokio_postgres::types::ToSql;
use wire::domain::booking::{BookingFilter, BookingRecord, BookingStatus};

impl Bookings {
    /// The bookings that are wanted, oldest first; memory does not grow with their number. However slowly they are read,
    /// nobody waits for it: the connection is not the pool's any more, and lives as long as the stream.
    pub async fn export(
        &self,
        filter: &BookingFilter,
    ) -> Result<Pin<Box<dyn Stream<Item = Result<BookingRecord, StoreError>> + Send>>, StoreError> {
        let client = long_reader(&self.pool, NO_TIMEOUT).await?;
        let query = format!(
            "SELECT {COLUMNS} FROM bookings WHERE sale_id = $1 AND status <> 'void' \
             AND ($2::timestamptz IS NULL OR created_at >= $2) AND ($3::text IS NULL OR visitor_id = $3) \
             AND ($4::text IS NULL OR status = $4) ORDER BY created_at, id"
        );
        let visitor = filter.visitor.as_ref().map(|visitor| visitor.as_str());
        let status = filter.status.map(BookingStatus::as_str);
        let wanted: [&(dyn ToSql + Sync); 4] = [&self.sale.as_str(), &filter.since, &visitor, &status];
        let rows = client.query_raw(&query, wanted).await?;
        let this = self.clone();
        let stream = rows.map_err(StoreError::from).map(move |row| {
            let _keep = &client;
            this.record(&row?)
        });
        Ok(Box::pin(stream))
    }
}
