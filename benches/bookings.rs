//! How fast bookings get into PostgreSQL, way by way: `cargo bench --bench bookings`.
//!
//! All ways write the same rows (a booking and its seat) to the real tables, in one run, taking turns so that a noisy
//! neighbour hits them all; what is printed is the median of the rounds, in bookings a second, and the ratio to the
//! row-by-row way of `save()`.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use std::{pin::pin, time::Instant};
use tokio_postgres::{Client, binary_copy::BinaryCopyInWriter, types::Type};
use uuid::Uuid;
use waitroom::{
    embedded::Postgres,
    store::{connect, migrations},
};

const ROUNDS: usize = 7;
const BATCHES: [usize; 4] = [1, 10, 100, 1_000];
/// Bookings written by each way in each round; the slow ways write fewer, or nobody would wait for them.
const ROWS: usize = 2_000;

#[derive(Clone, Copy)]
enum Way {
    /// One INSERT a row, each its own transaction: `save()`.
    Save,
    /// One INSERT a row, a transaction a batch: `saveAll()`.
    SaveAll,
    /// Arrays, one statement a table.
    Unnest,
    /// Arrays, and what is there already is left out: what a conflict falls back to.
    UnnestOnConflict,
    /// Binary COPY.
    Copy,
}

const WAYS: [(Way, &str); 5] = [
    (Way::Save, "save()"),
    (Way::SaveAll, "saveAll()"),
    (Way::Unnest, "unnest"),
    (Way::UnnestOnConflict, "unnest on conflict"),
    (Way::Copy, "COPY"),
];

const BOOKING: &str = "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats, together) \
                       VALUES ($1, 'bench', $2, $3, 'confirmed', ARRAY[$4], true)";
const SEAT: &str = "INSERT INTO booked_seats (sale_id, seat_id, booking_id) VALUES ('bench', $1, $2)";

struct Row {
    id: Uuid,
    grant: Uuid,
    visitor: String,
    seat: String,
}

fn rows(count: usize) -> Vec<Row> {
    let row = |_| {
        let id = Uuid::now_v7();
        Row { id, grant: Uuid::new_v4(), visitor: format!("visitor-{id}"), seat: format!("A-{id}") }
    };
    (0..count).map(row).collect()
}

async fn write(client: &mut Client, way: Way, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    match way {
        Way::Save => {
            for row in rows {
                // Together: the schema lets no booking live without its seat.
                let tx = client.transaction().await?;
                tx.execute(BOOKING, &[&row.id, &row.grant, &row.visitor, &row.seat]).await?;
                tx.execute(SEAT, &[&row.seat, &row.id]).await?;
                tx.commit().await?;
            }
        }
        Way::SaveAll => {
            let tx = client.transaction().await?;
            let (booking, seat) = (tx.prepare(BOOKING).await?, tx.prepare(SEAT).await?);
            for row in rows {
                tx.execute(&booking, &[&row.id, &row.grant, &row.visitor, &row.seat]).await?;
                tx.execute(&seat, &[&row.seat, &row.id]).await?;
            }
            tx.commit().await?;
        }
        Way::Unnest => unnest(client, rows, "").await?,
        Way::UnnestOnConflict => unnest(client, rows, "ON CONFLICT DO NOTHING RETURNING 1").await?,
        Way::Copy => copy(client, rows).await?,
    }
    Ok(())
}

async fn unnest(client: &mut Client, rows: &[Row], end: &str) -> Result<(), tokio_postgres::Error> {
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let grants: Vec<_> = rows.iter().map(|row| row.grant).collect();
    let visitors: Vec<_> = rows.iter().map(|row| row.visitor.as_str()).collect();
    let seats: Vec<_> = rows.iter().map(|row| row.seat.as_str()).collect();
    let tx = client.transaction().await?;
    let bookings = format!(
        "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats, together) \
         SELECT id, 'bench', g, v, 'confirmed', ARRAY[s], true \
         FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) AS t (id, g, v, s) {end}"
    );
    tx.query(&bookings, &[&ids, &grants, &visitors, &seats]).await?;
    let booked = format!(
        "INSERT INTO booked_seats (sale_id, seat_id, booking_id) \
         SELECT 'bench', s, id FROM unnest($1::text[], $2::uuid[]) AS t (s, id) {end}"
    );
    tx.query(&booked, &[&seats, &ids]).await?;
    tx.commit().await
}

async fn copy(client: &mut Client, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    let tx = client.transaction().await?;
    let into = "COPY bookings (id, sale_id, grant_id, visitor_id, status, seats, together) FROM STDIN BINARY";
    let types = [Type::UUID, Type::TEXT, Type::UUID, Type::TEXT, Type::TEXT, Type::TEXT_ARRAY, Type::BOOL];
    let mut writer = pin!(BinaryCopyInWriter::new(tx.copy_in(into).await?, &types));
    for row in rows {
        let seats = vec![row.seat.as_str()];
        writer
            .as_mut()
            .write(&[&row.id, &"bench", &row.grant, &row.visitor, &"confirmed", &seats, &true])
            .await?;
    }
    writer.finish().await?;
    let into = "COPY booked_seats (sale_id, seat_id, booking_id) FROM STDIN BINARY";
    let types = [Type::TEXT, Type::TEXT, Type::UUID];
    let mut writer = pin!(BinaryCopyInWriter::new(tx.copy_in(into).await?, &types));
    for row in rows {
        writer.as_mut().write(&[&"bench", &row.seat, &row.id]).await?;
    }
    writer.finish().await?;
    tx.commit().await
}

/// Bookings a second.
async fn measure(client: &mut Client, way: Way, batch: usize) -> f64 {
    let count = if matches!(way, Way::Save) || batch == 1 { ROWS / 10 } else { ROWS };
    let rows = rows(count);
    let started = Instant::now();
    for chunk in rows.chunks(batch) {
        write(client, way, chunk).await.unwrap();
    }
    count as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start_at(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        migrations::run(&postgres.url()).await.unwrap();
        let mut client = connect::postgres_single(&postgres.url()).await.unwrap();
        println!("bookings a second, median of {ROUNDS} rounds, and how often save()'s speed");
        println!("{:>20} {}", "batch", BATCHES.map(|batch| format!("{batch:>16}")).join(""));
        let mut medians = Vec::new();
        let mut seen = vec![vec![Vec::new(); BATCHES.len()]; WAYS.len()];
        for _ in 0..ROUNDS {
            for (w, (way, _)) in WAYS.iter().enumerate() {
                for (b, batch) in BATCHES.iter().enumerate() {
                    seen[w][b].push(measure(&mut client, *way, *batch).await);
                }
            }
        }
        for by_batch in seen {
            medians.push(by_batch.into_iter().map(median).collect::<Vec<_>>());
        }
        let save = medians[0][0];
        for ((_, name), by_batch) in WAYS.iter().zip(medians) {
            let cells: String = by_batch.iter().map(|m| format!("{m:>9.0} {:>5.1}×", m / save)).collect();
            println!("{name:>20} {cells}");
        }
    });
}
