//! The settings of the line's Redis.

use super::{SettingsError, missing, pair, refused, secrets::secret, values, values::SecretUrl};
use clap::{Args, builder::BoolishValueParser, value_parser};
use std::path::PathBuf;

/// Where the line's Redis is, as clap reads it.
#[derive(Debug, Clone, Args)]
pub struct RedisUrl {
    /// The line's Redis: redis://, rediss://, redis+unix:///path, redis-sentinel://host:port,host:port/master, redis-cluster://host:port,host:port
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<SecretUrl>,
    /// A file with the Redis URL
    #[arg(long, value_name = "FILE")]
    pub redis_url_file: Option<PathBuf>,
}

impl RedisUrl {
    /// The URL, where one was given.
    pub fn url(&self) -> Result<Option<SecretUrl>, SettingsError> {
        let url = secret("redis_url", self.redis_url.as_ref(), self.redis_url_file.as_deref())?;
        if let Some(url) = &url {
            values::redis_scheme(url.expose()).map_err(|why| refused("redis_url", why))?;
        }
        Ok(url)
    }
}

/// The line's Redis, as clap reads it.
#[derive(Debug, Clone, Args)]
pub struct RedisArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub url: RedisUrl,
    /// How many replicas must have a join before it is acknowledged
    #[arg(long, value_name = "COUNT", default_value = "0", value_parser = value_parser!(u32).range(0..=16))]
    pub redis_replicas: u32,
    /// Where nodes are reached that announce addresses which cannot be reached from here: announced=reachable, comma-separated
    #[arg(long, value_name = "PAIRS", value_delimiter = ',', value_parser = values::addresses)]
    pub redis_addresses: Vec<(String, String)>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub tls: RedisTls,
    /// Start although Redis or PostgreSQL does not keep what it confirms
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value = "false",
          default_missing_value = "true", value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub allow_data_loss: bool,
}

/// The line's Redis.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// Where it is.
    pub redis_url: SecretUrl,
    /// How many replicas must have a join before it is acknowledged.
    pub redis_replicas: u32,
    /// Where nodes are reached that announce addresses which cannot be reached from here: announced, reachable.
    pub redis_addresses: Vec<(String, String)>,
    /// Whose certificates are believed, and who we are.
    pub tls: RedisTls,
    /// Start although Redis or PostgreSQL does not keep what it confirms.
    pub allow_data_loss: bool,
}

impl RedisArgs {
    /// The complete settings; the URL is required.
    pub fn resolve(&self) -> Result<RedisSettings, SettingsError> {
        let redis_url = self.url.url()?.ok_or_else(|| missing("redis_url"))?;
        self.tls.check(&redis_url)?;
        Ok(RedisSettings {
            redis_url,
            redis_replicas: self.redis_replicas,
            redis_addresses: self.redis_addresses.clone(),
            tls: self.tls.clone(),
            allow_data_loss: self.allow_data_loss,
        })
    }
}

impl RedisSettings {
    /// Of a URL alone, with everything else as it is by default.
    pub fn at(redis_url: impl Into<SecretUrl>) -> Self {
        Self {
            redis_url: redis_url.into(),
            redis_replicas: 0,
            redis_addresses: Vec::new(),
            tls: RedisTls::default(),
            allow_data_loss: false,
        }
    }
}

/// TLS towards Redis, its Sentinels and nodes. Without any of these the public authorities are believed, and nobody is told who we are.
#[derive(Debug, Clone, Default, Args)]
pub struct RedisTls {
    /// The authorities whose certificates are believed of Redis, instead of the public ones (PEM)
    #[arg(long, value_name = "FILE")]
    pub redis_ca_file: Option<PathBuf>,
    /// The certificate that Redis is shown, where it asks for one (PEM)
    #[arg(long, value_name = "FILE")]
    pub redis_cert_file: Option<PathBuf>,
    /// That certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub redis_key_file: Option<PathBuf>,
}

impl RedisTls {
    /// The certificate that Redis is shown, and its key.
    pub fn client(&self) -> Result<Option<(PathBuf, PathBuf)>, SettingsError> {
        let key = ("redis_key_file", self.redis_key_file.as_ref());
        pair(("redis_cert_file", self.redis_cert_file.as_ref()), key)
    }

    /// Files that would not be looked at are a mistake: the connection is not what it is thought to be.
    ///
    /// # Errors
    /// One of two is given, or `url` is without TLS, or asks to believe anyone.
    pub fn check(&self, url: &SecretUrl) -> Result<(), SettingsError> {
        self.client()?;
        let named = [("redis_ca_file", &self.redis_ca_file), ("redis_cert_file", &self.redis_cert_file)];
        let given = named.into_iter().find(|(_, file)| file.is_some());
        if let Some((name, _)) = given
            && !url.expose().to_ascii_lowercase().starts_with("rediss")
        {
            return Err(refused(name, "is given, and redis_url has no TLS; begin it with rediss"));
        }
        if self.redis_ca_file.is_some() && url.expose().ends_with("#insecure") {
            let why =
                "is given, and redis_url ends in #insecure, which believes anyone; take one of them away";
            return Err(refused("redis_ca_file", why));
        }
        Ok(())
    }
}
