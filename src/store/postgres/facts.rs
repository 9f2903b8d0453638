//! What a PostgreSQL is, and whether it keeps what it confirmed.

use super::migrations::{current_version, wanted_version};
use crate::store::errors::{Danger, detail};
use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage, error::SqlState};

/// A table that someone else keeps for longer than this cannot be written now. The connection that waits for it is one that
/// bookings might want.
const PROOF_LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// What is wrong with a pooler that lends out sessions, and what to do.
pub const POOLED: &str = "a pooler in transaction or statement mode (PgBouncer) is between this program and PostgreSQL: its \
                          sessions lose their settings, locks and statements; use session mode, or go to PostgreSQL directly";

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
    /// The role, the database or the URL's options make sessions that may only read.
    pub read_only: bool,
    /// The schema that tables are made in; none if the search path names none that is there.
    pub schema: Option<String>,
    /// Tables may be made in it.
    pub may_create: bool,
    /// The version of the tables; none before the first migration.
    pub tables: Option<i32>,
    /// What it says to a booking of nothing, if it refuses it.
    pub refuses: Option<String>,
    /// A pooler in between gives a session another server's process with each transaction.
    pub is_pooled_by_transaction: bool,
}

/// Refusals that no waiting mends.
const REFUSALS: [SqlState; 2] = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::UNDEFINED_TABLE];

impl PostgresFacts {
    /// Asks the server, over two connections: one alone cannot tell whether it is a server's own.
    pub async fn read(client: &Client, other: &Client) -> Result<Self, tokio_postgres::Error> {
        let is_pooled_by_transaction = is_pooled_by_transaction(client, other).await?;
        if is_pooled_by_transaction {
            let version = word(client, "SHOW server_version").await?.unwrap_or_default();
            return Ok(Self { version, is_pooled_by_transaction, ..Self::default() });
        }
        let text = "SELECT current_setting('server_version'), current_setting('max_connections')::int, \
                    current_setting('superuser_reserved_connections')::int, current_setting('fsync'), \
                    current_setting('synchronous_commit'), current_setting('full_page_writes'), pg_is_in_recovery(), \
                    current_setting('transaction_read_only')::bool, current_schema()::text, \
                    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
        let row = client.query_one(text, &[]).await?;
        let count = |index| row.try_get::<_, i32>(index).map(|count| u32::try_from(count).unwrap_or(0));
        let mut facts = Self {
            version: row.try_get(0)?,
            max_connections: count(1)?,
            reserved_connections: count(2)?,
            fsync: row.try_get(3)?,
            synchronous_commit: row.try_get(4)?,
            full_page_writes: row.try_get(5)?,
            in_recovery: row.try_get(6)?,
            read_only: row.try_get(7)?,
            schema: row.try_get(8)?,
            may_create: row.try_get(9)?,
            ..Self::default()
        };
        let lasts = |error: &tokio_postgres::Error| error.code().is_some_and(|code| REFUSALS.contains(code));
        let refusal = match current_version(client).await {
            Ok(tables) => {
                facts.tables = tables;
                let asks = tables.is_some() && !facts.read_only;
                if asks { takes_bookings(client).await.err().filter(lasts) } else { None }
            }
            Err(error) if lasts(&error) => Some(error),
            Err(error) => return Err(error),
        };
        facts.refuses = refusal.map(|error| detail(&error));
        Ok(facts)
    }

    /// Why a sale must not run on this server, and what to do; `None` if it may. `allow_data_loss` is the operator's word
    /// that lost bookings are acceptable, nothing else overrules.
    pub fn danger(&self, pool: u16, allow_data_loss: bool) -> Option<Danger> {
        let free = self.max_connections.saturating_sub(self.reserved_connections);
        self.unusable().or_else(|| {
            let is_small = free < u32::from(pool);
            let small = || format!("wants {pool} connections, and PostgreSQL gives {free}: lower it, or raise max_connections");
            is_small.then(|| Danger { key: "postgres_pool", problem: small() })
        }).or_else(|| if allow_data_loss { None } else { self.loses() })
    }

    /// Why nothing can be written here, be it a booking or a table.
    pub fn unusable(&self) -> Option<Danger> {
        let (wants, has) = (wanted_version(), self.tables.unwrap_or(0));
        let problem = if self.is_pooled_by_transaction {
            POOLED.to_owned()
        } else if self.in_recovery {
            "this PostgreSQL is a standby that cannot be written; point postgres_url at the primary"
                .to_owned()
        } else if self.read_only {
            "sessions may only read (default_transaction_read_only of the server, the database, the role or the URL's \
             options): switch it off"
                .to_owned()
        } else if self.schema.is_none() {
            "the search_path names no schema that is there and that this user may use: create it, or correct the path"
                .to_owned()
        } else if let Some(refusal) = &self.refuses {
            format!(
                "the tables cannot be used ({refusal}): restore them, give this user the rights, or use their owner"
            )
        } else if has < wants && !self.may_create {
            format!(
                "the tables are at version {has}, {wants} is wanted, and this user may create none: run `waitroom migrate` as one who may"
            )
        } else {
            return None;
        };
        Some(Danger { key: "postgres_url", problem })
    }

    fn loses(&self) -> Option<Danger> {
        let settings = [("fsync", &self.fsync), ("synchronous_commit", &self.synchronous_commit)];
        let (name, _) = settings.into_iter().find(|(_, value)| *value == "off")?;
        let problem = format!(
            "PostgreSQL has {name} off, so that a crash loses bookings that were answered: set it to on, or set \
             allow_data_loss to run on it all the same"
        );
        Some(Danger { key: "postgres_url", problem })
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

/// One word of an answer, asked for in the simple protocol: statements are what a pooler loses.
async fn word(client: &Client, query: &str) -> Result<Option<String>, tokio_postgres::Error> {
    let answer = client.simple_query(query).await?;
    Ok(answer.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

/// A session's process stays the same, unless a pooler lends it out: then another session's transaction takes it.
pub async fn is_pooled_by_transaction(
    client: &Client,
    other: &Client,
) -> Result<bool, tokio_postgres::Error> {
    const PROCESS: &str = "SELECT pg_backend_pid()";
    let before = word(client, PROCESS).await?;
    match other.simple_query("BEGIN").await {
        // In statement mode a pooler knows no transactions.
        Err(error) if error.as_db_error().is_some() => return Ok(true),
        begun => begun?,
    };
    other.simple_query(PROCESS).await?;
    let after = word(client, PROCESS).await;
    other.simple_query("ROLLBACK").await?;
    Ok(before != after?)
}
