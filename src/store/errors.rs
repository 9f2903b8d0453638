//! What can go wrong with the stores. A caller mostly asks one thing: is it worth another try?

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis refused or is away.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// PostgreSQL refused or is away.
    #[error("PostgreSQL: {0}")]
    Postgres(#[from] tokio_postgres::Error),
    /// No connection to PostgreSQL could be had in time.
    #[error("PostgreSQL: no connection: {0}")]
    Pool(#[from] deadpool_postgres::PoolError),
    /// No connection to Redis could be had in time.
    #[error("Redis: no connection: {0}")]
    RedisPool(#[from] deadpool_redis::PoolError),
    /// A URL cannot be used.
    #[error(transparent)]
    Connect(#[from] super::connect::ConnectError),
    /// What is stored is not what was written: a foreign hand, or a bug.
    #[error("stored data is not understood: {0}")]
    Corrupt(String),
    /// PostgreSQL takes no writes.
    #[error("PostgreSQL is read-only; is it a standby?")]
    ReadOnly,
    /// The answer did not come in time.
    #[error("{0} did not answer in time")]
    Timeout(&'static str),
}

impl StoreError {
    /// Whether Redis says that it has no life of this sale.
    pub fn is_missing_line(&self) -> bool {
        matches!(self, Self::Redis(e) if e.code() == Some("MISSING"))
    }
}
