//! Connections for long reads, which must not stand in front of others. They are made when they are first needed.

use super::link::{Link, Whose};
use crate::store::errors::{Store, StoreError};
use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// How long a caller waits for a free connection before it is told that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections for long reads; cheap to clone.
#[derive(Clone)]
pub struct ReadPool {
    free: Arc<Mutex<Vec<Link>>>,
    permits: Arc<Semaphore>,
}

impl ReadPool {
    pub(super) fn new(whose: &Whose, size: usize) -> Self {
        let links = (0..size).map(|_| Link::new(whose.clone())).collect();
        Self { free: Arc::new(Mutex::new(links)), permits: Arc::new(Semaphore::new(size)) }
    }

    /// A connection, for as long as it is held.
    pub async fn get(&self) -> Result<Reader, StoreError> {
        let none = || StoreError::Timeout(Store::Redis);
        let permit = timeout(PATIENCE, self.permits.clone().acquire_owned()).await.map_err(|_| none())?;
        let permit = permit.map_err(|_| none())?;
        // The one used last: most are never connected.
        let link = free(&self.free).pop().ok_or_else(none)?;
        Ok(Reader { link, home: self.free.clone(), _permit: permit })
    }
}

fn free(links: &Mutex<Vec<Link>>) -> MutexGuard<'_, Vec<Link>> {
    links.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of them; goes back when it is dropped.
pub struct Reader {
    link: Link,
    home: Arc<Mutex<Vec<Link>>>,
    _permit: OwnedSemaphorePermit,
}

impl ConnectionLike for Reader {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.link.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.link.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.link.get_db()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        free(&self.home).push(self.link.clone());
    }
}
