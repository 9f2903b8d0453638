//! How fast bookings get into PostgreSQL, way by way: `cargo bench --bench bookings`, with `-- --quick` in a minute, with
//! `-- --seconds 900` in more rounds than seven minutes allow (a busy machine needs them).
//!
//! All ways write the same rows (a booking and its two seats, every column) to the real tables of one PostgreSQL with
//! fsync on, taking turns in one run so that a noisy neighbour hits them all; where there is a JDK, four ways of
//! the Java world too. Printed are medians of the rounds, and CPU time a booking, which is less noisy.
//! `docs/bookings.md` reads the figures. Left in `target/bookings` (or `--out FOLDER`): `bookings.json` and `bookings.svg`;
//! `--plot FOLDER` draws the one from the other again.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

mod columns;
mod copies;
mod cpu;
mod java;
mod plan;
mod plot;
mod report;
mod rows;
mod statements;
mod ways;

use java::Java;
use plan::{Cell, Effort, TURN_MAX, Who};
use report::Measured;
use rows::{Batch, Share};
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Instant};
use tokio::sync::Barrier;
use tokio_postgres::{Client, config::Host};
use waitroom::{
    embedded::Postgres,
    store::postgres::{connect, migrations},
};
use ways::{Way, Writer};

const CONNECTIONS_MAX: usize = 16;
/// The booking that has the seats which are taken from the start.
const TAKEN: &str = "00000000-0000-0000-0000-000000000000";
const OLD_BOOKINGS_MAX: usize = 100_000;
/// The Java world's own tables: keys are drawn by the database, all else is as in the real ones.
const IDENTITY_TABLES: &str = include_str!("../java/identity.sql");

/// Everything that the measurements share.
struct Bench {
    postmaster: u32,
    admin: Client,
    writers: Vec<Writer>,
    java: Option<Java>,
    sales: usize,
    /// Written since the tables were empty.
    bookings: usize,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after = |flag: &str| arguments.iter().skip_while(|a| *a != flag).nth(1).map(PathBuf::from);
    if let Some(folder) = after("--plot") {
        return plot::write(&folder, &report::read(&folder));
    }
    let out = after("--out").unwrap_or_else(|| "target/bookings".into());
    std::fs::create_dir_all(&out).unwrap();
    let seconds = after("--seconds").map(|seconds| seconds.to_str().unwrap().parse().unwrap());
    let effort = Effort::new(arguments.iter().any(|a| a == "--quick"), seconds);
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start_at(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lines = runtime.block_on(run(&postgres, effort));
    report::write(&out, &lines);
    plot::write(&out, &lines);
}

async fn run(postgres: &Postgres, effort: Effort) -> Vec<report::Line> {
    let started = Instant::now();
    let mut bench = Bench::start(postgres, effort.quick).await;
    let everyone = plan::everyone(bench.java.is_some());
    let mut seen: HashMap<(Who, Cell), Vec<Measured>> = HashMap::new();
    for round in 0..effort.rounds_max {
        if round > 0 && started.elapsed() * (round + 1) / round > effort.time {
            break;
        }
        for cell in effort.cells() {
            for turn in 0..everyone.len() {
                // Nobody always comes after the same; the steps share no factor with the number of ways.
                let (who, _) =
                    everyone[(turn * [1, 3, 9][round as usize % 3] + round as usize) % everyone.len()];
                if who.takes_part(cell, round) {
                    let measured = Measured { round, ..bench.measure(who, cell).await };
                    seen.entry((who, cell)).or_default().push(measured);
                }
            }
        }
        eprintln!("round {} of at most {}: {:.0?}", round + 1, effort.rounds_max, started.elapsed());
    }
    report::lines(&everyone, &effort.cells(), &seen)
}

/// The ways of writing are compared, not what the triggers cost on top of each (`--bench schema` says that); and what
/// writes a booking and its seats in a transaction each could not pass them.
const WITHOUT_TRIGGERS: &str =
    "ALTER TABLE bookings DISABLE TRIGGER USER; ALTER TABLE booked_seats DISABLE TRIGGER USER";

impl Bench {
    async fn start(postgres: &Postgres, quick: bool) -> Self {
        let url = postgres.url();
        migrations::run(&url).await.unwrap();
        let admin = connect::postgres_single(&url).await.unwrap();
        admin.batch_execute(IDENTITY_TABLES).await.unwrap();
        admin.batch_execute(WITHOUT_TRIGGERS).await.unwrap();
        let mut writers = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            writers.push(Writer::connect(&url).await);
        }
        let config: tokio_postgres::Config = url.parse().unwrap();
        let [Host::Unix(sockets)] = config.get_hosts() else { panic!("not on a Unix socket") };
        let java = Java::start(sockets);
        let mut bench = Self { postmaster: postgres.pid(), admin, writers, java, sales: 0, bookings: 0 };
        bench.warm_up_java(if quick { 1 } else { 3 }).await;
        bench
    }

    /// Long enough for its compilers to be done.
    async fn warm_up_java(&mut self, turns: usize) {
        if self.java.is_none() {
            return;
        }
        for (way, _) in java::JAVA_WAYS {
            for batch in [1, 100, 1_000].repeat(turns) {
                let bookings = if batch == 1 { 1_000 } else { 8_000 };
                let sale = self.fresh_sale(bookings).await;
                if let Some(java) = &mut self.java {
                    java.write(way, &sale, batch, 2, bookings);
                }
            }
        }
    }

    /// Among a few others, as in life: the tables are emptied now and then.
    async fn fresh_sale(&mut self, bookings: usize) -> String {
        self.sales += 1;
        if self.bookings > OLD_BOOKINGS_MAX {
            let tables = ["bookings", "booked_seats", "identity_bookings", "identity_booked_seats"];
            self.admin.batch_execute(&format!("TRUNCATE {}", tables.join(", "))).await.unwrap();
            self.bookings = 0;
        }
        self.bookings += bookings;
        format!("bench-{}", self.sales)
    }

    async fn measure(&mut self, who: Who, cell: Cell) -> Measured {
        let bookings = who.bookings(cell);
        let sale = self.fresh_sale(bookings * cell.connections).await;
        let warm_up = who.warm_up(cell);
        let measured = match who {
            Who::Rust(way) => self.write(way, &sale, cell, bookings, warm_up).await,
            Who::Java(way) => {
                let java = self.java.as_mut().unwrap();
                java.write(way, &format!("{sale}-warm-up"), cell.batch, cell.connections, warm_up);
                let before = cpu::server(self.postmaster);
                let mut measured = java.write(way, &sale, cell.batch, cell.connections, bookings);
                measured.server = cpu::server(self.postmaster) - before;
                measured
            }
        };
        self.verify(who, &sale, cell, &measured).await;
        measured
    }

    async fn write(&mut self, way: Way, sale: &str, cell: Cell, bookings: usize, warm_up: usize) -> Measured {
        let Cell { connections, contended, batch } = cell;
        let share = |connection, bookings, contended| Share { connection, connections, bookings, contended };
        if contended && connections == 1 {
            let taken = share(0, bookings, true).hot();
            let take = "INSERT INTO booked_seats SELECT $1, unnest($2::text[]), $3::text::uuid";
            self.admin.execute(take, &[&sale, &taken, &TAKEN]).await.unwrap();
        }
        let barrier = Arc::new(Barrier::new(connections + 1));
        let mut tasks = Vec::new();
        for (connection, mut writer) in self.writers.drain(..connections).enumerate() {
            let warm = share(connection, warm_up, false).batches(&format!("{sale}-warm-up"), batch);
            let batches = share(connection, bookings, contended).batches(sale, batch);
            let barrier = barrier.clone();
            tasks.push(tokio::spawn(async move {
                write_all(&mut writer, way, &warm).await;
                barrier.wait().await;
                barrier.wait().await;
                let booked = write_all(&mut writer, way, &batches).await;
                // The rows are freed after the clock has stopped.
                (writer, booked, batches)
            }));
        }
        barrier.wait().await;
        let (server, client) = (cpu::server(self.postmaster), cpu::this_process());
        let started = Instant::now();
        barrier.wait().await;
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await.unwrap());
        }
        let seconds = started.elapsed().as_secs_f64();
        let (server, client) = (cpu::server(self.postmaster) - server, cpu::this_process() - client);
        let (mut booked, mut bookings) = (0, 0);
        for (writer, (booked_by_it, tried), _) in done {
            booked += booked_by_it;
            bookings += tried;
            self.writers.push(writer);
        }
        Measured { seconds, server, client, booked, bookings, round: 0 }
    }

    /// A way that loses rows, or leaves half a booking behind, is no way.
    async fn verify(&self, who: Who, sale: &str, cell: Cell, measured: &Measured) {
        let identity = who == Who::Java(java::IDENTITY);
        let (bookings, seats) = match identity {
            true => ("identity_bookings", "identity_booked_seats"),
            false => ("bookings", "booked_seats"),
        };
        let count = format!(
            "SELECT (SELECT count(*) FROM {bookings} WHERE sale_id = $1), \
             (SELECT count(*) FROM {seats} WHERE sale_id = $1 AND booking_id::text <> '{TAKEN}')"
        );
        let row = self.admin.query_one(&count, &[&sale]).await.unwrap();
        let found: (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(found, (measured.booked as i64, 2 * measured.booked as i64));
        let wanted_twice = measured.bookings.div_ceil(rows::CONTENDED) + cell.connections;
        let lost_max = if cell.contended { wanted_twice } else { 0 };
        assert!(measured.bookings - measured.booked <= lost_max);
        assert!(!cell.contended || cell.connections > 1 || measured.booked < measured.bookings);
    }
}

/// How many were booked, of how many.
async fn write_all(writer: &mut Writer, way: Way, batches: &[Batch]) -> (usize, usize) {
    let (started, mut booked, mut tried) = (Instant::now(), 0, 0);
    for batch in batches {
        booked += writer.write(way, batch).await.unwrap();
        tried += batch.rows.len();
        if started.elapsed() > TURN_MAX {
            break;
        }
    }
    (booked, tried)
}
