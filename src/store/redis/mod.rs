//! Connections to Redis. Hot paths share multiplexed connections; long reads, and reads that wait, have others. All of
//! them are to whoever has the keys, and end when that is another than it was.

mod address;
pub mod facts;
mod find;
mod link;
mod pool;
pub mod review;
mod site;
mod slot;
mod tls;
mod trouble;

use super::{
    errors::StoreError,
    line::{Line, stream::EventReader},
};
use crate::metrics;
use facts::{proof_key, takes_joins};
pub use link::RESPONSE_TIMEOUT;
use link::{Link, Tenure, Whose};
use pool::ReadPool;
use slot::Slot;
use std::{sync::Arc, time::Duration};

pub(super) use find::RunId;
pub(super) use link::{Bound, Own};
pub use site::{Site, redis_client};
use wire::domain::ids::SaleId;

/// A blocking read returns after this at the latest.
pub(super) const BLOCK: Duration = Duration::from_secs(1);
/// Connections for long reads.
const POOL_SIZE: usize = 4;

/// Redis, as this instance speaks to it; cheap to clone.
#[derive(Clone)]
pub struct Redis {
    node: Node,
    instance: Arc<str>,
}

/// Connections to the one node that has some keys.
#[derive(Clone)]
pub(super) struct Node {
    whose: Whose,
    /// Joins have their own connection: their order is the order of the line.
    pub joins: Link,
    pub shared: Link,
    pub pool: ReadPool,
}

impl Node {
    fn new(site: Arc<Site>, slot: Slot) -> Self {
        let whose = Whose { site, slot, tenure: Tenure::default() };
        let link = || Link::new(whose.clone());
        let (joins, shared) = (link(), link());
        Self { joins, shared, pool: ReadPool::new(&whose, POOL_SIZE), whose }
    }

    /// For a sale. WAIT holds up whoever comes after it on the same connection: where replicas are waited for, sales have
    /// connections of their own.
    fn for_sale(&self, slot: Slot) -> Self {
        let Whose { site, .. } = &self.whose;
        if site.is_cluster() {
            return Self::new(site.clone(), slot);
        }
        if site.replicas == 0 {
            return self.clone();
        }
        let link = || Link::new(self.whose.clone());
        Self { joins: link(), shared: link(), ..self.clone() }
    }
}

impl Redis {
    /// Connects; `instance` is this server's name in leases and presence, without a colon.
    pub async fn connect(site: Site, instance: &str) -> Result<Self, StoreError> {
        let slot = Slot::of(&proof_key(instance));
        let this = Self { node: Node::new(Arc::new(site), slot), instance: instance.into() };
        redis::cmd("PING").query_async::<()>(&mut this.node.shared.clone()).await?;
        Ok(this)
    }

    /// This server's name in leases and presence.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// Whether a place could be drawn now: see [`facts::takes_joins`]. In a cluster this speaks for one node of it.
    pub async fn prove(&self) -> Result<(), StoreError> {
        let _wait = metrics::redis_probe();
        Ok(takes_joins(&mut self.node.shared.clone(), &self.instance).await?)
    }

    /// The line of a sale.
    pub fn line(&self, sale: &SaleId) -> Line {
        Line::new(sale, self.instance.clone(), |key| self.node.for_sale(Slot::of(key)))
    }

    /// A reader of the sale's stream, on a connection of its own.
    pub async fn events(&self, line: &Line) -> Result<EventReader, StoreError> {
        let own = Own::connect(line.node().whose.clone(), BLOCK + RESPONSE_TIMEOUT).await?;
        line.believes(own.run_id())?;
        Ok(EventReader::new(own, line.events_key()))
    }
}
