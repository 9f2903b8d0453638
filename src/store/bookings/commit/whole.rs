//! All or nothing, in one transaction: a batch that forms under load by COPY, a small one by a single statement, which
//! then costs less (`docs/bookings.md`). Fails with a unique violation if anyone else has a seat, a grant or a visitor's
//! number of the batch.

use super::{
    Row, Terms, booked,
    columns::{AT_ONCE, Columns},
    hold_end, is_conflict,
};
use crate::store::{
    bookings::{Bookings, NewBooking, Outcome},
    errors::StoreError,
};
use deadpool_postgres::{Client, GenericClient};
use futures_util::future;
use jiff::Timestamp;

/// Up to so many bookings one statement is faster than two COPYs, by about a fifth; at twice as many COPY is.
const STATEMENT_MAX: usize = 10;

impl Bookings {
    /// An outcome for each, or none has booked.
    pub(super) async fn insert_all(
        &self,
        client: &Client,
        batch: &[NewBooking],
        terms: Terms,
    ) -> Result<Vec<Outcome>, StoreError> {
        let returning = batch.iter().filter(|new| new.owned > 0).map(|new| &new.visitor);
        let asks = terms.hold_ttl_s > 0 || batch.iter().any(|new| new.owned > 0);
        let (mut earlier, mut end) = Default::default();
        if asks {
            client.batch_execute("BEGIN").await?;
            (earlier, end) =
                future::try_join(self.earlier(client, returning), hold_end(client, terms)).await?;
        }
        let (rows, too_many) = self.rows(batch, earlier, terms);
        let begin = async { if asks { Ok(()) } else { client.batch_execute("BEGIN").await } };
        let written = if rows.len() <= STATEMENT_MAX {
            self.insert(client, begin, &rows, end).await
        } else {
            self.copy(client, begin, &rows, end).await
        };
        if let Err(error) = written {
            if is_conflict(&error) {
                client.batch_execute("ROLLBACK").await?;
            }
            return Err(error);
        }
        let outcome = |new: &NewBooking| {
            if too_many.contains(&new.id) { Outcome::TooManySeats } else { booked(new, end) }
        };
        Ok(batch.iter().map(outcome).collect())
    }

    /// Two round trips. COMMIT is not sent before the grants are in: see [`Bookings::settle`].
    async fn insert(
        &self,
        client: &Client,
        begin: impl Future<Output = Result<(), tokio_postgres::Error>>,
        rows: &[Row<'_>],
        end: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let statement = client.prepare_cached(&AT_ONCE).await?;
        let columns = Columns::of(self, rows, end);
        let values = columns.all();
        let (begun, inserted) = future::join(begin, client.execute(&statement, &values)).await;
        begun?;
        inserted?;
        Ok(client.batch_execute("COMMIT").await?)
    }
}
