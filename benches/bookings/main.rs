//! How fast bookings get into PostgreSQL, way by way: `cargo bench --bench bookings [-- --quick] [-- --out FOLDER]`.
//!
//! All ways write the same rows (a booking and its two seats, every column) to the real tables of one PostgreSQL with
//! fsync on, taking turns in one run so that a noisy neighbour hits them all; where there is a JDK, four ways of
//! the Java world too. Printed are medians of the rounds, and CPU time a booking, which is less noisy.
//! `docs/bookings.md` reads the figures. Left in FOLDER (`target/bookings`): `bookings.json` and `bookings.svg`.
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
use plan::{Cell, Effort, Who};
use report::Measured;
use rows::{Batch, Share};
use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Instant};
use tokio::sync::Barrier;
use tokio_postgres::{Client, config::Host};
use waitroom::{
    embedded::Postgres,
    store::{connect, migrations},
};
use ways::{Way, Writer};

const CONNECTIONS_MAX: usize = 16;
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
    let effort = Effort::new(arguments.iter().any(|a| a == "--quick"));
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start_at(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let lines = runtime.block_on(run(&postgres, effort));
    report::write(&out, &lines);
    plot::write(&out, &lines);
}

async fn run(postgres: &Postgres, effort: Effort) -> Vec<report::Line> {
    let started = Instant::now();
    let mut bench = Bench::start(postgres).await;
    let everyone = plan::everyone(bench.java.is_some());
    let mut seen: HashMap<(Who, Cell), Vec<Measured>> = HashMap::new();
    for round in 0..effort.rounds {
        for cell in effort.cells() {
            for turn in 0..everyone.len() {
                // Everyone starts a round once.
                let (who, name) = everyone[(turn + round * 3) % everyone.len()];
                if who.takes_part(cell, round, effort.quick) {
                    let measured = bench.measure(who, cell).await;
                    seen.entry((who, cell)).or_default().push(measured);
                    if std::env::var_os("BOOKINGS_TRACE").is_some() {
                        eprintln!("{name} {} {} {:?}", cell.connections, cell.batch, started.elapsed());
                    }
                }
            }
        }
        eprintln!("round {} of {}: {:.0?}", round + 1, effort.rounds, started.elapsed());
    }
    report::lines(&everyone, &effort.cells(), &seen)
}

impl Bench {
    async fn start(postgres: &Postgres) -> Self {
        let url = postgres.url();
        migrations::run(&url).await.unwrap();
        let admin = connect::postgres_single(&url).await.unwrap();
        admin.batch_execute(IDENTITY_TABLES).await.unwrap();
        let mut writers = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            writers.push(Writer::connect(&url).await);
        }
        let config: tokio_postgres::Config = url.parse().unwrap();
        let [Host::Unix(sockets)] = config.get_hosts() else { panic!("not on a Unix socket") };
        let java = Java::start(sockets);
        let mut bench = Self { postmaster: postgres.pid(), admin, writers, java, sales: 0, bookings: 0 };
        bench.warm_up_java().await;
        bench
    }

    /// Long enough for its compilers to be done.
    async fn warm_up_java(&mut self) {
        if self.java.is_none() {
            return;
        }
        for (way, _) in java::JAVA_WAYS {
            for batch in [1, 100, 1_000] {
                let bookings = if batch == 1 { 300 } else { 4_000 };
                let sale = self.fresh_sale(bookings).await;
                if let Some(java) = &mut self.java {
                    java.write(way, &sale, batch, 2, bookings);
                }
            }
        }
    }

    async fn fresh_sale(&mut self) -> String {
        self.sales += 1;
        let empty =
            "TRUNCATE bookings, booked_seats, identity_bookings, identity_booked_seats RESTART IDENTITY";
        self.admin.batch_execute(empty).await.unwrap();
        format!("bench-{}", self.sales)
    }

    async fn measure(&mut self, who: Who, cell: Cell) -> Measured {
        let bookings = who.bookings(cell);
        let sale = self.fresh_sale(bookings * cell.connections).await;
        let warm_up = who.warm_up(cell);
        let mut measured = match who {
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
        measured.bookings = bookings * cell.connections;
        self.verify(who, &sale, cell, &measured).await;
        measured
    }

    async fn write(&mut self, way: Way, sale: &str, cell: Cell, bookings: usize, warm_up: usize) -> Measured {
        let Cell { connections, contended, batch } = cell;
        let share = |connection, bookings, contended| Share { connection, connections, bookings, contended };
        if contended && connections == 1 {
            let taken = share(0, bookings, true).hot();
            let take = "INSERT INTO booked_seats SELECT $1, unnest($2::text[]), gen_random_uuid()";
            self.admin.execute(take, &[&sale, &taken]).await.unwrap();
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
        let booked = done.iter().map(|(_, booked, _)| booked).sum();
        self.writers.extend(done.into_iter().map(|(writer, ..)| writer));
        Measured { seconds, server, client, booked, bookings: 0 }
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
             (SELECT count(*) FROM {seats} s JOIN {bookings} b ON b.id = s.booking_id WHERE s.sale_id = $1)"
        );
        let row = self.admin.query_one(&count, &[&sale]).await.unwrap();
        let found: (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(found, (measured.booked as i64, 2 * measured.booked as i64));
        let contended = measured.bookings / rows::CONTENDED;
        let lost_max = if cell.contended { contended.max(cell.connections) } else { 0 };
        assert!(measured.bookings - measured.booked <= lost_max);
        assert!(!cell.contended || cell.connections > 1 || measured.booked < measured.bookings);
    }
}

async fn write_all(writer: &mut Writer, way: Way, batches: &[Batch]) -> usize {
    let mut booked = 0;
    for batch in batches {
        booked += writer.write(way, batch).await.unwrap();
    }
    booked
}
