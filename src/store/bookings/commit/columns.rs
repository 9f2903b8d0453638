//! A batch as arrays, for statements that unnest them.

use super::{Row, by_seat, status};
use crate::store::bookings::Bookings;
use jiff::Timestamp;
use std::sync::LazyLock;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wire::domain::plan::SeatIndex;

/// Between the seats of a booking; no `seat_guid` holds a control character.
const SEPARATOR: &str = "\x1f";

/// Takes [`Columns::bookings`].
pub(super) const INSERT_BOOKINGS: &str = "INSERT INTO bookings \
    (id, sale_id, grant_id, visitor_id, status, hold_expires_at, seats, together, nth) \
    SELECT id, $1, grant_id, visitor_id, $2, $3, string_to_array(seats, $4), together, nth \
    FROM unnest($5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::bool[], $10::int[]) \
    AS t (id, grant_id, visitor_id, seats, together, nth)";

/// Takes the sale and [`seat_columns`].
pub(super) const INSERT_SEATS: &str = "INSERT INTO booked_seats (sale_id, seat_id, booking_id) \
    SELECT $1, seat_id, booking_id FROM unnest($2::text[], $3::uuid[]) AS t (seat_id, booking_id)";

/// Both at once, the bookings first: what nobody asks for would come last. Takes [`Columns::all`].
pub(super) static AT_ONCE: LazyLock<String> = LazyLock::new(|| {
    let seats = INSERT_SEATS.replace("$2", "$11").replace("$3", "$12");
    format!("WITH booked AS ({INSERT_BOOKINGS} RETURNING id) {seats} WHERE (SELECT count(*) FROM booked) > 0")
});

/// A parameter of a statement.
type Value<'a> = &'a (dyn ToSql + Sync);

pub(super) struct Columns<'a> {
    sale: &'a str,
    status: &'static str,
    end: Option<Timestamp>,
    ids: Vec<Uuid>,
    grants: Vec<Uuid>,
    visitors: Vec<&'a str>,
    seats: Vec<String>,
    together: Vec<bool>,
    nth: Vec<i32>,
    seat_ids: Vec<&'a str>,
    seat_bookings: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    pub fn of(bookings: &'a Bookings, rows: &[Row<'a>], end: Option<Timestamp>) -> Self {
        let (seat_ids, seat_bookings) = seat_columns(bookings, &by_seat(rows));
        Self {
            sale: bookings.sale.as_str(),
            status: status(end).as_str(),
            end,
            ids: rows.iter().map(|row| row.new.id).collect(),
            grants: rows.iter().map(|row| row.grant_id).collect(),
            visitors: rows.iter().map(|row| row.new.visitor.as_str()).collect(),
            seats: rows.iter().map(|row| bookings.plan.ids_of(&row.new.seats).join(SEPARATOR)).collect(),
            together: rows.iter().map(|row| row.new.together).collect(),
            nth: rows.iter().map(|row| row.nth).collect(),
            seat_ids,
            seat_bookings,
        }
    }

    pub fn bookings(&self) -> [Value<'_>; 10] {
        [
            &self.sale,
            &self.status,
            &self.end,
            &SEPARATOR,
            &self.ids,
            &self.grants,
            &self.visitors,
            &self.seats,
            &self.together,
            &self.nth,
        ]
    }

    pub fn all(&self) -> Vec<Value<'_>> {
        let seats: [Value<'_>; 2] = [&self.seat_ids, &self.seat_bookings];
        self.bookings().into_iter().chain(seats).collect()
    }
}

/// The seats' ids, and whose they are to be.
pub(super) fn seat_columns<'a>(
    bookings: &'a Bookings,
    wanted: &[(SeatIndex, Uuid)],
) -> (Vec<&'a str>, Vec<Uuid>) {
    wanted.iter().map(|(seat, booking)| (bookings.plan.id_of(*seat), *booking)).unzip()
}
