//! Bookings as parameters of statements: row by row, or column by column.

use crate::rows::{Batch, Row};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// When holds end: nothing, as all are confirmed at once.
const NO_HOLD: Option<jiff::Timestamp> = None;
const STATUS: &str = "confirmed";

pub type Parameters<'a> = Vec<&'a (dyn ToSql + Sync)>;

pub fn shared(sale: &String) -> Parameters<'_> {
    vec![sale, &STATUS, &NO_HOLD]
}

pub fn own<'a>(row: &'a Row, seats: &'a &[String]) -> [&'a (dyn ToSql + Sync); 6] {
    [&row.id, &row.grant, &row.visitor, seats, &true, &0i32]
}

pub fn booking<'a>(sale: &'a String, row: &'a Row, seats: &'a &[String]) -> Parameters<'a> {
    shared(sale).into_iter().chain(own(row, seats)).collect()
}

/// The batch, column by column.
pub struct Columns<'a> {
    ids: Vec<Uuid>,
    grants: Vec<Uuid>,
    visitors: Vec<&'a str>,
    seats: Vec<String>,
    together: Vec<bool>,
    nth: Vec<i32>,
    seat_ids: Vec<&'a str>,
    booking_ids: Vec<Uuid>,
}

impl<'a> Columns<'a> {
    pub fn of(batch: &'a Batch) -> Self {
        let rows = &batch.rows;
        Self {
            ids: rows.iter().map(|row| row.id).collect(),
            grants: rows.iter().map(|row| row.grant).collect(),
            visitors: rows.iter().map(|row| row.visitor.as_str()).collect(),
            seats: rows.iter().map(|row| format!("{{{}}}", row.seats.join(","))).collect(),
            together: vec![true; rows.len()],
            nth: vec![0; rows.len()],
            seat_ids: batch.seats.iter().map(|(seat, _)| seat.as_str()).collect(),
            booking_ids: batch.seats.iter().map(|(_, booking)| *booking).collect(),
        }
    }

    pub fn bookings(&'a self, batch: &'a Batch) -> Parameters<'a> {
        let mut parameters = shared(&batch.sale);
        let own: [&(dyn ToSql + Sync); 6] =
            [&self.ids, &self.grants, &self.visitors, &self.seats, &self.together, &self.nth];
        parameters.extend(own);
        parameters
    }

    pub fn seats(&'a self, batch: &'a Batch) -> Parameters<'a> {
        vec![&batch.sale, &self.seat_ids, &self.booking_ids]
    }
}
