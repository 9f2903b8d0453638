//! Opens Redis from its URL, with every wait bounded: a server that hangs must become an error that the caller can
//! answer, never a caller that hangs with it.

use crate::store::{errors::ConnectError, postgres::tls};
use redis::{
    IntoConnectionInfo,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use std::time::Duration;

/// How long the TCP (or socket) connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent peer is probed after this, and then as often.
const PROBE_AFTER: Duration = Duration::from_secs(2);
/// What was sent must be acknowledged within this.
const UNACKED_MAX: Duration = Duration::from_secs(5);
/// How long a caller waits for a free connection of the pool before it is told that there is none.
const POOL_WAIT: Duration = Duration::from_secs(5);

/// Opens no connection yet: checks the URL (`redis://`, `rediss://`, `redis+unix:///path`) and makes a client.
pub fn redis_client(url: &str) -> Result<redis::Client, ConnectError> {
    tls::install_provider();
    let info = url.into_connection_info().map_err(|error| redis_fault(&error))?;
    // A server that vanished without a word must be found out, also by who only waits for it to speak.
    let keepalive = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_AFTER).with_retries(2);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNACKED_MAX);
    let info = info.set_tcp_settings(tcp);
    redis::Client::open(info).map_err(|error| redis_fault(&error))
}

/// A pool of at most `size` connections, none of them opened yet.
pub fn redis_pool(url: &str, size: usize) -> Result<deadpool_redis::Pool, ConnectError> {
    let manager = deadpool_redis::Manager::new(redis_client(url)?.get_connection_info().clone())
        .map_err(|error| redis_fault(&error))?;
    let pool = deadpool_redis::Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(POOL_WAIT))
        .create_timeout(Some(CONNECT_TIMEOUT))
        .recycle_timeout(Some(CONNECT_TIMEOUT))
        .runtime(deadpool_redis::Runtime::Tokio1)
        .build()?;
    Ok(pool)
}

fn redis_fault(error: &redis::RedisError) -> ConnectError {
    ConnectError::Url {
        key: "redis_url",
        problem: format!("{error}; give redis://host:port, rediss://host:port or redis+unix:///path"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_urls() {
        for url in ["redis://h:6379", "rediss://user:pw@h:6380/0", "redis+unix:///run/redis.sock"] {
            assert!(redis_client(url).is_ok(), "{url}");
        }
        let error = redis_client("http://h").unwrap_err().to_string();
        assert!(error.starts_with("redis_url: ") && error.contains("redis+unix"), "{error}");
    }
}
