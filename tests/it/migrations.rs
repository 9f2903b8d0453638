//! The schema: what it refuses whatever a program does, and that it changes under data and under running programs.
//! The rules are in migrations/README.md.

use crate::world::{World, plan};
use std::{
    sync::Arc,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tokio_postgres::Client;
use uuid::Uuid;
use waitroom::store::{
    bookings::{Bookings, NewBooking, Outcome, Terms},
    postgres::{connect, migrations},
    sales::Sales,
};
use wire::domain::{
    audit::Actor,
    ids::{GrantKey, SaleId, VisitorId},
    plan::Plan,
    sale::{NewSale, SaleSettings},
    seats::SeatSet,
};

/// A database of its own, empty: its URL.
async fn database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("schema_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let url = World::shared().postgres.url();
    let admin = connect::postgres_single(&url).await.unwrap();
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    url.replacen("/waitroom?", &format!("/{name}?"), 1)
}

fn sale() -> SaleId {
    SaleId::parse("spring").unwrap()
}

/// As `store::sales` wrote it when the schema was at version 1.
async fn sale_of_version_1(client: &Client) {
    let plan = plan(2, 10).to_string();
    let insert = "INSERT INTO sales (id, name, plan, anonymous, opens_at, rate, max_active, grant_ttl_s, claim_s, \
                  away_s, max_seats, hold_ttl_s) VALUES ('spring','Spring',$1,true,null,1,1,60,60,60,4,60) \
                  ON CONFLICT (id) DO NOTHING";
    assert_eq!(client.execute(insert, &[&plan.as_bytes()]).await.unwrap(), 1);
    let seats = "INSERT INTO seats (sale_id, position, seat_id, category, blocked) SELECT 'spring', 10 * r + s, \
                 chr(65 + r) || '-' || s + 1, 'Hall', false FROM generate_series(0, 1) AS r, generate_series(0, 9) AS s";
    client.execute(seats, &[]).await.unwrap();
}

/// What the program of version 1 did with bookings, by its own statements, on the seats of one row.
async fn work_of_version_1(client: &Client, row: &str) {
    let seat = |n: usize| format!("{row}-{n}");
    let id = |n: usize| Uuid::from_u128(u128::from(row.as_bytes()[0]) << 64 | n as u128);
    let book = async |n: usize, status: &str, end: &str| {
        let insert = format!(
            "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, hold_expires_at, seats, together) \
             VALUES ($1, 'spring', $2, $3, '{status}', {end}, ARRAY[$4], false) ON CONFLICT (grant_id) DO NOTHING"
        );
        let visitor = format!("kim-{row}-{}", n % 2);
        client.execute(&insert, &[&id(n), &Uuid::new_v4(), &visitor, &seat(n)]).await.unwrap();
        let insert = "INSERT INTO booked_seats (sale_id, seat_id, booking_id) SELECT 'spring', seat_id, booking_id \
                      FROM unnest($1::text[], $2::uuid[]) AS t (seat_id, booking_id) \
                      ON CONFLICT (sale_id, seat_id) DO NOTHING RETURNING seat_id, booking_id";
        let got = client.query(insert, &[&vec![seat(n)], &vec![id(n)]]).await.unwrap();
        assert_eq!(got.len(), 1);
    };
    for n in 1..=6 {
        client.batch_execute("BEGIN").await.unwrap();
        let held = n < 5;
        book(n, if held { "held" } else { "confirmed" }, if held { "now()" } else { "null" }).await;
        client.batch_execute("COMMIT").await.unwrap();
    }
    let void = "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats) \
                VALUES ($1, 'spring', $2, 'kim', 'void', '{}') ON CONFLICT (grant_id) DO NOTHING";
    client.execute(void, &[&id(7), &Uuid::new_v4()]).await.unwrap();
    let expire = "WITH due AS (SELECT id FROM bookings WHERE sale_id = 'spring' AND status = 'held' AND id = $1), \
                  ended AS (UPDATE bookings SET status = 'released' FROM due WHERE bookings.id = due.id \
                  RETURNING bookings.id), \
                  freed AS (DELETE FROM booked_seats USING due WHERE booking_id = due.id) SELECT * FROM ended";
    assert_eq!(client.query(expire, &[&id(1)]).await.unwrap().len(), 1);
    client.batch_execute("BEGIN").await.unwrap();
    client.execute("UPDATE bookings SET status = 'released' WHERE id = $1", &[&id(5)]).await.unwrap();
    assert_eq!(client.execute("DELETE FROM booked_seats WHERE booking_id = $1", &[&id(5)]).await.unwrap(), 1);
    client.batch_execute("COMMIT; BEGIN").await.unwrap();
    // A late confirmation books the seats again before it says so.
    let again = "INSERT INTO booked_seats (sale_id, seat_id, booking_id) SELECT 'spring', seat_id, $2 FROM seats \
                 WHERE sale_id = 'spring' AND seat_id = ANY($1) AND NOT blocked ORDER BY position \
                 ON CONFLICT DO NOTHING";
    assert_eq!(client.execute(again, &[&vec![seat(1)], &id(1)]).await.unwrap(), 1);
    for n in [1, 2] {
        let confirm = "UPDATE bookings SET status = 'confirmed', hold_expires_at = NULL WHERE id = $1";
        client.execute(confirm, &[&id(n)]).await.unwrap();
    }
    client.batch_execute("COMMIT").await.unwrap();
    // A loser's rows are taken back in the transaction that wrote them.
    client.batch_execute("BEGIN").await.unwrap();
    book(8, "confirmed", "null").await;
    client.execute("DELETE FROM booked_seats WHERE booking_id = ANY($1)", &[&vec![id(8)]]).await.unwrap();
    client.execute("DELETE FROM bookings WHERE id = ANY($1)", &[&vec![id(8)]]).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
}

fn bookings(url: &str) -> Bookings {
    let plan = Plan::parse(plan(2, 10).to_string().as_bytes()).unwrap();
    Bookings::new(connect::postgres_pool(url, 2).unwrap(), sale(), Arc::new(plan))
}

#[tokio::test(flavor = "multi_thread")]
async fn old_data_comes_along_and_an_old_program_works_on() {
    let url = database().await;
    assert_eq!(migrations::run_up_to(&url, 1).await.unwrap(), 1);
    let old = connect::postgres_single(&url).await.unwrap();
    sale_of_version_1(&old).await;
    work_of_version_1(&old, "A").await;
    assert_eq!(migrations::run(&url).await.unwrap(), migrations::wanted_version());
    work_of_version_1(&old, "B").await;
    // Read by the program of today.
    let bookings = bookings(&url);
    let (taken, held) = bookings.booked().await.unwrap();
    assert_eq!(taken.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 5, 10, 11, 12, 13, 15]);
    assert_eq!(held.len(), 4);
    assert_eq!(bookings.confirmed().await.unwrap(), 6);
    for visitor in ["kim-A-1", "kim-B-1"] {
        let theirs = bookings.by_visitor(&VisitorId::parse(visitor).unwrap()).await.unwrap();
        assert_eq!(theirs.len(), 3, "the first, confirmed late, the third and the released fifth");
    }
    // And it books on, also for a visitor whose bookings have no number.
    let new = NewBooking {
        id: Uuid::now_v7(),
        grant: GrantKey { seq: 1, turn: 0 },
        visitor: VisitorId::parse("kim-A-1").unwrap(),
        seats: vec![19],
        owned: 3,
        together: false,
    };
    let terms = Terms { hold_ttl_s: 0, max_seats: 4 };
    assert!(matches!(bookings.commit(&[new], terms).await[0], Outcome::Booked(_)));
}

/// An operator exports, or someone analyses: a migration must not make the bookings behind it wait long.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_must_wait_lets_others_pass() {
    let url = database().await;
    migrations::run_up_to(&url, 2).await.unwrap();
    let [reader, writer] = [0, 1].map(|_| connect::postgres_single(&url));
    let (reader, writer) = (reader.await.unwrap(), writer.await.unwrap());
    sale_of_version_1(&writer).await;
    reader.batch_execute("BEGIN; SELECT FROM bookings").await.unwrap();
    let migration = tokio::spawn(async move { migrations::run(&url).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!migration.is_finished());
    let asked = Instant::now();
    work_of_version_1(&writer, "A").await;
    // Not for as long as the reader reads, which is for ever.
    assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", asked.elapsed());
    reader.batch_execute("COMMIT").await.unwrap();
    assert_eq!(migration.await.unwrap().unwrap(), migrations::wanted_version());
}

/// A connection as a program has it that calls itself so.
async fn connected_as(url: &str, name: &str) -> Client {
    let config = format!("{url}&application_name={name}");
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_an_older_program_cannot_live_with_is_refused_while_one_runs() {
    let url = database().await;
    let wanted = migrations::run(&url).await.unwrap();
    let contract = format!("V{}__contract_{wanted}_drops_together", wanted + 1);
    let migrate = async || migrations::run_with(&url, &contract, "ALTER TABLE bookings DROP together").await;
    let admin = connect::postgres_single(&url).await.unwrap();
    let written = async || admin.batch_execute(&booking(1, "confirmed", "null", "A-1", "A-1")).await;
    let older = connected_as(&url, &format!("waitroom%2F{}", wanted - 1)).await;
    let refused = migrate().await.unwrap_err().to_string();
    assert!(refused.starts_with(&contract) && refused.contains("nothing was changed"), "{refused}");
    written().await.unwrap();
    assert_eq!(migrations::look(&url).await.unwrap().version, wanted);
    // It ends, and PostgreSQL notices; those that stay know enough, or are no program of ours.
    drop(older);
    let _others = [connected_as(&url, "psql").await, connected_as(&url, "waitroom%2F99%20till").await];
    let began = Instant::now();
    while let Err(error) = migrate().await {
        assert!(began.elapsed() < Duration::from_secs(30), "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    admin.batch_execute("SELECT together FROM bookings").await.expect_err("it is gone");
    // Whoever comes without knowing is told, and touches nothing; what all can live with was never in the way.
    admin
        .batch_execute("UPDATE refinery_schema_history SET name = 'contract_99_x' WHERE version > 8")
        .await
        .unwrap();
    let refused = migrations::look(&url).await.unwrap_err().to_string();
    assert!(refused.contains("contract_99_x wants programs that know version 99"), "{refused}");
    assert_eq!(migrations::run(&url).await.unwrap_err().to_string(), refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_only_adds_runs_beside_the_oldest_program() {
    let url = database().await;
    let wanted = migrations::run(&url).await.unwrap();
    let _older = connected_as(&url, "waitroom").await;
    let name = format!("V{}__till", wanted + 1);
    let added = migrations::run_with(&url, &name, "ALTER TABLE bookings ADD till text").await.unwrap();
    assert_eq!(added, wanted + 1);
}

/// A booking, and rows for the seats in `rows`.
fn booking(n: u32, status: &str, end: &str, seats: &str, rows: &str) -> String {
    format!(
        "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, hold_expires_at, seats, nth) VALUES \
         ('{0}', 'spring', '{0}', 'kim', '{status}', {end}, '{{{seats}}}', {n}); \
         INSERT INTO booked_seats SELECT 'spring', s, '{0}' FROM unnest('{{{rows}}}'::text[]) AS s;",
        Uuid::from_u128(u128::from(n))
    )
}

fn freed() -> String {
    format!("DELETE FROM booked_seats WHERE booking_id = '{}' AND seat_id = 'A-1'", Uuid::from_u128(1))
}

/// What a program may try, beside three good bookings: what is wrong with it, and what refuses it.
fn crimes() -> Vec<(&'static str, String, &'static str)> {
    let one = Uuid::from_u128(1);
    vec![
        ("its seat is another's", booking(9, "confirmed", "null", "A-1", "A-1"), "booked_seats_pkey"),
        (
            "it lives on another's seat",
            booking(9, "confirmed", "null", "A-1", ""),
            "live_booking_has_its_seats",
        ),
        (
            "it has half of its seats",
            booking(9, "held", "now()", "B-1,B-2", "B-2"),
            "live_booking_has_its_seats",
        ),
        (
            "it comes back to life on another's seat",
            format!(
                "UPDATE bookings SET status = 'confirmed', hold_expires_at = null WHERE id = '{}'",
                Uuid::from_u128(3)
            ),
            "live_booking_has_its_seats",
        ),
        (
            "it takes another's seat later",
            format!("UPDATE bookings SET seats = '{{A-1,A-3}}' WHERE id = '{one}'"),
            "live_booking_has_its_seats",
        ),
        ("a row goes from under it", freed(), "freed_seat_has_no_live_booking"),
        (
            "a row is given to another",
            format!("UPDATE booked_seats SET booking_id = '{}' WHERE seat_id = 'A-1'", Uuid::from_u128(2)),
            "freed_seat_has_no_live_booking",
        ),
        ("a hold without end", booking(9, "held", "null", "B-1", "B-1"), "hold_ends_iff_held"),
        ("an end without a hold", booking(9, "confirmed", "now()", "B-1", "B-1"), "hold_ends_iff_held"),
        ("nothing is booked", booking(9, "confirmed", "null", "", ""), "seats_unless_void"),
        ("a fence with seats", booking(9, "void", "null", "B-1", ""), "seats_unless_void"),
        (
            "a grant's second booking",
            booking(9, "confirmed", "null", "B-1", "B-1").replacen(
                ", '00000000-0000-0000-0000-000000000009', 'kim'",
                &format!(", '{one}', 'kim'"),
                1,
            ),
            "bookings_grant_id_key",
        ),
        (
            "a visitor's other first",
            booking(9, "confirmed", "null", "B-1", "B-1").replacen(", 9);", ", 1);", 1),
            "bookings_nth_of_visitor",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_program_can_sell_a_seat_twice() {
    let url = database().await;
    migrations::run(&url).await.unwrap();
    let client = connect::postgres_single(&url).await.unwrap();
    let good = [
        booking(1, "confirmed", "null", "A-1,A-2", "A-1,A-2"),
        booking(2, "held", "now()", "A-3", "A-3"),
        booking(3, "released", "now()", "A-1,A-9", ""),
        booking(4, "void", "null", "", ""),
    ];
    client.batch_execute(&good.concat()).await.unwrap();
    for (what, bad, key) in crimes() {
        let error = client.batch_execute(&bad).await.expect_err(what);
        let error = error.as_db_error().unwrap();
        assert_eq!(error.constraint(), Some(key), "{what}: {error}");
    }
    // The guard itself: without it the same seat is sold to two.
    let unguarded = "ALTER TABLE bookings DISABLE TRIGGER live_booking_has_its_seats";
    client.batch_execute(unguarded).await.unwrap();
    client.batch_execute(&booking(9, "confirmed", "null", "A-1", "")).await.unwrap();
    let query = "SELECT count(*) FROM bookings WHERE 'A-1' = ANY (seats) AND status = 'confirmed'";
    assert_eq!(client.query_one(query, &[]).await.unwrap().get::<_, i64>(0), 2);
    client
        .batch_execute("ALTER TABLE booked_seats DISABLE TRIGGER freed_seat_has_no_live_booking")
        .await
        .unwrap();
    assert_eq!(client.execute(&freed(), &[]).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_whose_grants_would_be_named_like_anothers_is_refused() {
    let url = database().await;
    migrations::run(&url).await.unwrap();
    let sales = Sales::new(connect::postgres_pool(&url, 2).unwrap());
    let json = plan(2, 10).to_string();
    let plan = Plan::parse(json.as_bytes()).unwrap();
    let settings = SaleSettings {
        opens_at: None,
        rate: 1.0,
        max_active: 1,
        grant_ttl_s: 60,
        claim_s: 60,
        away_s: 60,
        max_seats: 4,
        hold_ttl_s: 0,
    };
    let create = async |id: &str| {
        let (id, blocked) = (SaleId::parse(id).unwrap(), SeatSet::new(plan.seats.len()));
        let new = NewSale {
            id: &id,
            name: "Test",
            plan_json: json.as_bytes(),
            plan: &plan,
            settings: &settings,
            anonymous: true,
            blocked: &blocked,
        };
        sales.create(&new, &Actor::admin()).await.unwrap()
    };
    assert!(create("spring").await);
    assert!(!create("spring").await);
    assert!(create("summer").await);
    // The key is on what the ids begin with.
    let client = connect::postgres_single(&url).await.unwrap();
    let query = "SELECT substring(sha256(id::bytea) FOR 6) FROM sales WHERE id = 'spring'";
    let prefix: Vec<u8> = client.query_one(query, &[]).await.unwrap().get(0);
    assert_eq!(GrantKey { seq: 7, turn: 0 }.grant_id(&sale()).as_bytes()[..6], prefix);
    // Nobody finds two ids alike in 48 bits for a test: here all are alike.
    let alike = "DELETE FROM seats; DELETE FROM sales; DROP INDEX sales_by_grant_prefix; \
                 CREATE UNIQUE INDEX ON sales (substring(sha256(id::bytea) FOR 0))";
    client.batch_execute(alike).await.unwrap();
    assert!(create("spring").await);
    assert!(!create("summer").await);
}

/// Statistics know the sales of yesterday, not the one that sells.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_sale_is_planned_for_like_an_old_one() {
    let url = database().await;
    migrations::run(&url).await.unwrap();
    let client = connect::postgres_single(&url).await.unwrap();
    let fill = "SET session_replication_role = replica; \
                INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats, nth) \
                SELECT gen_random_uuid(), 'old-' || i / 500, gen_random_uuid(), 'v' || i % 500, 'confirmed', \
                ARRAY['seat-' || i % 500], 0 FROM generate_series(0, 9999) AS i; \
                INSERT INTO booked_seats SELECT sale_id, seats[1], id FROM bookings; ANALYZE";
    client.batch_execute(fill).await.unwrap();
    let plan = async |query: &str| {
        let rows = client.query(&format!("EXPLAIN {query}"), &[]).await.unwrap();
        rows.iter().map(|row| row.get::<_, &str>(0).trim().to_owned()).collect::<Vec<_>>().join("\n")
    };
    let queries = [
        (
            "seat_id",
            "SELECT FROM booked_seats WHERE sale_id = 'new' AND seat_id = ANY ('{seat-1,seat-2,seat-3}')",
        ),
        (
            "visitor_id",
            "SELECT seats FROM bookings WHERE sale_id = 'new' AND visitor_id = ANY ('{v1,v2,v3}')",
        ),
    ];
    for (column, query) in queries {
        let plan = plan(query).await;
        let condition = plan.lines().find(|line| line.contains("Index Cond")).unwrap_or_default();
        assert!(condition.contains(column), "{plan}");
    }
    // The guard itself: with statistics all rows of the new sale would be read.
    let learn = "ALTER TABLE booked_seats ALTER COLUMN sale_id SET STATISTICS -1; \
                 ALTER TABLE bookings ALTER COLUMN sale_id SET STATISTICS -1; ANALYZE";
    client.batch_execute(learn).await.unwrap();
    for (column, query) in queries {
        let plan = plan(query).await;
        assert!(plan.lines().all(|line| !line.contains("Index Cond") || !line.contains(column)), "{plan}");
    }
}
