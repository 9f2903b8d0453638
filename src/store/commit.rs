//! One transaction a batch of bookings: binary COPY; on a conflict with another instance the same batch by
//! INSERT … ON CONFLICT, which tells who lost which seat. All rows go in sorted, so two batches cannot deadlock.

use super::{
    bookings::{Bookings, NewBooking, Verdict},
    errors::StoreError,
    sales::unique_violation,
};
use crate::{
    domain::{
        booking::{Booking, BookingStatus},
        plan::SeatIndex,
    },
    metrics,
};
use deadpool_postgres::Transaction;
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{HashMap, HashSet},
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tokio_postgres::{
    binary_copy::BinaryCopyInWriter,
    types::{ToSql, Type},
};
use uuid::Uuid;

/// A batch that takes longer has failed: well below the 10 s for which its grants are locked.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(4);

/// Commits the batch; a verdict for each. An unknown outcome is settled before this returns, if it can be.
pub(super) async fn commit(bookings: &Bookings, batch: &[NewBooking], hold_ttl_s: u32) -> Vec<Verdict> {
    let started = Instant::now();
    let result = match timeout(COMMIT_TIMEOUT, try_copy(bookings, batch, hold_ttl_s)).await {
        Ok(Ok(verdicts)) => Ok(verdicts),
        Ok(Err(StoreError::Postgres(e))) if unique_violation(&e).is_some() => {
            let conflicted = timeout(COMMIT_TIMEOUT, insert_what_can(bookings, batch, hold_ttl_s)).await;
            conflicted.unwrap_or(Err(StoreError::Timeout("PostgreSQL")))
        }
        Ok(Err(e)) => Err(e),
        Err(_) => Err(StoreError::Timeout("PostgreSQL")),
    };
    metrics::copy(batch.iter().map(|b| 1 + b.seats.len()).sum(), started.elapsed());
    let error = match result {
        Ok(verdicts) => return verdicts,
        Err(error) => error,
    };
    metrics::store_errors("PostgreSQL", "commit", 1);
    tracing::warn!(sale = %bookings.sale, "a batch of {} bookings failed: {error}", batch.len());
    settle(bookings, batch).await.unwrap_or_else(|error| {
        tracing::warn!(sale = %bookings.sale, "the outcome of {} bookings is unknown: {error}", batch.len());
        batch.iter().map(|_| Verdict::Unknown).collect()
    })
}

/// When holds made now end; nothing where bookings are confirmed at once.
async fn hold_end(tx: &Transaction<'_>, hold_ttl_s: u32) -> Result<Option<Timestamp>, StoreError> {
    if hold_ttl_s == 0 {
        return Ok(None);
    }
    let now: Timestamp = tx.query_one(&tx.prepare_cached("SELECT now()").await?, &[]).await?.get(0);
    Ok(Some(now + SignedDuration::from_secs(i64::from(hold_ttl_s))))
}

fn status(hold_end: Option<Timestamp>) -> BookingStatus {
    if hold_end.is_some() { BookingStatus::Held } else { BookingStatus::Confirmed }
}

/// The usual case: nobody else wants these seats.
async fn try_copy(
    bookings: &Bookings,
    batch: &[NewBooking],
    hold_ttl_s: u32,
) -> Result<Vec<Verdict>, StoreError> {
    let mut client = bookings.pool.get().await?;
    let tx = client.transaction().await?;
    let end = hold_end(&tx, hold_ttl_s).await?;
    let sale = bookings.sale.as_str();

    let sink = tx
        .copy_in(
            "COPY bookings (id, sale_id, grant_id, visitor_id, status, hold_expires_at, seats, together) \
             FROM STDIN BINARY",
        )
        .await?;
    let types = [
        Type::UUID,
        Type::TEXT,
        Type::UUID,
        Type::TEXT,
        Type::TEXT,
        Type::TIMESTAMPTZ,
        Type::TEXT_ARRAY,
        Type::BOOL,
    ];
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
    let status = status(end).as_str();
    for (grant_id, booking) in by_grant(bookings, batch) {
        let seats = bookings.plan.ids_of(&booking.seats);
        let row: [&(dyn ToSql + Sync); 8] = [
            &booking.id,
            &sale,
            &grant_id,
            &booking.visitor.as_str(),
            &status,
            &end,
            &seats,
            &booking.together,
        ];
        writer.as_mut().write(&row).await?;
    }
    writer.finish().await?;

    let sink = tx.copy_in("COPY booked_seats (sale_id, seat_id, booking_id) FROM STDIN BINARY").await?;
    let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::TEXT, Type::TEXT, Type::UUID]));
    for (seat, booking) in by_seat(batch) {
        writer.as_mut().write(&[&sale, &bookings.plan.id_of(seat), &booking]).await?;
    }
    writer.finish().await?;
    tx.commit().await?;
    Ok(batch.iter().map(|new| Verdict::Booked(booked(new, end))).collect())
}

/// Someone has a seat of the batch, or a grant was spent: the rest is booked all the same.
async fn insert_what_can(
    bookings: &Bookings,
    batch: &[NewBooking],
    hold_ttl_s: u32,
) -> Result<Vec<Verdict>, StoreError> {
    let mut client = bookings.pool.get().await?;
    let tx = client.transaction().await?;
    let end = hold_end(&tx, hold_ttl_s).await?;
    let fresh = insert_bookings(&tx, bookings, batch, end).await?;
    let rows: Vec<_> = by_seat(batch).into_iter().filter(|(_, booking)| fresh.contains(booking)).collect();
    let seat_ids: Vec<&str> = rows.iter().map(|(seat, _)| bookings.plan.id_of(*seat)).collect();
    let booking_ids: Vec<Uuid> = rows.iter().map(|(_, booking)| *booking).collect();
    let got: HashSet<(String, Uuid)> = tx
        .query(
            "INSERT INTO booked_seats (sale_id, seat_id, booking_id) \
             SELECT $1, seat_id, booking_id FROM unnest($2::text[], $3::uuid[]) AS t (seat_id, booking_id) \
             ON CONFLICT (sale_id, seat_id) DO NOTHING RETURNING seat_id, booking_id",
            &[&bookings.sale.as_str(), &seat_ids, &booking_ids],
        )
        .await?
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    let mut losers: HashMap<Uuid, Vec<SeatIndex>> = HashMap::new();
    for (seat, booking) in rows {
        if !got.contains(&(bookings.plan.id_of(seat).to_owned(), booking)) {
            losers.entry(booking).or_default().push(seat);
        }
    }
    let lost: Vec<Uuid> = losers.keys().copied().collect();
    tx.execute("DELETE FROM booked_seats WHERE booking_id = ANY($1)", &[&lost]).await?;
    tx.execute("DELETE FROM bookings WHERE id = ANY($1)", &[&lost]).await?;
    tx.commit().await?;
    let verdict = |new: &NewBooking| match losers.remove(&new.id) {
        Some(seats) => Verdict::SeatsTaken(seats),
        None if fresh.contains(&new.id) => Verdict::Booked(booked(new, end)),
        None => Verdict::GrantSpent,
    };
    Ok(batch.iter().map(verdict).collect())
}

/// Inserts the bookings whose grant was not spent before; answers their ids.
async fn insert_bookings(
    tx: &Transaction<'_>,
    bookings: &Bookings,
    batch: &[NewBooking],
    end: Option<Timestamp>,
) -> Result<HashSet<Uuid>, StoreError> {
    let statement = tx
        .prepare_cached(
            "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, hold_expires_at, seats, together) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (grant_id) DO NOTHING",
        )
        .await?;
    let mut fresh = HashSet::new();
    for (grant_id, booking) in by_grant(bookings, batch) {
        let inserted = tx
            .execute(
                &statement,
                &[
                    &booking.id,
                    &bookings.sale.as_str(),
                    &grant_id,
                    &booking.visitor.as_str(),
                    &status(end).as_str(),
                    &end,
                    &bookings.plan.ids_of(&booking.seats),
                    &booking.together,
                ],
            )
            .await?;
        if inserted == 1 {
            fresh.insert(booking.id);
        }
    }
    Ok(fresh)
}

/// After an error nobody knows whether the commit happened. Inserting the same grants again, to be rolled back,
/// waits for a transaction that is still under way, and so makes the outcome certain.
pub(super) async fn settle(bookings: &Bookings, batch: &[NewBooking]) -> Result<Vec<Verdict>, StoreError> {
    let attempt = async {
        let mut client = bookings.pool.get().await?;
        let tx = client.transaction().await?;
        let fresh = insert_bookings(&tx, bookings, batch, None).await?;
        tx.rollback().await?;
        Ok::<_, StoreError>(fresh)
    };
    let fresh = timeout(COMMIT_TIMEOUT, attempt).await.unwrap_or(Err(StoreError::Timeout("PostgreSQL")))?;
    if fresh.len() == batch.len() {
        return Ok(batch.iter().map(|_| Verdict::NotBooked).collect());
    }
    let grants: Vec<_> = batch.iter().map(|new| new.grant).collect();
    let found = bookings.by_grants(&grants).await?;
    let verdict = |new: &NewBooking| match found.get(&new.grant.grant_id(&bookings.sale)) {
        Some(owned) if owned.booking.id == new.id => Verdict::Booked(owned.booking.clone()),
        None if fresh.contains(&new.id) => Verdict::NotBooked,
        _ => Verdict::GrantSpent,
    };
    Ok(batch.iter().map(verdict).collect())
}

fn booked(new: &NewBooking, hold_expires_at: Option<Timestamp>) -> Booking {
    Booking {
        id: new.id,
        seats: new.seats.clone(),
        status: status(hold_expires_at),
        hold_expires_at,
        together: new.together,
    }
}

fn by_grant<'a>(bookings: &Bookings, batch: &'a [NewBooking]) -> Vec<(Uuid, &'a NewBooking)> {
    let mut rows: Vec<_> = batch.iter().map(|new| (new.grant.grant_id(&bookings.sale), new)).collect();
    rows.sort_by_key(|(grant_id, _)| *grant_id);
    rows
}

fn by_seat(batch: &[NewBooking]) -> Vec<(SeatIndex, Uuid)> {
    let mut rows: Vec<_> =
        batch.iter().flat_map(|new| new.seats.iter().map(|seat| (*seat, new.id))).collect();
    rows.sort_unstable();
    rows
}
