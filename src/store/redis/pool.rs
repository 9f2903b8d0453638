//! Connections for long reads. Those of a server that is not the primary any more are not used again.

use super::link::Tenure;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Connections for long reads; cheap to clone.
#[derive(Clone)]
pub struct ReadPool {
    pool: deadpool_redis::Pool,
    tenure: Tenure,
    /// The tenure of the connections in the pool.
    of: Arc<AtomicU64>,
}

impl ReadPool {
    pub(super) fn new(pool: deadpool_redis::Pool, tenure: Tenure) -> Self {
        let of = Arc::new(AtomicU64::new(tenure.now()));
        Self { pool, tenure, of }
    }

    /// A connection, for as long as it is held.
    pub async fn get(&self) -> Result<deadpool_redis::Connection, deadpool_redis::PoolError> {
        let now = self.tenure.now();
        if self.of.swap(now, Ordering::AcqRel) != now {
            self.pool.retain(|_, _| false);
        }
        self.pool.get().await
    }
}
