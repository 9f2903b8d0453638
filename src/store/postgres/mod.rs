//! PostgreSQL: connections, what the server is, and the schema.

mod beside;
pub mod connect;
pub(super) mod copy;
pub mod facts;
pub mod migrations;
pub mod tls;

use super::errors::{Store, StoreError};
use connect::STATEMENT_TIMEOUT;
use deadpool_postgres::{ClientWrapper, Object};
use std::{future::Future, time::Duration};
use tokio::time::timeout;

/// Connections to PostgreSQL; cheap to clone.
pub use deadpool_postgres::Pool;

/// A statement that may take as long as it takes.
pub(super) const NO_TIMEOUT: Duration = Duration::ZERO;

/// Longer than PostgreSQL lets a statement take.
pub const ANSWER_WITHIN: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(5));

/// What PostgreSQL answers in time. A server that hangs and holds its connections answers never, and new ones may reach another by
/// then: the pool begins anew.
pub(super) async fn within<T, E: From<StoreError>>(
    pool: &Pool,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match timeout(ANSWER_WITHIN, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            pool.retain(|_, _| false);
            Err(StoreError::Timeout(Store::Postgres).into())
        }
    }
}

/// A connection for a long read, each of whose statements may take so long. It is not the pool's any more: nobody waits for it.
pub(super) async fn long_reader(pool: &Pool, statement: Duration) -> Result<ClientWrapper, StoreError> {
    let client = Object::take(pool.get().await?);
    client.batch_execute(&format!("SET statement_timeout = {}", statement.as_millis())).await?;
    Ok(client)
}

/// PostgreSQL has no unsigned numbers.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    number.max(0).unsigned_abs()
}

/// How many connections the server gives, to all instances together.
pub async fn connections_max(pool: &Pool) -> Result<u64, StoreError> {
    let query = "SELECT current_setting('max_connections')::int - \
                 current_setting('superuser_reserved_connections')::int";
    let free: i32 = pool.get().await?.query_one(query, &[]).await?.get(0);
    Ok(u64::try_from(free).unwrap_or(0))
}
