//! Sockets that closed are told to the line in batches: a cut cable takes thousands at once.

use super::Room;
use crate::{domain::ids::VisitorId, limits::JOINS_MAX};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::sleep};

/// Tries for one batch; after that the visitors count as present until this instance's lease ends.
const TRIES: u32 = 10;

/// Tells of departures until the room is gone.
pub(super) async fn run(room: Arc<Room>, mut departed: mpsc::UnboundedReceiver<(VisitorId, u64)>) {
    let mut batch = Vec::new();
    while departed.recv_many(&mut batch, JOINS_MAX).await > 0 {
        for _ in 0..TRIES {
            match room.line.gone(&batch).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(sale = %room.id, "departures are told later: {error}");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
        batch.clear();
    }
}
