//! What can go wrong with the stores. A caller mostly asks one thing: is it worth another try?

use super::postgres::{facts::POOLED, tls::TlsError};
use std::error::Error;
use tokio_postgres::error::SqlState;

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The line's.
    Redis,
    /// The bookings'.
    Postgres,
}

impl Store {
    /// Its name for people, and as a label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "Redis",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// Why a sale must not run on a store, as `serve` and `doctor` both judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Danger {
    /// The setting whose matter it is.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub problem: String,
}

impl std::fmt::Display for Danger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.problem)
    }
}

/// Why a URL could not be used. None of the messages carries a password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is no URL that this program understands.
    #[error("{key}: {problem}")]
    Url {
        /// The setting's name.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificates could not be set up.
    #[error("postgres_url: {0}")]
    Tls(#[from] TlsError),
    /// The pool could not be built.
    #[error("a pool could not be built: {0}")]
    Pool(#[from] deadpool_postgres::BuildError),
    /// The server did not answer, or refused.
    #[error("PostgreSQL cannot be reached: {}", detail(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// The server took the connection, and then said nothing.
    #[error("PostgreSQL does not answer")]
    Silent,
}

impl ConnectError {
    /// Whether PostgreSQL is there, and does not want what it is told: another try would end alike.
    pub fn is_refusal(&self) -> bool {
        let Self::Postgres(error) = self else { return false };
        let code = error.code().map(SqlState::code).unwrap_or_default();
        // Users and passwords, databases that are not there, parameters that a pooler does not know.
        code.starts_with("28") || ["3D000", "42501", "08P01"].contains(&code)
    }

    /// The same, with what to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Postgres(error) if error.code() == Some(&SqlState::PROTOCOL_VIOLATION) => {
                "a pooler must be in session mode, and ignore what it does not know: ignore_startup_parameters = options"
            }
            Self::Postgres(_) if self.is_refusal() => "look at user, password and database in postgres_url",
            _ => "is it running?",
        }
    }
}

/// A store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Redis refused or is away.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
    /// PostgreSQL refused or is away.
    #[error("PostgreSQL: {}", detail(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// No connection to PostgreSQL could be had in time.
    #[error("PostgreSQL: no connection: {}", pool_detail(.0))]
    Pool(#[from] deadpool_postgres::PoolError),
    /// No connection to Redis could be had in time.
    #[error("Redis: no connection: {0}")]
    RedisPool(#[from] deadpool_redis::PoolError),
    /// A URL cannot be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What is stored is not what was written: a foreign hand, or a bug.
    #[error("stored data is not understood: {0}")]
    Corrupt(String),
    /// A newer program wrote the line.
    #[error(
        "the line is written in format {format}, and this program knows {known} at most: run the newer program"
    )]
    TooNew {
        /// The line's.
        format: u64,
        /// Ours.
        known: u64,
    },
    /// Another process of Redis answers than the one that the line is known from: it must be taken over first.
    #[error("Redis is another process than before")]
    OtherProcess,
    /// This Redis has not the line, and a living instance has it in another.
    #[error(
        "this Redis has no line of the sale, and another instance serves it from elsewhere: give all instances the same Redis and \
         database as redis_url"
    )]
    Elsewhere,
    /// PostgreSQL takes no writes.
    #[error("PostgreSQL is read-only; is it a standby?")]
    ReadOnly,
    /// Sessions of PostgreSQL are not a server's own.
    #[error("{POOLED}")]
    Pooled,
    /// The answer did not come in time.
    #[error("{} did not answer in time", .0.name())]
    Timeout(Store),
}

impl StoreError {
    /// Which store could not be used; nothing where both could.
    pub fn store(&self) -> Option<Store> {
        match self {
            Self::Redis(_) | Self::RedisPool(_) | Self::OtherProcess | Self::Elsewhere => Some(Store::Redis),
            Self::Postgres(_) | Self::Pool(_) | Self::ReadOnly | Self::Pooled => Some(Store::Postgres),
            Self::Timeout(store) => Some(*store),
            Self::Connect(_) | Self::Corrupt(_) | Self::TooNew { .. } => None,
        }
    }

    /// Whether another try, on another connection or a moment later, may find what this one did not: a primary, or keys
    /// that are all in one place.
    pub fn may_pass(&self) -> bool {
        use redis::{ErrorKind::Server, ServerErrorKind as Kind};
        let Self::Redis(error) = self else { return false };
        let passing = matches!(error.kind(), Server(Kind::BusyLoading | Kind::MasterDown | Kind::ReadOnly));
        passing || error.is_io_error() || error.is_cluster_error() || error.code() == Some("NOREPLICAS")
    }

    /// Whether Redis says that it has no life of this sale.
    pub fn is_missing_line(&self) -> bool {
        matches!(self, Self::Redis(e) if e.code() == Some("MISSING"))
    }

    /// Whether the line is just being restored, after a loss.
    pub fn is_restoring(&self) -> bool {
        matches!(self, Self::Redis(e) if e.code() == Some("RESTORING"))
    }
}

/// PostgreSQL's own words: tokio-postgres says only "invalid configuration" or "db error" at the top, the reason is one
/// level down, and its SQLSTATE is what the manual explains.
pub(crate) fn detail(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{}: {} (SQLSTATE {})", db.severity(), db.message(), db.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

fn pool_detail(error: &deadpool_postgres::PoolError) -> String {
    match error {
        deadpool_postgres::PoolError::Backend(error) => detail(error),
        other => other.to_string(),
    }
}
