//! Joins: those that come in while a call to Redis runs go together in the next one, in their order of arrival.

use super::LiveLine;
use crate::{
    drain::Drain,
    limits::JOINS_MAX,
    metrics,
    room::{Queue, batch, errors::RoomError},
    store::{errors::StoreError, line::Standings},
};
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::domain::line::{Join, LineAnswer};

/// Serves joins for as long as the room lives.
pub(in crate::room) async fn run(
    line: Arc<LiveLine>,
    asked: Queue<mpsc::Receiver<batch::Asked<Join, LineAnswer>>>,
) {
    batch::serve(&mut *asked.lock().await, JOINS_MAX, |joins| line.join_all(joins)).await;
}

impl LiveLine {
    async fn join_all(&self, joins: Vec<Join>) -> Result<Vec<LineAnswer>, RoomError> {
        // A draining server draws no places: another instance does.
        if self.drain() >= Drain::Leaving {
            return Err(RoomError::Draining);
        }
        let joined = self.join_in_redis(&joins).await.inspect_err(|error| {
            tracing::warn!(sale = %self.sale.id, "{} joins failed: {error}", joins.len());
        })?;
        metrics::joins(self.sale.id.as_str(), joined.drawn);
        Ok(joined.answers())
    }

    async fn join_in_redis(&self, joins: &[Join]) -> Result<Standings, StoreError> {
        match self.store.join(joins).await {
            Err(error) => {
                self.revive(error).await?;
                self.store.join(joins).await
            }
            answer => answer,
        }
    }
}
