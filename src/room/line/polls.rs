//! Polls of visitors without a socket: asked together like joins, but they draw no place.

use super::LiveLine;
use crate::{
    limits::POLLS_MAX,
    room::{Queue, batch, errors::RoomError},
};
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::domain::line::{LineAnswer, Poll};

/// Serves polls for as long as the room lives.
pub(in crate::room) async fn run(
    line: Arc<LiveLine>,
    asked: Queue<mpsc::Receiver<batch::Asked<Poll, LineAnswer>>>,
) {
    let pause = || line.company_pause();
    batch::serve(&mut *asked.lock().await, POLLS_MAX, pause, |polls| line.poll_all(polls)).await;
}

impl LiveLine {
    async fn poll_all(&self, polls: Vec<Poll>) -> Result<Vec<LineAnswer>, RoomError> {
        let seen = self.persist(|| self.store.poll(&polls)).await.inspect_err(|error| {
            tracing::warn!(sale = %self.sale.id, "{} polls failed: {error}", polls.len());
        })?;
        Ok(seen.answers())
    }
}
