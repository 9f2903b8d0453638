//! One transaction a batch of bookings, all or nothing ([`whole`]); on a conflict with another instance the same batch
//! in the sorted way ([`sorted`]), which tells who lost which seat. Grants are written first, so that an outcome that
//! nobody heard can be settled by them; all rows go in sorted, so two batches cannot deadlock.

mod columns;
mod copy;
mod sorted;
mod whole;

use super::{Bookings, NewBooking, Outcome};
use crate::{
    metrics,
    store::{
        errors::{Store, StoreError},
        sales::unique_violation,
    },
};
use deadpool_postgres::{GenericClient, Object};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};
use tokio::time::timeout;
use uuid::Uuid;
use wire::domain::{
    booking::{Booking, BookingStatus},
    ids::VisitorId,
    plan::SeatIndex,
};

/// A transaction that takes longer has failed: well below the 10 s for which its grants are fenced.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(4);

/// What holds for every booking of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long a booking is held for payment, in seconds; 0: it is confirmed at once.
    pub hold_ttl_s: u32,
    /// Seats that a visitor may have in all his bookings of the sale.
    pub max_seats: u32,
}

impl Bookings {
    /// Commits a batch in one transaction; an outcome for each. One that is unknown is settled before this returns, if it
    /// can be.
    #[tracing::instrument(level = "debug", skip_all, fields(sale = %self.sale, bookings = batch.len()))]
    pub async fn commit(&self, batch: &[NewBooking], terms: Terms) -> Vec<Outcome> {
        let started = Instant::now();
        let whole = async |client: &mut Object| self.insert_all(client, batch, terms).await;
        let result = match self.on_connection(whole).await {
            Err(e) if is_conflict(&e) => {
                let sorted = async |client: &mut Object| self.insert_what_can(client, batch, terms).await;
                self.on_connection(sorted).await
            }
            result => result,
        };
        let booked = |outcome: &&Outcome| matches!(outcome, Outcome::Booked(_));
        let written = batch.iter().zip(result.iter().flatten()).filter(|(_, outcome)| booked(outcome));
        metrics::copy(written.map(|(new, _)| 1 + new.seats.len()).sum(), started.elapsed());
        let error = match result {
            Ok(outcomes) => return outcomes,
            Err(error) => error,
        };
        metrics::store_errors(Store::Postgres.name(), "commit", 1);
        tracing::warn!(sale = %self.sale, "a batch of {} bookings failed: {error}", batch.len());
        self.settle(batch).await.unwrap_or_else(|error| {
            tracing::warn!(sale = %self.sale, "the outcome of {} bookings is unknown: {error}", batch.len());
            batch.iter().map(|_| Outcome::Unknown).collect()
        })
    }

    /// What became of a batch whose commit got no answer. Inserting the same grants again, to be rolled back, waits for a
    /// transaction that is still under way, and so makes the outcome certain: a commit is sent only after PostgreSQL has
    /// taken the batch's grants.
    pub async fn settle(&self, batch: &[NewBooking]) -> Result<Vec<Outcome>, StoreError> {
        let mut grants: Vec<Uuid> = batch.iter().map(|new| new.grant.grant_id(&self.sale)).collect();
        grants.sort_unstable();
        let attempt = async |client: &mut Object| {
            let tx = client.transaction().await?;
            let query = "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats) \
                         SELECT gen_random_uuid(), $1, grant_id, '', 'void', '{}' FROM unnest($2::uuid[]) AS t (grant_id) \
                         ON CONFLICT (grant_id) DO NOTHING RETURNING grant_id";
            let unspent = tx.query(query, &[&self.sale.as_str(), &grants]).await?;
            tx.rollback().await?;
            Ok::<_, StoreError>(unspent.iter().map(|row| row.get(0)).collect::<HashSet<Uuid>>())
        };
        let unspent = self.on_connection(attempt).await?;
        if unspent.len() == batch.len() {
            return Ok(batch.iter().map(|_| Outcome::NotBooked).collect());
        }
        let grants: Vec<_> = batch.iter().map(|new| new.grant).collect();
        let found = self.by_grants(&grants).await?;
        let outcome = |new: &NewBooking| {
            let grant_id = new.grant.grant_id(&self.sale);
            match found.get(&grant_id) {
                Some(record) if record.booking.id == new.id => Outcome::Booked(record.booking.clone()),
                None if unspent.contains(&grant_id) => Outcome::NotBooked,
                _ => Outcome::GrantSpent,
            }
        };
        Ok(batch.iter().map(outcome).collect())
    }

    /// Does something on a connection of the pool, within the time. If that fails, something may still be under way on
    /// it: closed, PostgreSQL forgets what was not committed, and nobody else has to wait for it.
    async fn on_connection<T>(
        &self,
        work: impl AsyncFnOnce(&mut Object) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let late = |_| StoreError::Timeout(Store::Postgres);
        let mut client = timeout(COMMIT_TIMEOUT, self.pool.get()).await.map_err(late)??;
        let result = timeout(COMMIT_TIMEOUT, work(&mut client)).await.map_err(late).flatten();
        if result.as_ref().is_err_and(|error| !is_conflict(error)) {
            drop(Object::take(client));
        }
        result
    }

    /// The batch's rows by grant, and those whose visitor would have more seats than he may. Who is not in `earlier` has
    /// booked nothing, as far as anyone knows: the number that his booking gets lets it in only if that is so.
    fn rows<'a>(
        &self,
        batch: &'a [NewBooking],
        mut earlier: HashMap<&'a str, Earlier>,
        terms: Terms,
    ) -> (Vec<Row<'a>>, HashSet<Uuid>) {
        let mut too_many = HashSet::new();
        let mut rows = Vec::with_capacity(batch.len());
        for new in batch {
            let before = earlier.entry(new.visitor.as_str()).or_default();
            let seats = before.seats.saturating_add(new.seats.len() as u32);
            if seats > terms.max_seats {
                too_many.insert(new.id);
                continue;
            }
            rows.push(Row { grant_id: new.grant.grant_id(&self.sale), nth: before.bookings, new });
            *before = Earlier { bookings: before.bookings + 1, seats };
        }
        rows.sort_unstable_by_key(|row| row.grant_id);
        (rows, too_many)
    }

    /// What these visitors have booked before, as the transaction sees it.
    async fn earlier<'a>(
        &self,
        client: &impl GenericClient,
        visitors: impl Iterator<Item = &'a VisitorId>,
    ) -> Result<HashMap<&'a str, Earlier>, StoreError> {
        let asked: HashSet<&str> = visitors.map(VisitorId::as_str).collect();
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        let query = "SELECT visitor_id, greatest(count(*), max(nth) + 1)::int, \
                     coalesce(sum(cardinality(seats)) FILTER (WHERE status <> 'released'), 0)::int \
                     FROM bookings WHERE sale_id = $1 AND visitor_id = ANY($2) AND status <> 'void' GROUP BY visitor_id";
        let statement = client.prepare_cached(query).await?;
        let list: Vec<&str> = asked.iter().copied().collect();
        let found = client.query(&statement, &[&self.sale.as_str(), &list]).await?;
        let known = found.iter().filter_map(|row| {
            let visitor = asked.get(row.get::<_, &str>(0))?;
            let seats = u32::try_from(row.get::<_, i32>(2)).unwrap_or(u32::MAX);
            Some((*visitor, Earlier { bookings: row.get(1), seats }))
        });
        Ok(known.collect())
    }
}

/// Another instance was faster: at a seat, or with another booking of a visitor; or a grant was spent.
fn is_conflict(error: &StoreError) -> bool {
    matches!(error, StoreError::Postgres(e) if unique_violation(e).is_some())
}

/// A booking as it goes into PostgreSQL.
struct Row<'a> {
    grant_id: Uuid,
    /// How many bookings the visitor had before.
    nth: i32,
    new: &'a NewBooking,
}

/// What a visitor has booked before.
#[derive(Clone, Copy, Default)]
struct Earlier {
    bookings: i32,
    seats: u32,
}

/// When holds made now end, by PostgreSQL's clock; nothing where bookings are confirmed at once.
async fn hold_end(client: &impl GenericClient, terms: Terms) -> Result<Option<Timestamp>, StoreError> {
    if terms.hold_ttl_s == 0 {
        return Ok(None);
    }
    let statement = client.prepare_cached("SELECT now()").await?;
    let now: Timestamp = client.query_one(&statement, &[]).await?.get(0);
    Ok(Some(now + SignedDuration::from_secs(i64::from(terms.hold_ttl_s))))
}

fn status(hold_end: Option<Timestamp>) -> BookingStatus {
    if hold_end.is_some() { BookingStatus::Held } else { BookingStatus::Confirmed }
}

fn booked(new: &NewBooking, hold_expires_at: Option<Timestamp>) -> Outcome {
    Outcome::Booked(Booking {
        id: new.id,
        seats: new.seats.clone(),
        status: status(hold_expires_at),
        hold_expires_at,
        together: new.together,
    })
}

/// The seats of the rows in plan order, and which booking wants each.
fn by_seat(rows: &[Row<'_>]) -> Vec<(SeatIndex, Uuid)> {
    let wanted = rows.iter().flat_map(|row| row.new.seats.iter().map(|seat| (*seat, row.new.id)));
    let mut wanted: Vec<_> = wanted.collect();
    wanted.sort_unstable();
    wanted
}
