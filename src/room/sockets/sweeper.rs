//! One sweep after another over the local sockets, at its own pace: each that is due is offered its newest rank.

use super::{Hub, RankUpdate, Socket};
use crate::{
    drain::Drain,
    limits::{DROP_S, FAR_SWEEPS, NEAR_RANK, PING_S, SWEEP},
    metrics::{self, SaleGauges},
    room::line::LiveLine,
};
use std::{sync::Arc, time::Instant};
use tokio::time::{MissedTickBehavior, interval};
use wire::domain::{
    eta::{Pace, eta_s},
    line::Position,
};

/// Sockets swept before others may run: handshakes must go on.
const SLICE: usize = 1_000;
/// Sweeps between two audits of the board against ZRANK.
const AUDIT_SWEEPS: u64 = 20;

/// Sweeps until the server has stopped.
pub(in crate::room) async fn run(hub: Arc<Hub>, line: Arc<LiveLine>) {
    let mut every = interval(SWEEP);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for sweep in 0u64.. {
        every.tick().await;
        hub.pulse.beat();
        if line.drain() >= Drain::Done {
            return;
        }
        let pace = line.current_pace();
        for slice in hub.all().chunks(SLICE) {
            slice.iter().for_each(|socket| offer(&line, socket, sweep, pace));
            tokio::task::yield_now().await;
        }
        if sweep % 4 == 0 {
            gauges(&line).await;
        }
        if sweep % AUDIT_SWEEPS == 0 {
            audit(&hub, &line, sweep as usize).await;
        }
    }
}

fn offer(line: &LiveLine, socket: &Socket, sweep: u64, pace: Option<Pace>) {
    socket.check_alive(PING_S, DROP_S);
    let near = socket.watched().is_some_and(|watch| watch.shown < NEAR_RANK);
    if !near && !(sweep + socket.id).is_multiple_of(FAR_SWEEPS) {
        return;
    }
    let live = line.live();
    let total = live.board.len();
    let update = |rank| RankUpdate { rank, total, eta_s: eta_s(rank, pace), at: Instant::now() };
    socket.offer_rank(live.position, |seq| live.board.rank(seq), update);
}

/// The sale's numbers as Redis has them; while it does not answer, the last ones stand.
async fn gauges(line: &LiveLine) {
    if let Ok(counts) = line.counts().await {
        let settings = line.settings();
        let now = SaleGauges {
            waiting: counts.waiting,
            grants: counts.granted,
            held: counts.held,
            seats_left: counts.seats_left,
            rate: settings.rate,
            max_active: settings.max_active,
            phase: line.phase().as_str(),
        };
        metrics::sale(line.sale().id.as_str(), &now);
    }
}

/// The board must say what ZRANK says of the same entry; if it has moved on meanwhile, nothing is proven.
async fn audit(hub: &Hub, line: &LiveLine, skip: usize) {
    let Some((visitor, socket)) = hub.some_visitor(skip) else { return };
    let Some(watch) = socket.watched() else { return };
    let board = |at: Position| {
        let live = line.live();
        (live.position == at).then(|| live.board.rank(watch.seq))
    };
    let Ok((rank, at)) = line.rank(&visitor).await else { return };
    if board(at).is_some_and(|shown| shown != rank) {
        metrics::rank_audit_failure();
        tracing::error!(sale = %line.sale().id, "the board's rank is not Redis' at {at:?}");
    }
}
