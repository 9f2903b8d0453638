//! Opens PostgreSQL from its URL, with every wait bounded: a server that hangs must become an error that the caller
//! can answer, never a caller that hangs with it.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    beside::application_name,
    tls::{self, Trust},
};
use crate::store::errors::{ConnectError, detail};

/// A silent peer is probed after this, and then as often …
const PROBE_AFTER: Duration = Duration::from_secs(2);
/// … and what was sent must be acknowledged within this: a server may vanish without a word.
const UNACKED_MAX: Duration = Duration::from_secs(5);
/// How long the TCP (or socket) connect may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection of the pool before it is told that there is none.
pub const POOL_WAIT: Duration = Duration::from_secs(5);
/// What PostgreSQL itself allows one statement. A redeem that waits longer than this has lost its visitor.
pub const STATEMENT_TIMEOUT: Duration = Duration::from_secs(15);
/// What PostgreSQL allows a transaction whose instance went silent: its row locks hold up all the others.
pub const IDLE_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// A pool of at most `size` connections, none of them opened yet.
pub fn postgres_pool(url: &str, size: usize) -> Result<Pool, ConnectError> {
    let (config, tls) = postgres_config(url)?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let pool = Pool::builder(Manager::from_config(config, tls, recycling))
        .max_size(size)
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(CONNECT_TIMEOUT * 2))
        .recycle_timeout(Some(CONNECT_TIMEOUT))
        .runtime(Runtime::Tokio1)
        .build()?;
    Ok(pool)
}

/// One connection beside the pool, for work that must not share (migrations) or must not wait (`doctor`). It
/// ends when the client is dropped.
pub async fn postgres_single(url: &str) -> Result<tokio_postgres::Client, ConnectError> {
    let (config, tls) = postgres_config(url)?;
    // A server that hangs takes connections still.
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT * 2, config.connect(tls));
    let (client, connection) = connecting.await.map_err(|_| ConnectError::Silent)??;
    // An error of the connection reaches whoever uses the client, as a failed query.
    tokio::spawn(connection);
    Ok(client)
}

fn postgres_config(url: &str) -> Result<(tokio_postgres::Config, MakeRustlsConnect), ConnectError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(postgres_fault(
            "give postgres://user@host/database (or postgres:///database?host=/folder)",
        ));
    }
    let (url, trust) = trust_of(url)?;
    let mut config: tokio_postgres::Config = url.parse().map_err(|error| postgres_fault(&detail(&error)))?;
    if config.get_hosts().is_empty() {
        return Err(postgres_fault("names no host; add one, or ?host=/folder for a Unix socket"));
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    // A Unix socket never speaks TLS: asking for it costs a round trip and `require` would be refused.
    if config.get_hosts().iter().all(|host| matches!(host, Host::Unix(_))) {
        config.ssl_mode(SslMode::Disable);
    }
    config
        .tcp_user_timeout(UNACKED_MAX)
        .keepalives_idle(PROBE_AFTER)
        .keepalives_interval(PROBE_AFTER)
        .keepalives_retries(2);
    let name = application_name(config.get_application_name());
    config.application_name(name);
    let own = format!(
        "-c statement_timeout={} -c idle_in_transaction_session_timeout={}",
        STATEMENT_TIMEOUT.as_millis(),
        IDLE_TRANSACTION_TIMEOUT.as_millis(),
    );
    // The URL's own options come last, so they win.
    let options = config.get_options().map_or_else(|| own.clone(), |theirs| format!("{own} {theirs}"));
    config.options(options);
    Ok((config, MakeRustlsConnect::new(tls::client_config(&trust)?)))
}

/// Takes the TLS parameters that libpq knows and tokio-postgres does not out of the URL: `sslrootcert`, and the
/// `verify-…` modes. `prefer` (the default) encrypts where the server can, without checking who it is, as libpq
/// does; anything stronger checks the certificate.
fn trust_of(url: &str) -> Result<(String, Trust), ConnectError> {
    let Some((head, query)) = url.split_once('?') else { return Ok((url.to_owned(), Trust::Anyone)) };
    let (mut trust, mut root, mut kept) = (Trust::Anyone, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslrootcert", path)) => root = Some(path.to_owned()),
            Some(("sslmode", "require" | "verify-ca" | "verify-full")) => {
                trust = Trust::PublicRoots;
                kept.push("sslmode=require");
            }
            Some(("sslmode", "disable" | "prefer")) => kept.push(pair),
            Some(("sslmode", other)) => {
                return Err(postgres_fault(&format!(
                    "sslmode={other} is unknown; use disable, prefer, require or verify-full"
                )));
            }
            _ => kept.push(pair),
        }
    }
    if let Some(path) = root {
        trust = Trust::File(path.into());
        if !kept.contains(&"sslmode=require") {
            return Err(postgres_fault(
                "sslrootcert needs sslmode=verify-full, or the certificate is not checked",
            ));
        }
    }
    let url = if kept.is_empty() { head.to_owned() } else { format!("{head}?{}", kept.join("&")) };
    Ok((url, trust))
}

fn postgres_fault(problem: &str) -> ConnectError {
    ConnectError::Url { key: "postgres_url", problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unix_socket_host_needs_no_tls() {
        let (config, _) = postgres_config("postgres:///db?host=/run/pg&user=w&sslmode=require").unwrap();
        assert_eq!(config.get_ssl_mode(), SslMode::Disable);
        assert_eq!(config.get_dbname(), Some("db"));
        assert!(config.get_options().unwrap().contains("statement_timeout=15000"));
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
    }

    #[test]
    fn own_options_of_the_url_win() {
        let url = "postgres://w@h/db?options=-c%20statement_timeout%3D1";
        let (config, _) = postgres_config(url).unwrap();
        assert!(config.get_options().unwrap().ends_with("-c statement_timeout=1"));
    }

    #[test]
    fn strong_modes_check_the_certificate() {
        for mode in ["require", "verify-ca", "verify-full"] {
            let (url, trust) = trust_of(&format!("postgres://w@h/db?sslmode={mode}&x=1")).unwrap();
            assert_eq!(url, "postgres://w@h/db?sslmode=require&x=1");
            assert_eq!(trust, Trust::PublicRoots);
        }
        assert_eq!(trust_of("postgres://w@h/db").unwrap().1, Trust::Anyone);
        let (_, trust) = trust_of("postgres://h/db?sslmode=verify-full&sslrootcert=/ca.pem").unwrap();
        assert_eq!(trust, Trust::File("/ca.pem".into()));
    }

    #[test]
    fn refusals_name_the_setting() {
        for url in [
            "mysql://h",
            "host=h",
            "postgres:///db",
            "postgres://h/db?sslmode=allow",
            "postgres://h/db?sslrootcert=/ca.pem",
            "postgres://h:port/db",
            "postgres://h/db?nonsense=1",
        ] {
            let error = postgres_pool(url, 2).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with("postgres_url: "), "{url}: {error}");
        }
    }
}
