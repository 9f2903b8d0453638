//! Joins: those that come in while a call to Redis runs go together in the next one, in their order of arrival.

use super::LiveLine;
use crate::{
    limits::JOINS_MAX,
    metrics,
    room::{Queue, batch, errors::RoomError},
    store::{errors::StoreError, line::Standings},
};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::sleep};
use wire::domain::line::{Join, LineAnswer};

/// How long joins, and polls, are tried again, while Redis is found anew, before their visitors are sent away to come back later.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves joins for as long as the room lives.
pub(in crate::room) async fn run(
    line: Arc<LiveLine>,
    asked: Queue<mpsc::Receiver<batch::Asked<Join, LineAnswer>>>,
) {
    let pause = || line.company_pause();
    batch::serve(&mut *asked.lock().await, JOINS_MAX, pause, |joins| line.join_all(joins)).await;
}

impl LiveLine {
    async fn join_all(&self, joins: Vec<Join>) -> Result<Vec<LineAnswer>, RoomError> {
        let joined = self.persist(|| self.store.join(&joins)).await.inspect_err(|error| {
            tracing::warn!(sale = %self.sale.id, "{} joins failed: {error}", joins.len());
        })?;
        metrics::joins(self.sale.id.as_str(), joined.drawn);
        Ok(joined.answers())
    }

    /// A call that may be repeated is tried again for a while, with the same visitors and so to the same places: what was not
    /// acknowledged may be there.
    pub(super) async fn persist<F>(&self, call: impl Fn() -> F) -> Result<Standings, StoreError>
    where
        F: Future<Output = Result<Standings, StoreError>>,
    {
        let began = Instant::now();
        loop {
            match call().await {
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(error) if error.may_pass() => sleep(PAUSE).await,
                Err(error) => self.revive(error).await?,
                answer => return answer,
            }
        }
    }
}
