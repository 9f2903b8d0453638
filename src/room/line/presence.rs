//! Sockets that closed are told to the line in batches: a cut cable takes thousands at once.

use super::LiveLine;
use crate::{
    limits::JOINS_MAX,
    room::{Queue, outbox::Outbox},
};
use std::sync::Arc;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use wire::domain::ids::VisitorId;

/// Tells of departures for as long as the room lives. Until the line has heard, the visitors count as present, at most
/// as long as this instance's lease lives.
pub(in crate::room) async fn run(
    line: Arc<LiveLine>,
    departed: Queue<mpsc::UnboundedReceiver<(VisitorId, u64)>>,
    outbox: Outbox,
) {
    let (mut departed, mut batch) = (departed.lock().await, Vec::new());
    while departed.recv_many(&mut batch, JOINS_MAX).await > 0 {
        let (began, is_full) = (Instant::now(), batch.len() == JOINS_MAX);
        outbox.tell("sockets that closed", || line.store.gone(&batch)).await;
        batch.clear();
        if !is_full {
            sleep_until(began + line.company_pause()).await;
        }
    }
}
