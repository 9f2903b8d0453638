//! Two binary COPYs. BEGIN travels with the first and COMMIT with the second, and each COPY's rows go out in one piece:
//! four round trips a batch, not one for each step.

use super::{Row, by_seat, status};
use crate::store::{bookings::Bookings, errors::StoreError};
use bytes::{BufMut, Bytes, BytesMut};
use deadpool_postgres::{Client, GenericClient};
use futures_util::{SinkExt, future};
use jiff::Timestamp;
use std::pin::pin;
use tokio_postgres::{
    Statement,
    types::{IsNull, ToSql, Type},
};

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
        let (begun, copied) = future::join(begin, send(client, &bookings_statement, booking_rows)).await;
        begun.and(copied)?;
        let commit = client.batch_execute("COMMIT");
        let (copied, committed) = future::join(send(client, &seats_statement, seat_rows), commit).await;
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

async fn send(client: &Client, statement: &Statement, rows: Bytes) -> Result<(), tokio_postgres::Error> {
    let mut sink = pin!(client.copy_in(statement).await?);
    sink.send(rows).await?;
    sink.finish().await?;
    Ok(())
}

/// Rows in PostgreSQL's binary COPY format (PostgreSQL's manual, "COPY", "Binary Format").
struct CopyFile {
    types: &'static [Type],
    bytes: BytesMut,
}

impl CopyFile {
    fn new(types: &'static [Type], capacity: usize) -> Self {
        let mut bytes = BytesMut::with_capacity(64 + capacity);
        bytes.put_slice(b"PGCOPY\n\xff\r\n\0");
        bytes.put_i32(0); // flags: none
        bytes.put_i32(0); // length of the header's extension
        Self { types, bytes }
    }

    fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        self.bytes.put_i16(self.types.len() as i16);
        for (value, kind) in values.iter().zip(self.types) {
            let at = self.bytes.len();
            self.bytes.put_i32(-1); // NULL, until its length is known
            let encoded = value.to_sql_checked(kind, &mut self.bytes);
            if let IsNull::No = encoded.map_err(|e| StoreError::Corrupt(e.to_string()))? {
                let length = (self.bytes.len() - at - 4) as i32;
                self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Bytes {
        self.bytes.put_i16(-1);
        self.bytes.freeze()
    }
}
