//! Connections to Redis. Hot paths share multiplexed connections (a pool's checkout costs an UNWATCH and a PING);
//! the pool is for long reads, which must not stand in front of others; blocking reads get a connection each. All of them
//! end when Redis turns out to be another server than it was.

mod connect;
pub mod facts;
mod link;
mod pool;

use super::{
    errors::StoreError,
    line::{Line, stream::EventReader},
};
use crate::metrics;
use facts::{RedisFacts, takes_joins};
use link::{CONNECTION_TIMEOUT, RESPONSE_TIMEOUT, Tenure, run_id};
use redis::{AsyncConnectionConfig, Client};
use std::{sync::Arc, time::Duration};

pub use connect::{redis_client, redis_pool};
pub(super) use link::{Bound, Link, RunId};
pub(super) use pool::ReadPool;
use wire::domain::ids::SaleId;

/// A blocking read returns after this at the latest.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
/// Connections for long reads.
const POOL_SIZE: usize = 4;

/// Redis, as this instance speaks to it; cheap to clone.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    /// Joins have their own connection: their order is the order of the line.
    joins: Link,
    shared: Link,
    pool: ReadPool,
    tenure: Tenure,
    instance: Arc<str>,
}

impl Redis {
    /// Connects; `instance` is this server's name in leases and presence, without a colon.
    pub async fn connect(url: &str, instance: &str) -> Result<Self, StoreError> {
        let client = redis_client(url)?;
        let tenure = Tenure::default();
        let link = || Link::new(client.clone(), tenure.clone());
        let (joins, shared) = (link(), link());
        let pool = ReadPool::new(redis_pool(url, POOL_SIZE)?, tenure.clone());
        let this = Self { client, joins, shared, pool, tenure, instance: instance.into() };
        this.ping().await?;
        Ok(this)
    }

    /// This server's name in leases and presence.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// What the server is.
    pub async fn facts(&self) -> Result<RedisFacts, StoreError> {
        Ok(RedisFacts::read(&mut self.shared.clone(), &self.instance).await?)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        Ok(redis::cmd("PING").query_async(&mut self.shared.clone()).await?)
    }

    /// Whether a place could be drawn now: see [`facts::takes_joins`].
    pub async fn prove(&self) -> Result<(), StoreError> {
        let _wait = metrics::redis_probe();
        Ok(takes_joins(&mut self.shared.clone(), &self.instance).await?)
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
        let tenure = self.tenure.clone();
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let run_id = run_id(&mut connection).await?;
        line.believes(&run_id)?;
        let since = tenure.meets(&run_id);
        Ok(EventReader::new(connection, line.events_key(), move || tenure.now() == since))
    }
}
