//! The way that survives a conflict: bookings in the order of their grants, then all seats in plan order, then the rows
//! of those who lost a seat out again. Whoever waits for whom, all wait in the same order.

use super::{
    Row, Terms, booked, by_seat,
    columns::{Columns, INSERT_BOOKINGS, INSERT_SEATS, seat_columns},
    hold_end,
};
use crate::store::{
    bookings::{Bookings, NewBooking, Outcome},
    errors::StoreError,
};
use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use uuid::Uuid;
use wire::domain::plan::SeatIndex;

impl Bookings {
    /// Someone has a seat of the batch, a grant was spent, or a visitor has booked meanwhile: the rest is booked all the same.
    pub(super) async fn insert_what_can(
        &self,
        client: &mut Client,
        batch: &[NewBooking],
        terms: Terms,
    ) -> Result<Vec<Outcome>, StoreError> {
        let tx = client.transaction().await?;
        let earlier = self.earlier(&tx, batch.iter().map(|new| &new.visitor)).await?;
        let end = hold_end(&tx, terms).await?;
        let (mut rows, too_many) = self.rows(batch, earlier, terms);
        let fresh = self.insert_bookings(&tx, &rows, end).await?;
        rows.retain(|row| fresh.contains(&row.new.id));
        let losers = self.insert_seats(&tx, &rows).await?;
        let lost: Vec<Uuid> = losers.keys().copied().collect();
        if !lost.is_empty() {
            let partial = rows.iter().filter(|row| losers.contains_key(&row.new.id));
            let seats: Vec<String> = partial.flat_map(|row| self.plan.ids_of(&row.new.seats)).collect();
            tx.execute(
                "DELETE FROM booked_seats WHERE sale_id = $1 AND seat_id = ANY($2) AND booking_id = ANY($3)",
                &[&self.sale.as_str(), &seats, &lost],
            )
            .await?;
            tx.execute("DELETE FROM bookings WHERE id = ANY($1)", &[&lost]).await?;
        }
        let spent = self.spent(&tx, batch, &fresh).await?;
        tx.commit().await?;
        let outcome = |new: &NewBooking| match losers.get(&new.id) {
            Some(seats) => Outcome::SeatsTaken(seats.clone()),
            None if fresh.contains(&new.id) => booked(new, end),
            None if spent.contains(&new.grant.grant_id(&self.sale)) => Outcome::GrantSpent,
            None if too_many.contains(&new.id) => Outcome::TooManySeats,
            // The visitor has booked with another grant in this very moment.
            None => Outcome::NotBooked,
        };
        Ok(batch.iter().map(outcome).collect())
    }

    /// Inserts the bookings whose grant was not spent before; answers their ids.
    async fn insert_bookings(
        &self,
        tx: &Transaction<'_>,
        rows: &[Row<'_>],
        end: Option<Timestamp>,
    ) -> Result<HashSet<Uuid>, StoreError> {
        let query = format!("{INSERT_BOOKINGS} ON CONFLICT DO NOTHING RETURNING id");
        let statement = tx.prepare_cached(&query).await?;
        let columns = Columns::of(self, rows, end);
        let inserted = tx.query(&statement, &columns.bookings()).await?;
        Ok(inserted.iter().map(|row| row.get(0)).collect())
    }

    /// Inserts the rows' seats as far as they are free; answers who lost which.
    async fn insert_seats(
        &self,
        tx: &Transaction<'_>,
        rows: &[Row<'_>],
    ) -> Result<HashMap<Uuid, Vec<SeatIndex>>, StoreError> {
        let wanted = by_seat(rows);
        let (seat_ids, booking_ids) = seat_columns(self, &wanted);
        let query = format!("{INSERT_SEATS} ON CONFLICT DO NOTHING RETURNING seat_id");
        let statement = tx.prepare_cached(&query).await?;
        let got = tx.query(&statement, &[&self.sale.as_str(), &seat_ids, &booking_ids]).await?;
        // No two bookings of a batch want the same seat, so a seat that was inserted is its booking's.
        let got: HashSet<&str> = got.iter().map(|row| row.get(0)).collect();
        let mut losers: HashMap<Uuid, Vec<SeatIndex>> = HashMap::new();
        for ((seat, booking), id) in wanted.into_iter().zip(&seat_ids) {
            if !got.contains(id) {
                losers.entry(booking).or_default().push(seat);
            }
        }
        Ok(losers)
    }

    /// Of the grants that were not inserted, those that have booked, or were voided, before.
    async fn spent(
        &self,
        tx: &Transaction<'_>,
        batch: &[NewBooking],
        fresh: &HashSet<Uuid>,
    ) -> Result<HashSet<Uuid>, StoreError> {
        let stale = batch.iter().filter(|new| !fresh.contains(&new.id));
        let grants: Vec<Uuid> = stale.map(|new| new.grant.grant_id(&self.sale)).collect();
        if grants.is_empty() {
            return Ok(HashSet::new());
        }
        let found = tx.query("SELECT grant_id FROM bookings WHERE grant_id = ANY($1)", &[&grants]).await?;
        Ok(found.iter().map(|row| row.get(0)).collect())
    }
}
