//! What a PostgreSQL is, and whether it keeps what it confirmed.

use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage};

/// A table that someone else keeps for longer than this cannot be written now. The connection that waits for it is one that
/// bookings might want.
const PROOF_LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// The facts of a PostgreSQL server that decide whether it keeps what it confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PostgresFacts {
    /// `server_version`, as it is.
    pub version: String,
    /// Connections of all clients together.
    pub max_connections: u32,
    /// Those of them that only superusers get.
    pub reserved_connections: u32,
    /// `on` or `off`.
    pub fsync: String,
    /// `off` confirms before it is on disk.
    pub synchronous_commit: String,
    /// `on` or `off`.
    pub full_page_writes: String,
    /// A standby: cannot be written.
    pub in_recovery: bool,
    /// A pooler in between gives a session another server's process with each transaction.
    pub is_pooled_by_transaction: bool,
}

impl PostgresFacts {
    /// Asks the server, over two connections: one alone cannot tell whether it is a server's own.
    pub async fn read(client: &Client, other: &Client) -> Result<Self, tokio_postgres::Error> {
        let is_pooled_by_transaction = is_pooled_by_transaction(client, other).await?;
        if is_pooled_by_transaction {
            return Ok(Self { is_pooled_by_transaction, ..Self::default() });
        }
        let text = "SELECT current_setting('server_version'), current_setting('max_connections')::int, \
                    current_setting('superuser_reserved_connections')::int, current_setting('fsync'), \
                    current_setting('synchronous_commit'), current_setting('full_page_writes'), pg_is_in_recovery()";
        let row = client.query_one(text, &[]).await?;
        let count = |index| row.try_get::<_, i32>(index).map(|count| u32::try_from(count).unwrap_or(0));
        Ok(Self {
            version: row.try_get(0)?,
            max_connections: count(1)?,
            reserved_connections: count(2)?,
            fsync: row.try_get(3)?,
            synchronous_commit: row.try_get(4)?,
            full_page_writes: row.try_get(5)?,
            in_recovery: row.try_get(6)?,
            is_pooled_by_transaction,
        })
    }

    /// Why a sale must not run on this server, and what to do; `None` if it may.
    pub fn danger(&self) -> Option<String> {
        if self.in_recovery {
            return Some(
                "this PostgreSQL is a standby that cannot be written; point postgres_url at the primary"
                    .into(),
            );
        }
        self.is_pooled_by_transaction.then(|| {
            "a pooler in transaction mode (PgBouncer) is between this server and PostgreSQL: its sessions lose their \
             settings and statements; use session mode, or connect to PostgreSQL itself"
                .into()
        })
    }
}

/// Books nothing, as bookings are written: an error unless both tables are there, free, and may be written. A standby, or a
/// session that may only read, says so by its SQLSTATE.
pub async fn takes_bookings(client: &Client) -> Result<(), tokio_postgres::Error> {
    let nothing = format!(
        "SET LOCAL lock_timeout = {}; \
         WITH booked AS (INSERT INTO bookings SELECT * FROM bookings WHERE false) \
         INSERT INTO booked_seats SELECT * FROM booked_seats WHERE false",
        PROOF_LOCK_TIMEOUT.as_millis()
    );
    client.batch_execute(&nothing).await
}

/// A session's process stays the same, unless a pooler lends it out: then another session's transaction takes it. Asked
/// in the simple protocol, for the other one's statements are what such a pooler loses.
async fn is_pooled_by_transaction(client: &Client, other: &Client) -> Result<bool, tokio_postgres::Error> {
    const PROCESS: &str = "SELECT pg_backend_pid()";
    let process = async || {
        let answer = client.simple_query(PROCESS).await?;
        let row = answer.into_iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok::<_, tokio_postgres::Error>(row)
    };
    let before = process().await?;
    other.simple_query("BEGIN").await?;
    other.simple_query(PROCESS).await?;
    let after = process().await;
    other.simple_query("ROLLBACK").await?;
    Ok(before != after?)
}
