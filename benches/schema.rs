//! What the schema costs a booking, and what old sales cost a new one: `cargo bench --bench schema [parts|old]`.
//! docs/decisions/0010-schema.md quotes it.
//!
//! Each variant of the schema has a database of its own in one PostgreSQL with fsync on; in each round all take
//! turns. Printed are medians: bookings a second; CPU of the serving process a booking, over all rounds; bytes of
//! WAL a booking.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

#[path = "schema/writer.rs"]
mod writer;

use waitroom::{
    embedded::Postgres,
    store::postgres::{connect, migrations},
};
use wire::domain::ids::{GrantKey, SaleId};
use writer::{Figures, Load, Writer, hashed};

const ROUNDS: usize = 5;
/// Bookings written by each variant in each round.
const BOOKINGS: usize = 16_384;
/// Old bookings, and of how many sales.
const OLD_BOOKINGS: usize = 3_000_000;
const OLD_SALES: usize = 50;

/// Takes the schema down to its tables and their primary keys.
const BARE: &str = "
    ALTER TABLE bookings DROP CONSTRAINT IF EXISTS bookings_grant_id_key;
    ALTER TABLE bookings DROP CONSTRAINT IF EXISTS bookings_status_check;
    ALTER TABLE bookings DROP CONSTRAINT IF EXISTS hold_ends_iff_held;
    ALTER TABLE bookings DROP CONSTRAINT IF EXISTS seats_unless_void;
    ALTER TABLE bookings DROP CONSTRAINT IF EXISTS nth_counts_from_0;
    DROP INDEX IF EXISTS bookings_nth_of_visitor, bookings_held, booked_seats_of_booking;
    DROP TRIGGER IF EXISTS live_booking_has_its_seats ON bookings;
    DROP TRIGGER IF EXISTS freed_seat_has_no_live_booking ON booked_seats;";

/// What is added to the bare tables, one at a time, and what is taken from the whole. Foreign keys are what V1 rejects.
const PARTS: [(&str, &str); 15] = [
    ("bare: primary keys only", ""),
    ("+ unique grant_id", "ALTER TABLE bookings ADD UNIQUE (grant_id)"),
    ("+ bookings_nth_of_visitor", "CREATE UNIQUE INDEX ON bookings (sale_id, visitor_id, nth)"),
    (
        "+ bookings_held (nothing is held)",
        "CREATE INDEX ON bookings (sale_id, hold_expires_at) WHERE status = 'held'",
    ),
    ("+ booked_seats_of_booking", "CREATE INDEX ON booked_seats (booking_id)"),
    (
        "+ CHECKs",
        "ALTER TABLE bookings ADD CHECK (status IN ('held', 'confirmed', 'released', 'void')), \
         ADD CHECK (status = 'released' OR (status = 'held') = (hold_expires_at IS NOT NULL)), \
         ADD CHECK ((status = 'void') = (cardinality(seats) = 0)), ADD CHECK (nth >= 0)",
    ),
    ("+ key to sales", "ALTER TABLE bookings ADD FOREIGN KEY (sale_id) REFERENCES sales"),
    (
        "+ key to bookings, deferred",
        "ALTER TABLE booked_seats ADD FOREIGN KEY (booking_id) REFERENCES bookings DEFERRABLE INITIALLY DEFERRED",
    ),
    ("+ key to seats", "ALTER TABLE booked_seats ADD FOREIGN KEY (sale_id, seat_id) REFERENCES seats"),
    ("+ trigger a row: a live booking has its seats", TRIGGER),
    ("+ trigger a batch: the same", BATCH_TRIGGER),
    ("as migrated", ""),
    ("as migrated, - V5's triggers", "DROP TRIGGER live_booking_has_its_seats ON bookings"),
    ("as migrated, - booked_seats_of_booking", "DROP INDEX IF EXISTS booked_seats_of_booking"),
    (
        "as migrated, + all three foreign keys",
        "ALTER TABLE bookings ADD FOREIGN KEY (sale_id) REFERENCES sales; \
         ALTER TABLE booked_seats ADD FOREIGN KEY (sale_id, seat_id) REFERENCES seats, \
         ADD FOREIGN KEY (booking_id) REFERENCES bookings DEFERRABLE INITIALLY DEFERRED",
    ),
];

/// As V5 has it.
const TRIGGER: &str = "
    CREATE CONSTRAINT TRIGGER live_booking_has_its_seats
    AFTER INSERT OR UPDATE OF id, sale_id, status, seats ON bookings DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.status IN ('held', 'confirmed')) EXECUTE FUNCTION live_booking_has_its_seats()";

/// The same, looked at once a batch.
const BATCH_TRIGGER: &str = "
    CREATE UNLOGGED TABLE unproved (bookings uuid[]);
    CREATE FUNCTION note_bookings() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO unproved SELECT array_agg(id) FROM written WHERE status IN ('held', 'confirmed') HAVING count(*) > 0;
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_new AFTER INSERT ON bookings REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION note_bookings();
    CREATE TRIGGER note_changed AFTER UPDATE ON bookings REFERENCING NEW TABLE AS written
        FOR EACH STATEMENT EXECUTE FUNCTION note_bookings();
    CREATE FUNCTION prove_bookings() RETURNS trigger LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_material = off AS $$ BEGIN
        IF EXISTS (
            SELECT FROM unnest(NEW.bookings) AS new (id) JOIN bookings USING (id) CROSS JOIN unnest(seats) AS seat
            LEFT JOIN booked_seats ON booked_seats.sale_id = bookings.sale_id AND seat_id = seat AND booking_id = id
            WHERE status IN ('held', 'confirmed') AND booking_id IS NULL)
        THEN RAISE EXCEPTION 'a booking has not all of its seats';
        END IF;
        DELETE FROM unproved WHERE ctid = (SELECT max(ctid) FROM unproved WHERE bookings = NEW.bookings);
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER prove AFTER INSERT ON unproved DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION prove_bookings()";

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let folder = tempfile::tempdir().unwrap();
    let postgres = Postgres::start_at(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        migrations::run(&postgres.url()).await.unwrap();
        let admin = connect::postgres_single(&postgres.url()).await.unwrap();
        for setting in ["autovacuum = off", "max_wal_size = '8GB'", "checkpoint_timeout = '1h'"] {
            admin.batch_execute(&format!("ALTER SYSTEM SET {setting}")).await.unwrap();
        }
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        drop(admin);
        if "parts".starts_with(&wanted) {
            parts(&postgres).await;
        }
        if "old".starts_with(&wanted) {
            old(&postgres).await;
        }
    });
}

/// What each part of the schema costs.
async fn parts(postgres: &Postgres) {
    let mut writers = Vec::new();
    for (i, (name, change)) in PARTS.iter().enumerate() {
        let writer = Writer::open(postgres, &format!("part{i}"), local).await;
        let bare = if name.starts_with("as migrated") { "" } else { BARE };
        writer.client.batch_execute(&format!("{bare} {change}")).await.unwrap();
        writers.push(writer);
    }
    for load in [(256, 1), (256, 2), (1_000, 1), (1_000, 2)].map(|(batch, seats)| Load { batch, seats }) {
        let mut seen = vec![Figures::default(); writers.len()];
        for _ in 0..ROUNDS {
            for (writer, seen) in writers.iter_mut().zip(&mut seen) {
                seen.add(writer.measure(BOOKINGS, load).await);
            }
        }
        println!("\nbatches of {} bookings with {} seats each", load.batch, load.seats);
        PARTS.iter().zip(&seen).for_each(|((name, _), figures)| println!("{}", figures.line(name, &seen[0])));
    }
}

/// What a new sale pays for old ones, with ids of grants that are hashes and with those of the product.
async fn old(postgres: &Postgres) {
    let mut writers = Vec::new();
    for (name, old, grant) in [
        ("hashed, no old bookings", 0, hashed as fn(GrantKey, &SaleId) -> uuid::Uuid),
        ("local, no old bookings", 0, local),
        ("hashed, 3 million old bookings", OLD_BOOKINGS, hashed),
        ("local, 3 million old bookings", OLD_BOOKINGS, local),
    ] {
        let mut writer = Writer::open(postgres, &format!("old{}", writers.len()), grant).await;
        let filled = std::time::Instant::now();
        for _ in 0..OLD_SALES.min(old) {
            writer.fill(old / OLD_SALES).await;
        }
        writer.client.batch_execute("VACUUM ANALYZE").await.unwrap();
        println!("{name}: filled in {:.0} s, {}", filled.elapsed().as_secs_f64(), writer.sizes().await);
        writers.push((name, writer));
    }
    let load = Load { batch: 256, seats: 1 };
    let mut seen = vec![Figures::default(); writers.len()];
    for _ in 0..ROUNDS {
        for ((_, writer), seen) in writers.iter_mut().zip(&mut seen) {
            writer.client.batch_execute("CHECKPOINT").await.unwrap();
            seen.add(writer.measure(BOOKINGS, load).await);
        }
    }
    println!("\na new sale after a checkpoint, batches of {} bookings with one seat each", load.batch);
    writers.iter().zip(&seen).for_each(|((name, _), figures)| println!("{}", figures.line(name, &seen[0])));
}

/// The product's.
fn local(grant: GrantKey, sale: &SaleId) -> uuid::Uuid {
    grant.grant_id(sale)
}
