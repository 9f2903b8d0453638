//! Two binary COPYs. BEGIN travels with the first and COMMIT with the second, and each COPY's rows go out in one piece:
//! four round trips a batch, not one for each step.

use super::{Row, by_seat, status};
use crate::store::{
    bookings::Bookings,
    errors::StoreError,
    postgres::copy::{CopyFile, send},
};
use bytes::Bytes;
use deadpool_postgres::{Client, GenericClient};
use futures_util::future;
use jiff::Timestamp;
use tokio_postgres::{Statement, types::Type};

const BOOKINGS: &str = "COPY bookings (id, sale_id, grant_id, visitor_id, status, hold_expires_at, seats, together, nth) \
                        FROM STDIN BINARY";
const BOOKINGS_TYPES: [Type; 9] = [
    Type::UUID,
    Type::TEXT,
    Type::UUID,
    Type::TEXT,
    Type::TEXT,
    Type::TIMESTAMPTZ,
    Type::TEXT_ARRAY,
    Type::BOOL,
    Type::INT4,
];
const SEATS: &str = "COPY booked_seats (sale_id, seat_id, booking_id) FROM STDIN BINARY";
const SEATS_TYPES: [Type; 3] = [Type::TEXT, Type::TEXT, Type::UUID];

impl Bookings {
    /// Begins, writes and commits.
    pub(super) async fn copy(
        &self,
        client: &Client,
        begin: impl Future<Output = Result<(), tokio_postgres::Error>>,
        rows: &[Row<'_>],
        end: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let bookings_statement = client.prepare_cached(BOOKINGS).await?;
        let seats_statement = client.prepare_cached(SEATS).await?;
        let (booking_rows, seat_rows) = (self.encode_bookings(rows, end)?, self.encode_seats(rows)?);
        // What is joined is queued in this order, at the first poll. The second COPY must not be among it: a COPY that
        // PostgreSQL refuses to start, because the first has failed, leaves the driver out of step. COMMIT may: after a
        // COPY that failed it is a ROLLBACK.
        let (begun, copied) = future::join(begin, copy(client, &bookings_statement, booking_rows)).await;
        begun.and(copied)?;
        let commit = client.batch_execute("COMMIT");
        let (copied, committed) = future::join(copy(client, &seats_statement, seat_rows), commit).await;
        Ok(copied.and(committed)?)
    }

    fn encode_bookings(&self, rows: &[Row<'_>], end: Option<Timestamp>) -> Result<Bytes, StoreError> {
        let mut file = CopyFile::new(&BOOKINGS_TYPES, 192 * rows.len());
        for Row { grant_id, nth, new } in rows {
            let seats = self.plan.ids_of(&new.seats);
            file.row(&[
                &new.id,
                &self.sale.as_str(),
                grant_id,
                &new.visitor.as_str(),
                &status(end).as_str(),
                &end,
                &seats,
                &new.together,
                nth,
            ])?;
        }
        Ok(file.finish())
    }

    fn encode_seats(&self, rows: &[Row<'_>]) -> Result<Bytes, StoreError> {
        let mut file = CopyFile::new(&SEATS_TYPES, 128 * rows.len());
        for (seat, booking) in by_seat(rows) {
            file.row(&[&self.sale.as_str(), &self.plan.id_of(seat), &booking])?;
        }
        Ok(file.finish())
    }
}

async fn copy(client: &Client, statement: &Statement, rows: Bytes) -> Result<(), tokio_postgres::Error> {
    send(client.copy_in(statement).await?, rows).await
}
