//! Writes bookings as the product does, and takes the time.

use sha2::{Digest, Sha256};
use std::{fs, pin::pin, time::Instant};
use tokio_postgres::{Client, binary_copy::BinaryCopyInWriter, types::Type};
use uuid::Uuid;
use waitroom::{embedded::Postgres, store::postgres::connect};
use wire::domain::ids::{GrantKey, SaleId};

/// A tick of /proc's CPU times, in microseconds.
const TICK_US: f64 = 10_000.0;

/// How the id of a grant is derived.
pub type GrantId = fn(GrantKey, &SaleId) -> Uuid;

/// As grants were named at first: a hash of everything.
pub fn hashed(grant: GrantKey, sale: &SaleId) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(sale.as_str());
    hash.update([0, grant.turn]);
    hash.update(grant.seq.to_be_bytes());
    let mut bytes = [0u8; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Uuid::new_v8(bytes)
}

/// How bookings come.
#[derive(Clone, Copy)]
pub struct Load {
    /// Bookings in a transaction.
    pub batch: usize,
    /// Seats of a booking.
    pub seats: usize,
}

/// What one round came to.
pub struct Round {
    per_s: f64,
    wal: f64,
    cpu_us: f64,
}

/// What all rounds came to.
#[derive(Clone, Default)]
pub struct Figures {
    per_s: Vec<f64>,
    wal: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Figures {
    /// One more round.
    pub fn add(&mut self, round: Round) {
        self.per_s.push(round.per_s);
        self.wal.push(round.wal);
        self.cpu_us.push(round.cpu_us);
    }

    /// A row of the table, with ratios to `base`.
    pub fn line(&self, name: &str, base: &Self) -> String {
        let cpu = |figures: &Self| figures.cpu_us.iter().sum::<f64>() / figures.cpu_us.len() as f64;
        format!(
            "{name:<42} {:>8.0}/s {:>5.2}×  {:>5.1} µs {:>5.2}×  {:>6.0} B of WAL {:>5.2}×",
            median(&self.per_s),
            median(&self.per_s) / median(&base.per_s),
            cpu(self),
            cpu(self) / cpu(base),
            median(&self.wal),
            median(&self.wal) / median(&base.wal),
        )
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Row {
    id: Uuid,
    grant: Uuid,
    visitor: String,
    seats: Vec<String>,
}

/// One database, and the connection that writes to it.
pub struct Writer {
    /// The connection.
    pub client: Client,
    pid: i32,
    grant: GrantId,
    sales: usize,
}

impl Writer {
    /// A database with the product's schema, empty.
    pub async fn open(postgres: &Postgres, name: &str, grant: GrantId) -> Self {
        let admin =
            connect::postgres_single(&postgres.url().replacen("/waitroom?", "/postgres?", 1)).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE waitroom")).await.unwrap();
        let url = postgres.url().replacen("/waitroom?", &format!("/{name}?"), 1);
        let client = connect::postgres_single(&url).await.unwrap();
        client.batch_execute("SET statement_timeout = 0").await.unwrap();
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        Self { client, pid, grant, sales: 0 }
    }

    /// Bookings of a sale that is over, as fast as they go in.
    pub async fn fill(&mut self, bookings: usize) {
        self.client.batch_execute("SET synchronous_commit = off").await.unwrap();
        let sale = self.sale(0).await;
        self.write(&sale, bookings, Load { batch: 1_000, seats: 1 }).await;
        self.client.batch_execute("SET synchronous_commit = on").await.unwrap();
    }

    /// A new sale that sells all its seats.
    pub async fn measure(&mut self, bookings: usize, load: Load) -> Round {
        let sale = self.sale(bookings * load.seats).await;
        let (wal, cpu, started) = (self.wal().await, self.cpu_us(), Instant::now());
        let spent = self.write(&sale, bookings, load).await;
        let took = started.elapsed().as_secs_f64() - spent;
        let per = |all: f64| all / bookings as f64;
        Round {
            per_s: bookings as f64 / took,
            wal: per((self.wal().await - wal) as f64),
            cpu_us: per(self.cpu_us() - cpu),
        }
    }

    /// What the tables and the hashed or local index weigh.
    pub async fn sizes(&self) -> String {
        let query = "SELECT pg_size_pretty(pg_total_relation_size('bookings')), \
                     pg_size_pretty(pg_relation_size('bookings_grant_id_key'))";
        let row = self.client.query_one(query, &[]).await.unwrap();
        format!("bookings {}, of it grant_id's index {}", row.get::<_, &str>(0), row.get::<_, &str>(1))
    }

    async fn sale(&mut self, seats: usize) -> SaleId {
        self.sales += 1;
        let sale = SaleId::parse(&format!("concert-in-spring-{}", self.sales)).unwrap();
        let insert = "INSERT INTO sales (id, name, plan, rate, max_active, grant_ttl_s, claim_s, away_s, max_seats, \
                      anonymous) VALUES ($1, 'Bench', '', 1, 1, 1, 1, 1, 1, true)";
        self.client.execute(insert, &[&sale.as_str()]).await.unwrap();
        let insert = "INSERT INTO seats (sale_id, position, seat_id, category) \
                      SELECT $1, i, 'block-' || i / 100 || '-seat-' || i % 100, 'Hall' FROM generate_series(0, $2) AS i";
        self.client.execute(insert, &[&sale.as_str(), &(seats as i32 - 1)]).await.unwrap();
        sale
    }

    /// Writes the bookings; answers the seconds that went into making them up.
    async fn write(&mut self, sale: &SaleId, bookings: usize, load: Load) -> f64 {
        let mut made = 0.0;
        for first in (0..bookings).step_by(load.batch) {
            let making = Instant::now();
            let rows = self.rows(sale, first..bookings.min(first + load.batch), bookings, load.seats);
            made += making.elapsed().as_secs_f64();
            copy(&mut self.client, sale, &rows).await.unwrap();
        }
        made
    }

    fn rows(&self, sale: &SaleId, range: std::ops::Range<usize>, of: usize, seats: usize) -> Vec<Row> {
        let row = |i: usize| {
            // Odd and without a common factor with the powers of two and ten used here: each comes once.
            let place = i * 7_919 % of;
            let seat =
                |n: usize| format!("block-{}-seat-{}", (place * seats + n) / 100, (place * seats + n) % 100);
            Row {
                id: Uuid::now_v7(),
                grant: (self.grant)(GrantKey { seq: i as u64 + 1, turn: 0 }, sale),
                visitor: Uuid::new_v4().simple().to_string(),
                seats: (0..seats).map(seat).collect(),
            }
        };
        let mut rows: Vec<_> = range.map(row).collect();
        rows.sort_by_key(|row| row.grant);
        rows
    }

    async fn wal(&self) -> i64 {
        let query = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint";
        self.client.query_one(query, &[]).await.unwrap().get(0)
    }

    /// CPU that the serving process has had.
    fn cpu_us(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        let ticks: u64 =
            after_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
        ticks as f64 * TICK_US
    }
}

async fn copy(client: &mut Client, sale: &SaleId, rows: &[Row]) -> Result<(), tokio_postgres::Error> {
    let tx = client.transaction().await?;
    let into =
        "COPY bookings (id, sale_id, grant_id, visitor_id, status, seats, together, nth) FROM STDIN BINARY";
    let types = [
        Type::UUID,
        Type::TEXT,
        Type::UUID,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT_ARRAY,
        Type::BOOL,
        Type::INT4,
    ];
    let mut writer = pin!(BinaryCopyInWriter::new(tx.copy_in(into).await?, &types));
    for row in rows {
        writer
            .as_mut()
            .write(&[
                &row.id,
                &sale.as_str(),
                &row.grant,
                &row.visitor,
                &"confirmed",
                &row.seats,
                &true,
                &0i32,
            ])
            .await?;
    }
    writer.finish().await?;
    let into = "COPY booked_seats (sale_id, seat_id, booking_id) FROM STDIN BINARY";
    let mut writer =
        pin!(BinaryCopyInWriter::new(tx.copy_in(into).await?, &[Type::TEXT, Type::TEXT, Type::UUID]));
    let mut seats: Vec<_> = rows.iter().flat_map(|row| row.seats.iter().map(|seat| (seat, row.id))).collect();
    seats.sort_unstable();
    for (seat, booking) in seats {
        writer.as_mut().write(&[&sale.as_str(), seat, &booking]).await?;
    }
    writer.finish().await?;
    tx.commit().await
}
