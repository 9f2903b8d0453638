//! The SQL of all ways, prepared once a connection.

use tokio_postgres::{Client, Error, Statement};

const BOOKING: &str = "sale_id, status, hold_expires_at, id, grant_id, visitor_id, seats, together, nth";
const SEAT: &str = "sale_id, seat_id, booking_id";
/// A statement of PostgreSQL takes 65,535 parameters: a batch of 10,000 takes ten of these.
pub const VALUES_MAX: usize = 1_000;
const OR_NOT: &str = "ON CONFLICT DO NOTHING";

/// A statement for each of the two tables.
pub struct Pair {
    pub bookings: Statement,
    pub seats: Statement,
}

pub struct Statements {
    pub row: Pair,
    pub row_or_not: Pair,
    /// 1, 10, 100 and 1,000 bookings.
    pub values: [Pair; 4],
    pub unnest: Pair,
    pub unnest_or_not: Pair,
    pub unnest_at_once: Statement,
    pub copy_text: Pair,
    pub copy_binary: Pair,
    pub copy_staging: Pair,
    pub from_staging: Pair,
    /// Takes back the bookings, and seats, of those who did not get all.
    pub take_back: Pair,
}

impl Statements {
    pub async fn prepare(client: &Client) -> Result<Self, Error> {
        client
            .batch_execute(
                "CREATE TEMP TABLE staged_bookings (LIKE bookings INCLUDING DEFAULTS) ON COMMIT DELETE ROWS;
                 CREATE TEMP TABLE staged_seats (LIKE booked_seats) ON COMMIT DELETE ROWS",
            )
            .await?;
        let copy = async |bookings: &str, seats: &str, end: &str| {
            let bookings = format!("COPY {bookings} ({BOOKING}) FROM STDIN {end}");
            pair(client, &bookings, &format!("COPY {seats} ({SEAT}) FROM STDIN {end}")).await
        };
        Ok(Self {
            row: values(client, 1, 1, "").await?,
            row_or_not: values(client, 1, 1, OR_NOT).await?,
            values: [
                values(client, 1, 2, "").await?,
                values(client, 10, 20, "").await?,
                values(client, 100, 200, "").await?,
                values(client, VALUES_MAX, 2 * VALUES_MAX, "").await?,
            ],
            unnest: pair(client, &unnest_bookings(""), &unnest_seats("$1, $2, $3", "")).await?,
            unnest_or_not: {
                let bookings = unnest_bookings(&format!("{OR_NOT} RETURNING id"));
                let seats = unnest_seats("$1, $2, $3", &format!("{OR_NOT} RETURNING booking_id"));
                pair(client, &bookings, &seats).await?
            },
            unnest_at_once: {
                let (bookings, seats) = (unnest_bookings(""), unnest_seats("$1, $10, $11", ""));
                client.prepare(&format!("WITH b AS ({bookings}) {seats}")).await?
            },
            copy_text: copy("bookings", "booked_seats", "").await?,
            copy_binary: copy("bookings", "booked_seats", "BINARY").await?,
            copy_staging: copy("staged_bookings", "staged_seats", "BINARY").await?,
            from_staging: pair(
                client,
                &format!(
                    "INSERT INTO bookings ({BOOKING}) SELECT {BOOKING} FROM staged_bookings {OR_NOT} RETURNING id"
                ),
                &format!(
                    "INSERT INTO booked_seats ({SEAT}) SELECT {SEAT} FROM staged_seats {OR_NOT} RETURNING booking_id"
                ),
            )
            .await?,
            take_back: pair(
                client,
                "DELETE FROM bookings WHERE id = ANY($1)",
                "DELETE FROM booked_seats WHERE booking_id = ANY($1)",
            )
            .await?,
        })
    }
}

async fn pair(client: &Client, bookings: &str, seats: &str) -> Result<Pair, Error> {
    Ok(Pair { bookings: client.prepare(bookings).await?, seats: client.prepare(seats).await? })
}

/// Rows of parameters. Sale, status and end of the hold are the same for all bookings, and given once.
async fn values(client: &Client, bookings: usize, seats: usize, end: &str) -> Result<Pair, Error> {
    let rows = |rows: usize, shared: usize, own: usize| {
        let numbers = |from: usize, count: usize| (from..from + count).map(|n| format!("${n}"));
        let row = |i: usize| {
            let all: Vec<_> = numbers(1, shared).chain(numbers(1 + shared + i * own, own)).collect();
            format!("({})", all.join(", "))
        };
        (0..rows).map(row).collect::<Vec<_>>().join(", ")
    };
    let bookings = format!("INSERT INTO bookings ({BOOKING}) VALUES {} {end}", rows(bookings, 3, 6));
    let seats = format!("INSERT INTO booked_seats ({SEAT}) VALUES {} {end}", rows(seats, 1, 2));
    pair(client, &bookings, &seats).await
}

/// An array of arrays of different lengths does not exist: each booking's seats go as the text of an array.
fn unnest_bookings(end: &str) -> String {
    format!(
        "INSERT INTO bookings ({BOOKING}) SELECT $1, $2, $3, i, g, v, s::text[], t, n \
         FROM unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::bool[], $9::int[]) AS r (i, g, v, s, t, n) {end}"
    )
}

fn unnest_seats(parameters: &str, end: &str) -> String {
    let mut parameters = parameters.split(", ");
    let mut next = || parameters.next().unwrap();
    let (sale, seats, bookings) = (next(), next(), next());
    format!(
        "INSERT INTO booked_seats ({SEAT}) SELECT {sale}, s, b FROM unnest({seats}::text[], {bookings}::uuid[]) AS r (s, b) {end}"
    )
}
