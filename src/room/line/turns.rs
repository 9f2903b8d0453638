//! Leaves and claims go together as joins do: when the hall is sold out, tens of thousands leave within a moment.

use super::LiveLine;
use crate::{
    limits::TURNS_MAX,
    metrics,
    room::{Queue, batch},
};
use std::sync::Arc;
use tokio::sync::mpsc;
use wire::domain::{ids::VisitorId, line::Left};

type Visitors<A> = Queue<mpsc::Receiver<batch::Asked<VisitorId, A>>>;

/// Serves leaves for as long as the room lives.
pub(in crate::room) async fn leaves(line: Arc<LiveLine>, asked: Visitors<Left>) {
    let pause = || line.company_pause();
    batch::serve(&mut *asked.lock().await, TURNS_MAX, pause, |visitors| {
        let line = &line;
        async move {
            let left = line.store.leave(&visitors).await?;
            let ended = left.iter().filter(|left| **left == Left::Ended);
            metrics::lapses(line.sale.id.as_str(), "left", ended.count() as u64);
            Ok(left)
        }
    })
    .await;
}

/// Serves claims for as long as the room lives.
pub(in crate::room) async fn claims(line: Arc<LiveLine>, asked: Visitors<bool>) {
    let pause = || line.company_pause();
    batch::serve(&mut *asked.lock().await, TURNS_MAX, pause, |visitors| {
        let line = &line;
        async move { Ok(line.store.claim(&visitors).await?) }
    })
    .await;
}
