//! COPY's two formats: a whole batch in one buffer.

use crate::rows::Batch;
use bytes::{BufMut, Bytes, BytesMut};
use std::fmt::Write;

const MAGIC: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TEXT_OID: i32 = 25;
const STATUS: &str = "confirmed";

/// Rows for bookings, and rows for their seats.
pub struct Encoded {
    pub bookings: Bytes,
    pub seats: Bytes,
}

pub fn text(batch: &Batch) -> Encoded {
    let (mut bookings, mut seats) = (String::new(), String::new());
    // No value of ours needs escaping.
    for row in &batch.rows {
        let [first, second] = &row.seats;
        let (sale, id, grant, visitor) = (&batch.sale, row.id, row.grant, &row.visitor);
        writeln!(bookings, "{sale}\t{STATUS}\t\\N\t{id}\t{grant}\t{visitor}\t{{{first},{second}}}\tt\t0")
            .unwrap();
    }
    for (seat, booking) in &batch.seats {
        writeln!(seats, "{}\t{seat}\t{booking}", batch.sale).unwrap();
    }
    Encoded { bookings: bookings.into(), seats: seats.into() }
}

pub fn binary(batch: &Batch) -> Encoded {
    let mut bookings = BytesMut::with_capacity(64 + 192 * batch.rows.len());
    bookings.put_slice(MAGIC);
    for row in &batch.rows {
        bookings.put_i16(9);
        field(&mut bookings, batch.sale.as_bytes());
        field(&mut bookings, STATUS.as_bytes());
        bookings.put_i32(-1);
        field(&mut bookings, row.id.as_bytes());
        field(&mut bookings, row.grant.as_bytes());
        field(&mut bookings, row.visitor.as_bytes());
        array(&mut bookings, &row.seats);
        field(&mut bookings, &[1]);
        field(&mut bookings, &0i32.to_be_bytes());
    }
    bookings.put_i16(-1);
    let mut seats = BytesMut::with_capacity(64 + 64 * batch.seats.len());
    seats.put_slice(MAGIC);
    for (seat, booking) in &batch.seats {
        seats.put_i16(3);
        field(&mut seats, batch.sale.as_bytes());
        field(&mut seats, seat.as_bytes());
        field(&mut seats, booking.as_bytes());
    }
    seats.put_i16(-1);
    Encoded { bookings: bookings.freeze(), seats: seats.freeze() }
}

fn field(buffer: &mut BytesMut, value: &[u8]) {
    buffer.put_i32(value.len() as i32);
    buffer.put_slice(value);
}

/// One dimension, no nulls, counted from 1.
fn array(buffer: &mut BytesMut, values: &[String]) {
    let length: usize = values.iter().map(|value| 4 + value.len()).sum();
    buffer.put_i32(20 + length as i32);
    for head in [1, 0, TEXT_OID, values.len() as i32, 1] {
        buffer.put_i32(head);
    }
    values.iter().for_each(|value| field(buffer, value.as_bytes()));
}
