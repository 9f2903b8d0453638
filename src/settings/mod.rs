//! Every setting: one struct a component. A setting has one name: `--redis-url`, `WAITROOM_REDIS_URL`, and
//! `redis_url` in the TOML file. [`layers`] puts those in order; the `…Args` structs here are what clap reads,
//! and `resolve` makes of each the struct that the component gets: complete, checked, with secrets read.

mod admin;
mod http;
mod keys;
pub mod layers;
mod redis;
mod secrets;
pub mod values;

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

pub use admin::{AdminArgs, AdminSettings, NamedToken, Role, RoleArgs};
pub use http::{HttpSettings, StrangerSettings, TlsArgs, TlsSettings};
pub use keys::{IdentityArgs, KeyArgs, KeySettings};
pub use redis::{RedisArgs, RedisSettings, RedisTls, RedisUrl};
use secrets::secret;
pub use values::{Cidr, IdentityKey, KEY_BYTES, ProofOfWork, Secret, SecretUrl, SigningKey};

/// Why the program cannot start with what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Not a command line of this program, or a call for help.
    #[error("{0}")]
    Usage(#[from] Box<clap::Error>),
    /// A setting that is unknown, missing, malformed, out of range or dangerous.
    #[error("{key}: {problem}")]
    Refused {
        /// The setting's name as in the file.
        key: String,
        /// What is wrong and what to do. Never a secret's value.
        problem: String,
    },
    /// A file that a setting names cannot be read.
    #[error("{key}: cannot read {}: {source}", .path.display())]
    File {
        /// The setting that names the file.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// A refusal of `key`.
pub(crate) fn refused(key: impl Into<String>, problem: impl Into<String>) -> SettingsError {
    SettingsError::Refused { key: key.into(), problem: problem.into() }
}

/// The bookings' PostgreSQL, as clap reads it.
#[derive(Debug, Clone, Args)]
pub struct PostgresArgs {
    /// The bookings' PostgreSQL: postgres://user@host/database
    #[arg(long, value_name = "URL")]
    pub postgres_url: Option<SecretUrl>,
    /// A file with the PostgreSQL URL
    #[arg(long, value_name = "FILE")]
    pub postgres_url_file: Option<PathBuf>,
    /// Connections to PostgreSQL at most; all instances' together must stay below its max_connections
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = value_parser!(u16).range(2..=100))]
    pub postgres_pool: u16,
}

/// The bookings' PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// Where it is.
    pub postgres_url: SecretUrl,
    /// Connections at most.
    pub postgres_pool: u16,
}

impl PostgresArgs {
    /// The URL, where one was given.
    pub fn url(&self) -> Result<Option<SecretUrl>, SettingsError> {
        let url = secret("postgres_url", self.postgres_url.as_ref(), self.postgres_url_file.as_deref())?;
        let is_one = |url: &SecretUrl| {
            ["postgres://", "postgresql://"].iter().any(|scheme| url.expose().starts_with(scheme))
        };
        if url.as_ref().is_some_and(|url| !is_one(url)) {
            return Err(refused(
                "postgres_url",
                "give postgres://user@host/database (or postgres:///database?host=/folder)",
            ));
        }
        Ok(url)
    }

    /// The complete settings; the URL is required.
    pub fn resolve(&self) -> Result<PostgresSettings, SettingsError> {
        let postgres_url = self.url()?.ok_or_else(|| missing("postgres_url"))?;
        Ok(PostgresSettings { postgres_url, postgres_pool: self.postgres_pool })
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for collectors.
    Json,
}

/// What is logged, to standard error.
#[derive(Debug, Clone, Args)]
pub struct LogSettings {
    /// What to log: a level, or a filter such as `info,waitroom::room=debug`
    #[arg(long, value_name = "FILTER", default_value = "info", value_parser = values::log_filter)]
    pub log: String,
    /// How a log line looks
    #[arg(long, value_name = "FORMAT", default_value = "text", value_enum)]
    pub log_format: LogFormat,
}

/// Where `demo` keeps everything.
#[derive(Debug, Clone, Args)]
pub struct DataArgs {
    /// The folder for both databases, the keys and the admin token
    #[arg(long, value_name = "FOLDER", default_value = "waitroom-data")]
    pub data_dir: PathBuf,
}

/// All that `serve` reads.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub http: HttpSettings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tls: TlsArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub strangers: StrangerSettings,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub admin: AdminArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub roles: RoleArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub redis: RedisArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub postgres: PostgresArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub keys: KeyArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub log: LogSettings,
}

/// All that the server needs, complete and checked.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// What visitors connect to.
    pub http: HttpSettings,
    /// The visitors' TLS, unless it ends elsewhere.
    pub tls: Option<TlsSettings>,
    /// What those may do who prove nothing of themselves.
    pub strangers: StrangerSettings,
    /// What the operator connects to.
    pub admin: AdminSettings,
    /// Who else may use the admin API, and for what.
    pub admin_tokens: Vec<NamedToken>,
    /// The line's Redis.
    pub redis: RedisSettings,
    /// The bookings' PostgreSQL.
    pub postgres: PostgresSettings,
    /// The keys of the tokens.
    pub keys: KeySettings,
    /// What is logged.
    pub log: LogSettings,
}

impl ServeArgs {
    /// The complete settings, or the first fault.
    pub fn resolve(&self) -> Result<ServeSettings, SettingsError> {
        self.check_addresses()?;
        let (redis, postgres) = (self.redis.resolve()?, self.postgres.resolve()?);
        let admin = self.admin.of_server()?;
        Ok(ServeSettings {
            redis,
            postgres,
            admin_tokens: self.roles.resolve(&admin.admin_token)?,
            admin,
            keys: self.keys.resolve()?,
            tls: self.tls.resolve()?,
            strangers: self.strangers.clone(),
            http: self.http.clone(),
            log: self.log.clone(),
        })
    }

    /// The two listeners cannot have the same address, nor one that includes the other's.
    pub fn check_addresses(&self) -> Result<(), SettingsError> {
        let (public, admin) = (self.http.listen, self.admin.admin_listen);
        let everywhere = public.ip().is_unspecified() || admin.ip().is_unspecified();
        if public.port() == 0 || public.port() != admin.port() || (public.ip() != admin.ip() && !everywhere) {
            return Ok(());
        }
        Err(refused(
            "admin_listen",
            format!("{admin} is the address of listen ({public}) too; give another port"),
        ))
    }
}

/// A certificate and its key: both, or neither.
fn pair(
    (cert, cert_file): (&str, Option<&PathBuf>),
    (key, key_file): (&str, Option<&PathBuf>),
) -> Result<Option<(PathBuf, PathBuf)>, SettingsError> {
    let alone = |given: &str, other: &str| {
        refused(other, format!("is missing; {given} is given, and a certificate needs its key"))
    };
    match (cert_file, key_file) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some((cert.clone(), key.clone()))),
        (Some(_), None) => Err(alone(cert, key)),
        (None, Some(_)) => Err(alone(key, cert)),
    }
}

/// A refusal because `key` was not given.
pub(crate) fn missing(key: &str) -> SettingsError {
    let flag = key.replace('_', "-");
    let variable = layers::variable(key);
    refused(key, format!("is missing; give --{flag}, {variable}, {key} in the --config file, or {key}_file"))
}

#[cfg(test)]
mod tests;
