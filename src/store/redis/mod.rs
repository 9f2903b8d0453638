//! Connections to Redis. Hot paths share multiplexed connections (a pool's checkout costs an UNWATCH and a PING);
//! the pool is for long reads, which must not stand in front of others; blocking reads get a connection each.

mod connect;
pub mod facts;

use super::{
    errors::StoreError,
    line::{Line, stream::EventReader},
};
use crate::metrics;
use facts::RedisFacts;
use redis::{
    AsyncConnectionConfig, Client,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use std::{sync::Arc, time::Duration};

pub use connect::{redis_client, redis_pool};
use wire::domain::ids::SaleId;

/// How long a call may take before it counts as failed.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long connecting may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(2);
/// A blocking read returns after this at the latest.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
/// Connections for long reads.
const POOL_SIZE: usize = 4;

/// Redis, as this instance speaks to it; cheap to clone.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    /// Joins have their own connection: their order is the order of the line.
    joins: ConnectionManager,
    shared: ConnectionManager,
    pool: deadpool_redis::Pool,
    instance: Arc<str>,
}

impl Redis {
    /// Connects; `instance` is this server's name in leases and presence, without a colon.
    pub async fn connect(url: &str, instance: &str) -> Result<Self, StoreError> {
        let client = redis_client(url)?;
        let config = || {
            ConnectionManagerConfig::new()
                .set_response_timeout(Some(RESPONSE_TIMEOUT))
                .set_connection_timeout(Some(CONNECTION_TIMEOUT))
                .set_number_of_retries(1)
                .set_max_delay(Duration::from_millis(500))
        };
        let joins = ConnectionManager::new_with_config(client.clone(), config()).await?;
        let shared = ConnectionManager::new_with_config(client.clone(), config()).await?;
        let pool = redis_pool(url, POOL_SIZE)?;
        Ok(Self { client, joins, shared, pool, instance: instance.into() })
    }

    /// This server's name in leases and presence.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// What INFO tells.
    pub async fn facts(&self) -> Result<RedisFacts, StoreError> {
        let info: String = redis::cmd("INFO").query_async(&mut self.shared.clone()).await?;
        Ok(RedisFacts::parse(&info))
    }

    /// Whether Redis answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let _wait = metrics::redis_probe();
        Ok(redis::cmd("PING").query_async(&mut self.shared.clone()).await?)
    }

    /// The line of a sale.
    pub fn line(&self, sale: &SaleId) -> Line {
        Line::new(sale, self.instance.clone(), self.joins.clone(), self.shared.clone(), self.pool.clone())
    }

    /// A reader of the sale's stream, on a connection of its own.
    pub async fn events(&self, line: &Line) -> Result<EventReader, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(BLOCK + RESPONSE_TIMEOUT));
        let connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(EventReader::new(connection, line.events_key()))
    }
}
