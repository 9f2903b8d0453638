//! Connections for long reads, which must not stand in front of others. They are made when they are first needed, and all
//! of them anew when the node that has the keys is another than it was.

use super::{
    find::{CONNECTION_TIMEOUT, RunId},
    link::{Own, RESPONSE_TIMEOUT, Whose},
};
use crate::store::errors::{ConnectError, StoreError};
use deadpool_redis::{Connection, Manager, Pool, Runtime};
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, RedisFuture, Value, aio::ConnectionLike};
use std::{sync::Arc, time::Duration};
use tokio::sync::Mutex;

/// How long a caller waits for a free connection before it is told that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections for long reads; cheap to clone.
#[derive(Clone)]
pub struct ReadPool {
    whose: Whose,
    size: usize,
    made: Arc<Mutex<Option<Made>>>,
}

/// Connections to one process.
#[derive(Clone)]
struct Made {
    tenure: u64,
    run_id: RunId,
    pool: Pool,
}

impl ReadPool {
    pub(super) fn new(whose: &Whose, size: usize) -> Self {
        Self { whose: whose.clone(), size, made: Arc::default() }
    }

    /// A connection, for as long as it is held.
    pub async fn get(&self) -> Result<Reader, StoreError> {
        let Made { tenure, run_id, pool } = self.made().await?;
        let held = match pool.get().await {
            Ok(held) => held,
            Err(error) => {
                // Whoever is there now is looked for the next time.
                *self.made.lock().await = None;
                return Err(error.into());
            }
        };
        let own = Own::of(self.whose.clone(), tenure, run_id, held.as_ref().clone());
        Ok(Reader { own, _held: held })
    }

    /// The pool of whoever has the keys now.
    async fn made(&self) -> Result<Made, StoreError> {
        let mut made = self.made.lock().await;
        let Whose { site, slot, tenure } = &self.whose;
        if let Some(made) = made.as_ref().filter(|made| made.tenure == tenure.now()) {
            return Ok(made.clone());
        }
        let (client, _proof, run_id) = site.find(*slot, RESPONSE_TIMEOUT).await?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let manager = Manager::new_with_config(client.get_connection_info().clone(), config)?;
        let pool = Pool::builder(manager)
            .max_size(self.size)
            .timeouts(deadpool_redis::Timeouts {
                wait: Some(PATIENCE),
                create: Some(PATIENCE),
                recycle: Some(PATIENCE),
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(ConnectError::from)?;
        Ok(made.insert(Made { tenure: tenure.meets(&run_id), run_id, pool }).clone())
    }
}

/// One of them; goes back when it is dropped.
pub struct Reader {
    own: Own,
    _held: Connection,
}

impl ConnectionLike for Reader {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let answer = self.own.ask(cmd).await?;
            self.own.confirm().await?;
            Ok(answer)
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        _: &'a Pipeline,
        _: usize,
        _: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async { Err((ErrorKind::Client, "long reads are asked one by one").into()) })
    }

    fn get_db(&self) -> i64 {
        self.own.db()
    }
}
