//! The fast way: two binary COPYs in one transaction. BEGIN travels with the first COPY and COMMIT with the second,
//! and each COPY's rows go out in one piece: four round trips a batch, not one for each step.

use super::{Row, Terms, booked, by_seat, earlier, hold_end, is_conflict, rows, status, within_timeout};
use crate::store::{
    bookings::{Bookings, NewBooking, Verdict},
    errors::StoreError,
};
use bytes::{BufMut, Bytes, BytesMut};
use deadpool_postgres::{Client, GenericClient, Object};
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

/// All or nothing: fails with a unique violation if anyone else has a seat, a grant or a visitor's number of the batch.
pub(super) async fn try_copy(
    bookings: &Bookings,
    batch: &[NewBooking],
    terms: Terms,
) -> Result<Vec<Verdict>, StoreError> {
    let client = bookings.pool.get().await?;
    let result = within_timeout(write(&client, bookings, batch, terms)).await;
    if result.as_ref().is_err_and(|error| !is_conflict(error)) {
        // Something may still be under way on it: closed, PostgreSQL forgets what was not committed.
        drop(Object::take(client));
    }
    result
}

async fn write(
    client: &Client,
    bookings: &Bookings,
    batch: &[NewBooking],
    terms: Terms,
) -> Result<Vec<Verdict>, StoreError> {
    let bookings_statement = client.prepare_cached(BOOKINGS).await?;
    let seats_statement = client.prepare_cached(SEATS).await?;
    let returning = batch.iter().filter(|new| new.owned > 0).map(|new| &new.visitor);
    let asks = terms.hold_ttl_s > 0 || batch.iter().any(|new| new.owned > 0);
    let (mut earlier_ones, mut end) = Default::default();
    if asks {
        client.batch_execute("BEGIN").await?;
        (earlier_ones, end) =
            future::try_join(earlier(client, bookings, returning), hold_end(client, terms)).await?;
    }
    let (rows, too_many) = rows(bookings, batch, earlier_ones, terms);
    let (booking_rows, seat_rows) = (encode_bookings(bookings, &rows, end)?, encode_seats(bookings, &rows)?);
    let begin = async { if asks { Ok(()) } else { client.batch_execute("BEGIN").await } };
    // What is joined is queued in this order, at the first poll. The second COPY must not be among it: a COPY that
    // PostgreSQL refuses to start, because the first has failed, leaves the driver out of step. COMMIT may: after a
    // COPY that failed it is a ROLLBACK.
    let (begun, copied) = future::join(begin, copy(client, &bookings_statement, booking_rows)).await;
    if let Err(error) = begun.and(copied) {
        client.batch_execute("ROLLBACK").await?;
        return Err(error.into());
    }
    let commit = client.batch_execute("COMMIT");
    let (copied, committed) = future::join(copy(client, &seats_statement, seat_rows), commit).await;
    copied.and(committed)?;
    let verdict = |new: &NewBooking| {
        if too_many.contains(&new.id) { Verdict::TooManySeats } else { booked(new, end) }
    };
    Ok(batch.iter().map(verdict).collect())
}

async fn copy(client: &Client, statement: &Statement, rows: Bytes) -> Result<(), tokio_postgres::Error> {
    let mut sink = pin!(client.copy_in(statement).await?);
    sink.send(rows).await?;
    sink.finish().await?;
    Ok(())
}

fn encode_bookings(
    bookings: &Bookings,
    rows: &[Row<'_>],
    end: Option<Timestamp>,
) -> Result<Bytes, StoreError> {
    let mut file = CopyFile::new(&BOOKINGS_TYPES, 192 * rows.len());
    for Row { grant_id, nth, new } in rows {
        let seats = bookings.plan.ids_of(&new.seats);
        file.row(&[
            &new.id,
            &bookings.sale.as_str(),
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

fn encode_seats(bookings: &Bookings, rows: &[Row<'_>]) -> Result<Bytes, StoreError> {
    let mut file = CopyFile::new(&SEATS_TYPES, 128 * rows.len());
    for (seat, booking) in by_seat(rows) {
        file.row(&[&bookings.sale.as_str(), &bookings.plan.id_of(seat), &booking])?;
    }
    Ok(file.finish())
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
