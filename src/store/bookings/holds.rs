//! A booking's life after its commit: held, confirmed, released. It happens in PostgreSQL alone, and so once, however
//! many instances try.

use super::{Bookings, COLUMNS};
use crate::store::{audit::Note, errors::StoreError, postgres::within};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use wire::domain::{
    audit::Actor,
    booking::{BookingRecord, BookingStatus, Confirmation},
};

/// Holds ended in one call.
const EXPIRED_MAX: i64 = 500;

impl Bookings {
    /// PostgreSQL's time, if a hold's time is up by it.
    pub async fn hold_due(&self) -> Result<Option<Timestamp>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = "SELECT now() WHERE EXISTS (SELECT 1 FROM bookings \
                 WHERE sale_id = $1 AND status = 'held' AND hold_expires_at <= now())";
            let statement = client.prepare_cached(query).await?;
            Ok(client.query_opt(&statement, &[&self.sale.as_str()]).await?.map(|row| row.get(0)))
        })
        .await
    }

    /// Ends the holds whose time was up at `due`, by PostgreSQL's clock.
    pub async fn expire_holds(&self, due: Timestamp) -> Result<Vec<BookingRecord>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = format!(
                "WITH due AS (SELECT id FROM bookings WHERE sale_id = $1 AND status = 'held' AND hold_expires_at <= $3 \
                 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED), \
                 ended AS (UPDATE bookings SET status = 'released' FROM due WHERE bookings.id = due.id \
                 RETURNING {COLUMNS}), \
                 freed AS (DELETE FROM booked_seats USING due WHERE booking_id = due.id) SELECT * FROM ended"
            );
            let statement = client.prepare_cached(&query).await?;
            let rows = client.query(&statement, &[&self.sale.as_str(), &EXPIRED_MAX, &due]).await?;
            rows.iter().map(|row| self.record(row)).collect()
        })
        .await
    }

    /// Brings all holds up to the shift of deadlines that the line has had in all; true if anything moved.
    pub async fn shift_holds(&self, shift_ms: i64) -> Result<bool, StoreError> {
        within(&self.pool, async {
            let mut client = self.pool.get().await?;
            let tx = client.transaction().await?;
            let before: i64 = tx
                .query_one("SELECT shift_ms FROM sales WHERE id = $1 FOR UPDATE", &[&self.sale.as_str()])
                .await?
                .get(0);
            if shift_ms <= before {
                return Ok(false);
            }
            tx.execute("UPDATE sales SET shift_ms = $2 WHERE id = $1", &[&self.sale.as_str(), &shift_ms])
                .await?;
            tx.execute(
                "UPDATE bookings SET hold_expires_at = hold_expires_at + $2 * interval '1 millisecond' \
                 WHERE sale_id = $1 AND status = 'held'",
                &[&self.sale.as_str(), &((shift_ms - before) as f64)],
            )
            .await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Paid: confirms the booking, and books its seats again if its hold had ended, unless it was given back. Nothing if
    /// there is none.
    pub async fn confirm(&self, id: Uuid, by: &Actor) -> Result<Option<Confirmation>, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let query =
            format!("SELECT {COLUMNS}, given_back FROM bookings WHERE id = $1 AND sale_id = $2 FOR UPDATE");
        let Some(row) = tx.query_opt(&query, &[&id, &self.sale.as_str()]).await? else { return Ok(None) };
        let mut record = Box::new(self.record(&row)?);
        let changed = record.booking.status != BookingStatus::Confirmed;
        if row.get("given_back") {
            return Ok(Some(Confirmation::GivenBack));
        }
        if record.booking.status == BookingStatus::Released {
            let seats = self.plan.ids_of(&record.booking.seats);
            let again = tx
                .execute(
                    "INSERT INTO booked_seats (sale_id, seat_id, booking_id) SELECT $1, seat_id, $3 FROM seats \
                     WHERE sale_id = $1 AND seat_id = ANY($2) AND NOT blocked ORDER BY position \
                     ON CONFLICT DO NOTHING",
                    &[&self.sale.as_str(), &seats, &id],
                )
                .await?;
            if again != seats.len() as u64 {
                return Ok(Some(Confirmation::SeatsGone));
            }
        }
        if changed {
            let query = "UPDATE bookings SET status = 'confirmed', hold_expires_at = NULL WHERE id = $1";
            tx.execute(query, &[&id]).await?;
            let (from, to) = (json!({ "status": record.booking.status }), json!({ "status": "confirmed" }));
            let note = Note::new(by, "booking confirmed").sale(&self.sale).booking(id);
            note.change(from, to).write(&tx).await?;
            tx.commit().await?;
        }
        record.booking.status = BookingStatus::Confirmed;
        record.booking.hold_expires_at = None;
        Ok(Some(Confirmation::Confirmed { record, changed }))
    }

    /// Gives the booking back and frees its seats: the booking, and whether this call freed them. Nothing if there is none.
    pub async fn release(&self, id: Uuid, by: &Actor) -> Result<Option<(BookingRecord, bool)>, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let query =
            format!("SELECT {COLUMNS}, given_back FROM bookings WHERE id = $1 AND sale_id = $2 FOR UPDATE");
        let Some(row) = tx.query_opt(&query, &[&id, &self.sale.as_str()]).await? else { return Ok(None) };
        let mut record = self.record(&row)?;
        let changed = record.booking.status != BookingStatus::Released;
        if !row.get::<_, bool>("given_back") {
            let (from, to) = (json!({ "status": record.booking.status }), json!({ "status": "released" }));
            let note = Note::new(by, "booking released").sale(&self.sale).booking(id);
            note.change(from, to).write(&tx).await?;
        }
        if changed {
            tx.execute("DELETE FROM booked_seats WHERE booking_id = $1", &[&id]).await?;
        }
        // Also where the hold ran out before: from now on money that comes late books nothing.
        tx.execute("UPDATE bookings SET status = 'released', given_back = true WHERE id = $1", &[&id])
            .await?;
        tx.commit().await?;
        record.booking.status = BookingStatus::Released;
        record.booking.hold_expires_at = None;
        Ok(Some((record, changed)))
    }

    /// Hands the booking as it is to `tell`, and lets nobody change it meanwhile: so what is told last is what was
    /// committed last, however many instances tell.
    pub async fn present<T>(&self, id: Uuid, tell: impl FnOnce(BookingRecord) -> T) -> Result<(), StoreError>
    where
        T: Future<Output = Result<(), StoreError>> + Send,
    {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let query = format!("SELECT {COLUMNS} FROM bookings WHERE id = $1 FOR UPDATE");
        if let Some(row) = tx.query_opt(&query, &[&id]).await? {
            tell(self.record(&row)?).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}
