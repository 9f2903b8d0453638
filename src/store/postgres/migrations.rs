//! Brings the schema up to date. Any number of instances may start at once: one migrates, the others wait and
//! then find nothing left to do.

use super::{
    beside::{self, Misfit},
    connect::postgres_single,
};
use crate::store::errors::{ConnectError, detail};
use refinery_core::{Migration, Runner, Target};
use rust_embed::RustEmbed;
use std::time::Duration;
use tokio::time::sleep;
use tokio_postgres::{Client, error::SqlState};

#[derive(RustEmbed)]
#[folder = "migrations/"]
struct Files;

/// The advisory lock that says "someone migrates"; refinery takes none of its own. ASCII "waitroom".
const LOCK: i64 = 0x7761_6974_726f_6f6d;

/// How long a migration waits for a table while bookings wait behind it, how often it tries, and after which pause.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_TRIES: u32 = 30;
const LOCK_PAUSE: Duration = Duration::from_secs(1);

/// Why the schema is not up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A statement beside the migrations failed.
    #[error("PostgreSQL: {}", detail(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// A migration failed, or the database holds one that this program does not know.
    #[error("the schema could not be brought up to date: {}", migration_detail(.0))]
    Migration(#[from] refinery_core::Error),
    /// This program and the schema, or a program that runs on it, do not go together. Nothing was changed.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// What is to be done, and may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The version that the database has; 0 before the first migration.
    pub version: i32,
    /// The migrations that are missing, by name, in order.
    pub missing: Vec<String>,
}

/// Runs what is missing and returns the schema's version.
pub async fn run(postgres_url: &str) -> Result<i32, MigrateError> {
    migrate(postgres_url, all()).await
}

/// The same, but no further than to `version`: to see what a migration does to what an older program wrote.
pub async fn run_up_to(postgres_url: &str, version: i32) -> Result<i32, MigrateError> {
    migrate(postgres_url, all().into_iter().filter(|migration| migration.version() <= version).collect())
        .await
}

/// The same with one more, as a later release brings it: to see what it does to this one.
pub async fn run_with(postgres_url: &str, name: &str, sql: &str) -> Result<i32, MigrateError> {
    let more = Migration::unapplied(name, sql)?;
    migrate(postgres_url, all().into_iter().chain([more]).collect()).await
}

/// What `run` would do, and whether it may. Touches nothing.
pub async fn look(postgres_url: &str) -> Result<Outlook, MigrateError> {
    let client = postgres_single(postgres_url).await?;
    let (version, all) = (current_version(&client).await?.unwrap_or(0), all());
    let missing = missing(&all, version);
    let misfit = beside::check(&client, &missing).await?;
    misfit.map_or(
        Ok(Outlook { version, missing: missing.iter().map(ToString::to_string).collect() }),
        |misfit| Err(misfit.into()),
    )
}

fn missing(all: &[Migration], version: i32) -> Vec<&Migration> {
    all.iter().filter(|migration| migration.version() > version).collect()
}

async fn migrate(postgres_url: &str, all: Vec<Migration>) -> Result<i32, MigrateError> {
    // A connection of its own: the lock belongs to it, so a process that dies here gives the lock back.
    let mut client = postgres_single(postgres_url).await?;
    // A migration of a big table, or the wait for another instance's, takes as long as it takes.
    client.batch_execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await?;
    let missing = missing(&all, current_version(&client).await?.unwrap_or(0));
    if let Some(misfit) = beside::check(&client, &missing).await? {
        return Err(misfit.into());
    }
    // Whoever wants a table for himself makes all wait that come after him, so he must not wait long.
    client.batch_execute(&format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
    // A schema that is newer than this program is no fault: in a rolling deploy the old instances may restart.
    let runner = Runner::new(&all).set_abort_missing(false).set_target(Target::Latest);
    let mut tries = 1;
    let outcome = loop {
        match runner.run_async(&mut client).await {
            // Each migration is a transaction of its own, so this goes on where it stopped.
            Err(error) if is_lock_timeout(&error) && tries < LOCK_TRIES => {
                tracing::info!("a migration waits for its lock: {error}");
                tries += 1;
                sleep(LOCK_PAUSE).await;
            }
            outcome => break outcome,
        }
    };
    // Best effort: closing the connection gives it back as well.
    let _ = client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await;
    outcome?;
    Ok(current_version(&client).await?.unwrap_or(0))
}

fn is_lock_timeout(error: &refinery_core::Error) -> bool {
    postgres_cause(error).is_some_and(|error| error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE))
}

fn migration_detail(error: &refinery_core::Error) -> String {
    postgres_cause(error).map_or_else(|| error.to_string(), |cause| format!("{error}: {}", detail(cause)))
}

fn postgres_cause(error: &refinery_core::Error) -> Option<&tokio_postgres::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<tokio_postgres::Error>() {
            return Some(error);
        }
        cause = error.source();
    }
    None
}

/// The version that the database has; `None` before the first migration.
pub async fn current_version(client: &Client) -> Result<Option<i32>, tokio_postgres::Error> {
    match client.query_one("SELECT max(version) FROM refinery_schema_history", &[]).await {
        Ok(row) => row.try_get(0),
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The version that this program wants.
pub fn wanted_version() -> i32 {
    all().iter().map(Migration::version).max().unwrap_or(0)
}

/// The migrations that this program knows, in order.
pub(super) fn all() -> Vec<Migration> {
    let mut all: Vec<Migration> = Files::iter().filter_map(|name| migration(&name)).collect();
    all.sort();
    all
}

/// The migration in that file, if it is one.
fn migration(name: &str) -> Option<Migration> {
    let stem = name.strip_suffix(".sql")?;
    let sql = Files::get(name)?.data;
    Migration::unapplied(stem, str::from_utf8(&sql).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_migration_each_with_the_next_version() {
        let files = Files::iter().filter(|name| name.ends_with(".sql")).count();
        let versions: Vec<i32> = all().iter().map(Migration::version).collect();
        assert_eq!(versions, (1..=i32::try_from(files).unwrap()).collect::<Vec<_>>());
        assert!(migration("V1.sql").is_none() && migration("README.md").is_none());
    }
}
