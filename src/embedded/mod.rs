//! A Redis and a PostgreSQL of our own, from the machine's packages, on private sockets under one folder: what
//! `demo` and the tests run on. They keep what production would keep (AOF on every write, fsync on), they end
//! with this process however it ends, and what a killed run left behind is cleared before the next one starts.

pub mod folder;
pub mod postgres;
mod postgres_programs;
pub mod process;
pub mod redis;

use std::io;
use std::path::{Path, PathBuf};

pub use postgres::Postgres;
pub use redis::Redis;

/// Why the servers do not run.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A program is not installed.
    #[error("{program} is not installed: run `apt-get install {package}`")]
    Missing {
        /// What was looked for.
        program: String,
        /// The Debian package that has it.
        package: String,
    },
    /// Someone else runs on the folder.
    #[error("data_dir: {} is in use by another running waitroom; stop it or choose another --data-dir", .0.display())]
    Busy(PathBuf),
    /// The folder cannot serve.
    #[error("data_dir: {} {problem}", .folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why, and what to do.
        problem: String,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {what} {}: {source}", .path.display())]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A server ended or hung instead of starting.
    #[error("{server} did not start: {problem}\n{log}")]
    Failed {
        /// Which.
        server: &'static str,
        /// What happened.
        problem: String,
        /// The end of its log.
        log: String,
    },
}

impl EmbeddedError {
    /// For `map_err`: names what was tried on which path.
    fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { what, path, source }
    }
}

/// Both servers. Dropping it stops them.
#[derive(Debug)]
pub struct Embedded {
    /// The line's.
    pub redis: Redis,
    /// The bookings'.
    pub postgres: Postgres,
}

impl Embedded {
    /// Starts both under `data_dir`, with the data of the last run if there was one. Blocks until both answer.
    pub fn start(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let data_dir = folder::prepare(data_dir)?;
        folder::check_ours(&data_dir)?;
        // Side by side: the first initdb takes most of a second.
        std::thread::scope(|scope| {
            let redis = scope.spawn(|| Redis::start_at(&data_dir.join("redis")));
            let postgres = Postgres::start_at(&data_dir.join("postgres"))?;
            let redis = redis.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok(Self { redis, postgres })
        })
    }

    /// `redis+unix://…`
    pub fn redis_url(&self) -> String {
        self.redis.url()
    }

    /// `postgres://…`
    pub fn postgres_url(&self) -> String {
        self.postgres.url()
    }

    /// Stops both, with everything written. The same as dropping, but says what it does.
    pub fn stop(self) {
        // Both at once: each takes a moment.
        self.redis.ask_to_stop();
        drop(self);
    }
}
