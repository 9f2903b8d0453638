//! Whether something could be booked now: what PostgreSQL is asked again and again.

use super::Sales;
use crate::{
    metrics,
    store::{
        errors::{Store, StoreError},
        postgres::facts::{is_pooled_by_transaction, takes_bookings},
    },
};
use deadpool_postgres::{Object, PoolError, TimeoutType, Timeouts};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

/// An answer that takes longer proves nothing.
const PROOF_TIMEOUT: Duration = Duration::from_millis(1_500);
/// How long it is believed that sessions are a server's own: to ask takes two of them.
const SESSIONS_FOR: Duration = Duration::from_secs(5);

/// What was found before.
#[derive(Default)]
pub(super) struct Proof {
    /// When PostgreSQL was last found to take no writes: connections of before are of no use.
    read_only: Mutex<Option<Instant>>,
    /// When sessions were last found to be a server's own.
    sessions: Mutex<Option<Instant>>,
}

impl Sales {
    /// Whether something could be booked now: see [`takes_bookings`].
    pub async fn prove(&self) -> Result<(), StoreError> {
        self.prove_sessions().await?;
        let wait = metrics::postgres_pool_wait();
        let client = self.pool.get().await?;
        drop(wait);
        let _wait = metrics::postgres_probe();
        let Ok(answer) = timeout(PROOF_TIMEOUT, takes_bookings(&client)).await else {
            // Whoever gets this connection next would wait behind a question that nobody answers.
            drop(Object::take(client));
            return Err(StoreError::Timeout(Store::Postgres));
        };
        if matches!(&answer, Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)) {
            *lock(&self.proof.read_only) = Some(Instant::now());
            // The next proof asks whatever is behind the address then.
            drop(Object::take(client));
            self.pool.retain(|_, _| false);
            return Err(StoreError::ReadOnly);
        }
        answer?;
        // Those that were in use then come back to the pool later.
        if let Some(at) = *lock(&self.proof.read_only) {
            self.pool.retain(|_, metrics| metrics.created > at);
        }
        Ok(())
    }

    /// A pooler may be set anew while this program runs.
    async fn prove_sessions(&self) -> Result<(), StoreError> {
        if lock(&self.proof.sessions).is_some_and(|at| at.elapsed() < SESSIONS_FOR) {
            return Ok(());
        }
        let client = self.pool.get().await?;
        let at_once = Timeouts { wait: Some(Duration::ZERO), ..self.pool.timeouts() };
        let other = match self.pool.timeout_get(&at_once).await {
            // All are in use: bookings go first.
            Err(PoolError::Timeout(TimeoutType::Wait)) => return Ok(()),
            other => other?,
        };
        let is_pooled = timeout(PROOF_TIMEOUT, is_pooled_by_transaction(&client, &other)).await;
        if matches!(is_pooled, Ok(Ok(false))) {
            *lock(&self.proof.sessions) = Some(Instant::now());
            return Ok(());
        }
        // In the midst of a transaction or of a question that nobody answers, or with statements on other servers' sessions.
        drop((Object::take(client), Object::take(other)));
        is_pooled.map_err(|_| StoreError::Timeout(Store::Postgres))??;
        self.pool.retain(|_, _| false);
        Err(StoreError::Pooled)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
