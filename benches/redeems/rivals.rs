//! What the engine is held against: the same rows, in the same two tables, on the same PostgreSQL.

use deadpool_postgres::Pool;
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tokio_postgres::{Client, binary_copy::BinaryCopyInWriter, types::Type};
use uuid::Uuid;

struct Row {
    id: Uuid,
    grant: Uuid,
    visitor: String,
    seats: Vec<String>,
}

fn rows(count: usize) -> Vec<Row> {
    let row = |i| Row {
        id: Uuid::now_v7(),
        grant: Uuid::new_v4(),
        visitor: format!("visitor-{i:032}"),
        seats: vec![format!("{}-{}-{}", i / 1000, i / 50 % 20, i % 50)],
    };
    (0..count).map(row).collect()
}

/// Binary COPY as a program does it that has its batches ready, and nobody to answer; bookings a second.
pub async fn bare_copy(client: &Client, sale: &str, count: usize, batch: usize) -> f64 {
    let bookings = "COPY bookings (id, sale_id, grant_id, visitor_id, status, hold_expires_at, seats, together, nth) \
                    FROM STDIN BINARY";
    let bookings = client.prepare(bookings).await.unwrap();
    let seats = "COPY booked_seats (sale_id, seat_id, booking_id) FROM STDIN BINARY";
    let seats = client.prepare(seats).await.unwrap();
    let booking_types = [
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
    let rows = rows(count);
    let started = Instant::now();
    for chunk in rows.chunks(batch) {
        client.batch_execute("BEGIN").await.unwrap();
        let sink = client.copy_in(&bookings).await.unwrap();
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &booking_types));
        for row in chunk {
            let none: Option<jiff::Timestamp> = None;
            let values: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
                [&row.id, &sale, &row.grant, &row.visitor, &"confirmed", &none, &row.seats, &true, &0i32];
            writer.as_mut().write(&values).await.unwrap();
        }
        writer.finish().await.unwrap();
        let sink = client.copy_in(&seats).await.unwrap();
        let mut writer = pin!(BinaryCopyInWriter::new(sink, &[Type::TEXT, Type::TEXT, Type::UUID]));
        for row in chunk {
            for seat in &row.seats {
                writer.as_mut().write(&[&sale, seat, &row.id]).await.unwrap();
            }
        }
        writer.finish().await.unwrap();
        client.batch_execute("COMMIT").await.unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// One statement a request, from so many callers over the pool's connections; bookings a second.
pub async fn insert_each(pool: &Pool, sale: &str, count: usize, callers: usize) -> f64 {
    let query = "WITH booked AS (INSERT INTO booked_seats (sale_id, seat_id, booking_id) VALUES ($2, $5, $1) \
                 ON CONFLICT DO NOTHING RETURNING booking_id) \
                 INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats, together, nth) \
                 SELECT booking_id, $2, $3, $4, 'confirmed', ARRAY[$5], true, 0 FROM booked \
                 ON CONFLICT DO NOTHING RETURNING id";
    let (rows, next) = (Arc::new(rows(count)), Arc::new(AtomicUsize::new(0)));
    let started = Instant::now();
    let callers = (0..callers).map(|_| {
        let (pool, sale, rows, next) = (pool.clone(), sale.to_owned(), rows.clone(), next.clone());
        tokio::spawn(async move {
            while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                let client = pool.get().await.unwrap();
                let statement = client.prepare_cached(query).await.unwrap();
                let values: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                    [&row.id, &sale, &row.grant, &row.visitor, &row.seats[0]];
                assert_eq!(client.query(&statement, &values).await.unwrap().len(), 1);
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}
