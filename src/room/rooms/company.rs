//! Whether PostgreSQL has connections enough for all instances: each has a pool of its own, and knows how many there are.

use super::Rooms;
use crate::store::postgres::connections_max;

impl Rooms {
    /// How many instances there are. When they have become more than `told_of`, and too many, that is said.
    pub(super) async fn count_instances(&self, told_of: u64) -> u64 {
        let instances = self.all().iter().map(|room| room.line.company()).max().unwrap_or(1);
        let pool = self.pool.status().max_size as u64;
        if instances <= told_of {
            return instances;
        }
        match connections_max(&self.pool).await {
            Ok(free) if instances * pool > free => {
                tracing::warn!("{}", too_many(instances, pool, free));
                instances
            }
            Ok(_) => instances,
            // Asked again.
            Err(_) => told_of,
        }
    }
}

fn too_many(instances: u64, pool: u64, free: u64) -> String {
    format!(
        "{instances} instances with pools of {pool} (postgres_pool) may want {} connections, and PostgreSQL gives {free}: lower \
         it, or raise max_connections",
        instances * pool
    )
}
