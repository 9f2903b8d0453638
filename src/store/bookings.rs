//! Bookings in PostgreSQL, which alone judges who has a seat: one row in `booked_seats` a taken seat.

pub use super::commit::Terms;
use super::{commit, errors::StoreError};
use crate::domain::{
    booking::{Booking, BookingStatus},
    ids::{GrantKey, SaleId, VisitorId},
    plan::{Plan, SeatIndex},
    seats::SeatSet,
};
use deadpool_postgres::Pool;
use futures_util::TryStreamExt;
use jiff::Timestamp;
use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};
use tokio::time::timeout;
use tokio_postgres::Row;
use uuid::Uuid;

/// How long PostgreSQL may take to say what grants have booked: who asks has a writer wait, and all visitors with it.
const GRANTS_TIMEOUT: Duration = Duration::from_secs(4);
/// Holds ended in one call.
const EXPIRED_MAX: i64 = 500;

/// A booking to be committed.
#[derive(Clone, Debug)]
pub struct NewBooking {
    /// Its id.
    pub id: Uuid,
    /// The grant that is spent.
    pub grant: GrantKey,
    /// Whose it is.
    pub visitor: VisitorId,
    /// Seats that he has booked before, as far as the line knows. PostgreSQL is asked only if there are any; a zero that
    /// is wrong costs time, nothing else.
    pub owned: u32,
    /// Its seats in plan order; no two bookings of a batch share one.
    pub seats: Vec<SeatIndex>,
    /// Whether they are next to each other.
    pub together: bool,
}

/// What PostgreSQL said to a booking.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Committed.
    Booked(Booking),
    /// These of its seats are someone else's; nothing of it was kept.
    SeatsTaken(Vec<SeatIndex>),
    /// The grant has booked, or has been voided, before; nothing of it was kept.
    GrantSpent,
    /// With these the visitor would have more seats of the sale than he may; nothing of it was kept.
    TooManySeats,
    /// Nothing of it was kept, and nobody knows why: try again.
    NotBooked,
    /// PostgreSQL did not answer: it may be booked, or not.
    Unknown,
}

/// A booking and whose it is.
#[derive(Clone, Debug)]
pub struct Owned {
    /// Whose.
    pub visitor: VisitorId,
    /// What.
    pub booking: Booking,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What an operator's confirmation came to.
#[derive(Debug)]
pub enum Confirmation {
    /// Confirmed, now or before. `changed` if it was by this call.
    Confirmed {
        /// The booking.
        owned: Box<Owned>,
        /// Whether anything changed.
        changed: bool,
    },
    /// The hold ended and someone else has a seat of it.
    SeatsGone,
}

/// The bookings of one sale; cheap to clone.
#[derive(Clone)]
pub struct Bookings {
    pub(super) pool: Pool,
    pub(super) sale: SaleId,
    pub(super) plan: Arc<Plan>,
}

pub(super) const COLUMNS: &str =
    "bookings.id, visitor_id, status, hold_expires_at, bookings.seats, together, created_at, grant_id";

impl Bookings {
    /// Of one sale.
    pub fn new(pool: Pool, sale: SaleId, plan: Arc<Plan>) -> Self {
        Self { pool, sale, plan }
    }

    /// Commits a batch in one transaction; a verdict for each.
    pub async fn commit(&self, batch: &[NewBooking], terms: Terms) -> Vec<Verdict> {
        commit::commit(self, batch, terms).await
    }

    /// What became of a batch whose commit got no answer.
    pub async fn settle(&self, batch: &[NewBooking]) -> Result<Vec<Verdict>, StoreError> {
        commit::settle(self, batch).await
    }

    /// What the grants booked, whatever became of it; void rows are nothing.
    pub async fn by_grants(&self, grants: &[GrantKey]) -> Result<HashMap<Uuid, Owned>, StoreError> {
        let ids: Vec<Uuid> = grants.iter().map(|grant| grant.grant_id(&self.sale)).collect();
        let ask = async {
            let client = self.pool.get().await?;
            let query = format!(
                "SELECT {COLUMNS} FROM bookings WHERE grant_id = ANY($1) AND sale_id = $2 AND status <> 'void'"
            );
            let statement = client.prepare_cached(&query).await?;
            Ok::<_, StoreError>(client.query(&statement, &[&ids, &self.sale.as_str()]).await?)
        };
        let rows = timeout(GRANTS_TIMEOUT, ask).await.unwrap_or(Err(StoreError::Timeout("PostgreSQL")))?;
        rows.iter().map(|row| Ok((row.get("grant_id"), self.owned(row)?))).collect()
    }

    /// The visitor's bookings, oldest first, the released ones included.
    pub async fn by_visitor(&self, visitor: &VisitorId) -> Result<Vec<Booking>, StoreError> {
        let client = self.pool.get().await?;
        let query = format!(
            "SELECT {COLUMNS} FROM bookings WHERE sale_id = $1 AND visitor_id = $2 AND status <> 'void' \
             ORDER BY created_at, id"
        );
        let statement = client.prepare_cached(&query).await?;
        let rows = client.query(&statement, &[&self.sale.as_str(), &visitor.as_str()]).await?;
        rows.iter().map(|row| Ok(self.owned(row)?.booking)).collect()
    }

    /// Writes a void row for a grant whose redeem's outcome is unknown: if the grant has booked, that booking;
    /// else nothing, and it never will.
    pub async fn void(&self, visitor: &VisitorId, grant: GrantKey) -> Result<Option<Owned>, StoreError> {
        let client = self.pool.get().await?;
        client
            .execute(
                "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats) \
                 VALUES ($1, $2, $3, $4, 'void', '{}') ON CONFLICT (grant_id) DO NOTHING",
                &[&Uuid::now_v7(), &self.sale.as_str(), &grant.grant_id(&self.sale), &visitor.as_str()],
            )
            .await?;
        drop(client);
        Ok(self.by_grants(&[grant]).await?.into_values().next())
    }

    /// PostgreSQL's time, if a hold's time is up by it.
    pub async fn hold_due(&self) -> Result<Option<Timestamp>, StoreError> {
        let client = self.pool.get().await?;
        let query = "SELECT now() WHERE EXISTS (SELECT 1 FROM bookings \
             WHERE sale_id = $1 AND status = 'held' AND hold_expires_at <= now())";
        let statement = client.prepare_cached(query).await?;
        Ok(client.query_opt(&statement, &[&self.sale.as_str()]).await?.map(|row| row.get(0)))
    }

    /// Ends the holds whose time was up at `due`, by PostgreSQL's clock.
    pub async fn expire_holds(&self, due: Timestamp) -> Result<Vec<Owned>, StoreError> {
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
        rows.iter().map(|row| self.owned(row)).collect()
    }

    /// Brings all holds up to the shift of deadlines that the line has had in all; true if anything moved.
    pub async fn shift_holds(&self, shift_ms: i64) -> Result<bool, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let before: i64 = tx
            .query_one("SELECT shift_ms FROM sales WHERE id = $1 FOR UPDATE", &[&self.sale.as_str()])
            .await?
            .get(0);
        if shift_ms <= before {
            return Ok(false);
        }
        tx.execute("UPDATE sales SET shift_ms = $2 WHERE id = $1", &[&self.sale.as_str(), &shift_ms]).await?;
        tx.execute(
            "UPDATE bookings SET hold_expires_at = hold_expires_at + $2 * interval '1 millisecond' \
             WHERE sale_id = $1 AND status = 'held'",
            &[&self.sale.as_str(), &((shift_ms - before) as f64)],
        )
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Paid: confirms the booking, and books its seats again if its hold had ended. Nothing if there is none.
    pub async fn confirm(&self, id: Uuid) -> Result<Option<Confirmation>, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let query = format!("SELECT {COLUMNS} FROM bookings WHERE id = $1 AND sale_id = $2 FOR UPDATE");
        let Some(row) = tx.query_opt(&query, &[&id, &self.sale.as_str()]).await? else { return Ok(None) };
        let mut owned = Box::new(self.owned(&row)?);
        let changed = owned.booking.status != BookingStatus::Confirmed;
        if owned.booking.status == BookingStatus::Released {
            let seats = self.plan.ids_of(&owned.booking.seats);
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
            tx.commit().await?;
        }
        owned.booking.status = BookingStatus::Confirmed;
        owned.booking.hold_expires_at = None;
        Ok(Some(Confirmation::Confirmed { owned, changed }))
    }

    /// Frees the booking's seats: the booking, and whether this call did it. Nothing if there is none.
    pub async fn release(&self, id: Uuid) -> Result<Option<(Owned, bool)>, StoreError> {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let query = format!("SELECT {COLUMNS} FROM bookings WHERE id = $1 AND sale_id = $2 FOR UPDATE");
        let Some(row) = tx.query_opt(&query, &[&id, &self.sale.as_str()]).await? else { return Ok(None) };
        let mut owned = self.owned(&row)?;
        let changed = owned.booking.status != BookingStatus::Released;
        if changed {
            tx.execute("UPDATE bookings SET status = 'released' WHERE id = $1", &[&id]).await?;
            tx.execute("DELETE FROM booked_seats WHERE booking_id = $1", &[&id]).await?;
            tx.commit().await?;
        }
        owned.booking.status = BookingStatus::Released;
        owned.booking.hold_expires_at = None;
        Ok(Some((owned, changed)))
    }

    /// Hands the booking as it is to `tell`, and lets nobody change it meanwhile: so what is told last is what was
    /// committed last, however many instances tell.
    pub async fn present<T>(&self, id: Uuid, tell: impl FnOnce(Owned) -> T) -> Result<(), StoreError>
    where
        T: Future<Output = Result<(), StoreError>> + Send,
    {
        let mut client = self.pool.get().await?;
        let tx = client.transaction().await?;
        let query = format!("SELECT {COLUMNS} FROM bookings WHERE id = $1 FOR UPDATE");
        if let Some(row) = tx.query_opt(&query, &[&id]).await? {
            tell(self.owned(&row)?).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The seats that are booked or held, and the held bookings.
    pub async fn taken(&self) -> Result<(SeatSet, Vec<String>), StoreError> {
        let client = self.pool.get().await?;
        let seats = client.prepare_cached("SELECT seat_id FROM booked_seats WHERE sale_id = $1").await?;
        let held =
            client.prepare_cached("SELECT id FROM bookings WHERE sale_id = $1 AND status = 'held'").await?;
        // As they come: a sold hall in one piece would keep a thread from everyone else.
        let mut seats = pin!(client.query_raw(&seats, [self.sale.as_str()]).await?);
        let mut taken = SeatSet::new(self.plan.seats.len());
        while let Some(row) = seats.try_next().await? {
            self.plan.index_of(row.get(0)).map(|seat| taken.insert(seat));
        }
        let held = client.query(&held, &[&self.sale.as_str()]).await?;
        Ok((taken, held.iter().map(|row| row.get::<_, Uuid>(0).to_string()).collect()))
    }

    /// Who booked, and how many seats that are still theirs.
    pub async fn visitors(&self) -> Result<Vec<(VisitorId, u32)>, StoreError> {
        let client = self.pool.get().await?;
        let rows = client
            .query(
                "SELECT visitor_id, sum(cardinality(seats)) FILTER (WHERE status <> 'released') FROM bookings \
                 WHERE sale_id = $1 AND status <> 'void' GROUP BY visitor_id",
                &[&self.sale.as_str()],
            )
            .await?;
        let visitors = rows.iter().filter_map(|row| {
            let seats: Option<i64> = row.get(1);
            Some((VisitorId::parse(row.get(0))?, u32::try_from(seats.unwrap_or(0)).unwrap_or(u32::MAX)))
        });
        Ok(visitors.collect())
    }

    /// How many bookings are confirmed.
    pub async fn confirmed(&self) -> Result<u64, StoreError> {
        let client = self.pool.get().await?;
        let query = "SELECT count(*) FROM bookings WHERE sale_id = $1 AND status = 'confirmed'";
        let count: i64 = client.query_one(query, &[&self.sale.as_str()]).await?.get(0);
        Ok(u64::try_from(count).unwrap_or(0))
    }

    pub(super) fn owned(&self, row: &Row) -> Result<Owned, StoreError> {
        let status: &str = row.get("status");
        let corrupt = |what: &str| StoreError::Corrupt(format!("booking: {what}"));
        let mut seats: Vec<SeatIndex> = row
            .get::<_, Vec<&str>>("seats")
            .into_iter()
            .filter_map(|seat| self.plan.index_of(seat))
            .collect();
        seats.sort_unstable();
        Ok(Owned {
            visitor: VisitorId::parse(row.get("visitor_id")).ok_or_else(|| corrupt("its visitor"))?,
            booking: Booking {
                id: row.get("id"),
                seats,
                status: BookingStatus::parse(status).ok_or_else(|| corrupt(status))?,
                hold_expires_at: row.get("hold_expires_at"),
                together: row.get("together"),
            },
            created_at: row.get("created_at"),
        })
    }
}
