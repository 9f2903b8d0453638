//! The bookings desk: a sale's bookings in PostgreSQL, which alone judges who has a seat: one row in `booked_seats` a
//! taken seat. Seats are indexes here and have names only in the tables.

mod commit;
mod export;
mod holds;
mod survey;

pub use commit::Terms;
pub use survey::{BookingsSurvey, Sold};

use super::{
    errors::{Store, StoreError},
    postgres::within,
};
use deadpool_postgres::Pool;
use futures_util::TryStreamExt;
use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;
use tokio_postgres::Row;
use uuid::Uuid;
use wire::domain::{
    booking::{Booking, BookingRecord, BookingStatus},
    ids::{GrantKey, SaleId, VisitorId},
    plan::{Plan, SeatIndex},
    seats::SeatSet,
};

/// How long PostgreSQL may take to say what grants have booked: who asks has a writer wait, and all visitors with it.
const GRANTS_TIMEOUT: Duration = Duration::from_secs(4);

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

/// What became of a booking that was to be committed.
#[derive(Clone, Debug)]
pub enum Outcome {
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

/// The bookings of one sale; cheap to clone.
#[derive(Clone)]
pub struct Bookings {
    pool: Pool,
    sale: SaleId,
    plan: Arc<Plan>,
}

const COLUMNS: &str =
    "bookings.id, visitor_id, status, hold_expires_at, bookings.seats, together, created_at, grant_id";

impl Bookings {
    /// Of one sale.
    pub fn new(pool: Pool, sale: SaleId, plan: Arc<Plan>) -> Self {
        Self { pool, sale, plan }
    }

    /// One of them, void rows left out.
    pub async fn one(&self, id: Uuid) -> Result<Option<BookingRecord>, StoreError> {
        let client = self.pool.get().await?;
        let query =
            format!("SELECT {COLUMNS} FROM bookings WHERE id = $1 AND sale_id = $2 AND status <> 'void'");
        let row = client.query_opt(&query, &[&id, &self.sale.as_str()]).await?;
        row.map(|row| self.record(&row)).transpose()
    }

    /// What the grants booked, whatever became of it; void rows are nothing.
    pub async fn by_grants(&self, grants: &[GrantKey]) -> Result<HashMap<Uuid, BookingRecord>, StoreError> {
        let ids: Vec<Uuid> = grants.iter().map(|grant| grant.grant_id(&self.sale)).collect();
        let ask = async {
            let client = self.pool.get().await?;
            let query = format!(
                "SELECT {COLUMNS} FROM bookings WHERE grant_id = ANY($1) AND sale_id = $2 AND status <> 'void'"
            );
            let statement = client.prepare_cached(&query).await?;
            Ok::<_, StoreError>(client.query(&statement, &[&ids, &self.sale.as_str()]).await?)
        };
        let rows = timeout(GRANTS_TIMEOUT, ask).await.unwrap_or(Err(StoreError::Timeout(Store::Postgres)))?;
        rows.iter().map(|row| Ok((row.get("grant_id"), self.record(row)?))).collect()
    }

    /// The grants that have booked, whatever became of it.
    pub async fn spent_grants(&self) -> Result<Vec<GrantKey>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = "SELECT grant_id FROM bookings WHERE sale_id = $1 AND status <> 'void'";
            let rows = client.query(query, &[&self.sale.as_str()]).await?;
            Ok(rows.iter().filter_map(|row| GrantKey::of_grant_id(row.get(0), &self.sale)).collect())
        })
        .await
    }

    /// The visitor's bookings, oldest first, the released ones included.
    pub async fn by_visitor(&self, visitor: &VisitorId) -> Result<Vec<Booking>, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = format!(
                "SELECT {COLUMNS} FROM bookings WHERE sale_id = $1 AND visitor_id = $2 AND status <> 'void' \
                 ORDER BY created_at, id"
            );
            let statement = client.prepare_cached(&query).await?;
            let rows = client.query(&statement, &[&self.sale.as_str(), &visitor.as_str()]).await?;
            rows.iter().map(|row| Ok(self.record(row)?.booking)).collect()
        })
        .await
    }

    /// Writes a void row for each grant of a redeem whose outcome is unknown: those that have booked are answered, by their grants; all
    /// others never will.
    pub async fn void(
        &self,
        redeems: &[(VisitorId, GrantKey)],
    ) -> Result<HashMap<Uuid, BookingRecord>, StoreError> {
        let grants: Vec<Uuid> = redeems.iter().map(|(_, grant)| grant.grant_id(&self.sale)).collect();
        let visitors: Vec<&str> = redeems.iter().map(|(visitor, _)| visitor.as_str()).collect();
        within(&self.pool, async {
            // In the order in which commits take grants, so that nobody waits for one who waits for him.
            let query = "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats) \
                         SELECT gen_random_uuid(), $1, grant_id, visitor_id, 'void', '{}' \
                         FROM unnest($2::uuid[], $3::text[]) AS t (grant_id, visitor_id) ORDER BY grant_id \
                         ON CONFLICT (grant_id) DO NOTHING";
            let client = self.pool.get().await?;
            client.execute(query, &[&self.sale.as_str(), &grants, &visitors]).await?;
            Ok::<_, StoreError>(())
        })
        .await?;
        let grants: Vec<GrantKey> = redeems.iter().map(|(_, grant)| *grant).collect();
        self.by_grants(&grants).await
    }

    /// The seats that are booked or held, and the held bookings.
    pub async fn booked(&self) -> Result<(SeatSet, HashSet<Uuid>), StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let seats = client.prepare_cached("SELECT seat_id FROM booked_seats WHERE sale_id = $1").await?;
            let held = client
                .prepare_cached("SELECT id FROM bookings WHERE sale_id = $1 AND status = 'held'")
                .await?;
            // As they come: a sold hall in one piece would keep a thread from everyone else.
            let mut seats = pin!(client.query_raw(&seats, [self.sale.as_str()]).await?);
            let mut booked = SeatSet::new(self.plan.seats.len());
            while let Some(row) = seats.try_next().await? {
                self.plan.index_of(row.get(0)).map(|seat| booked.insert(seat));
            }
            let held = client.query(&held, &[&self.sale.as_str()]).await?;
            Ok((booked, held.iter().map(|row| row.get(0)).collect()))
        })
        .await
    }

    /// Who booked, and how many seats that are still theirs.
    pub async fn visitors(&self) -> Result<Vec<(VisitorId, u32)>, StoreError> {
        within(&self.pool, async {
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
        })
        .await
    }

    /// Whether any booking is only held.
    pub async fn any_held(&self) -> Result<bool, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = "SELECT EXISTS (SELECT FROM bookings WHERE sale_id = $1 AND status = 'held')";
            Ok(client.query_one(query, &[&self.sale.as_str()]).await?.get(0))
        })
        .await
    }

    /// How many bookings are confirmed.
    pub async fn confirmed(&self) -> Result<u64, StoreError> {
        within(&self.pool, async {
            let client = self.pool.get().await?;
            let query = "SELECT count(*) FROM bookings WHERE sale_id = $1 AND status = 'confirmed'";
            let count: i64 = client.query_one(query, &[&self.sale.as_str()]).await?.get(0);
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    fn record(&self, row: &Row) -> Result<BookingRecord, StoreError> {
        let status: &str = row.get("status");
        let corrupt = |what: &str| StoreError::Corrupt(format!("booking: {what}"));
        let mut seats: Vec<SeatIndex> = row
            .get::<_, Vec<&str>>("seats")
            .into_iter()
            .filter_map(|seat| self.plan.index_of(seat))
            .collect();
        seats.sort_unstable();
        Ok(BookingRecord {
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
