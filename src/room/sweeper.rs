//! One sweep after another over the local sockets, at its own pace: each that is due is offered its newest rank.

use super::{
    Room,
    hub::{RankUpdate, Socket},
};
use crate::{
    domain::eta::{Pace, eta_s},
    limits::{DROP_S, FAR_SWEEPS, NEAR_RANK, PING_S, SWEEP},
    metrics::{self, SaleGauges},
    shutdown::Stage,
    store::events::Position,
};
use std::{sync::Arc, time::Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Sockets swept before others may run: handshakes must go on.
const SLICE: usize = 1_000;
/// Sweeps between two audits of the board against ZRANK.
const AUDIT_SWEEPS: u64 = 20;

/// Sweeps until the server has stopped.
pub(super) async fn run(room: Arc<Room>) {
    let mut every = interval(SWEEP);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for sweep in 0u64.. {
        every.tick().await;
        if room.stage() >= Stage::Stopped {
            return;
        }
        let pace = room.current_pace();
        for slice in room.hub.all().chunks(SLICE) {
            slice.iter().for_each(|socket| offer(&room, socket, sweep, pace));
            tokio::task::yield_now().await;
        }
        if sweep % 4 == 0 {
            gauges(&room).await;
        }
        if sweep % AUDIT_SWEEPS == 0 {
            audit(&room, sweep as usize).await;
        }
    }
}

fn offer(room: &Room, socket: &Socket, sweep: u64, pace: Option<Pace>) {
    socket.check_alive(PING_S, DROP_S);
    let near = socket.watched().is_some_and(|watch| watch.shown < NEAR_RANK);
    if !near && !(sweep + socket.id).is_multiple_of(FAR_SWEEPS) {
        return;
    }
    let live = room.live();
    let total = live.board.len();
    let update = |rank| RankUpdate { rank, total, eta_s: eta_s(rank, pace), at: Instant::now() };
    socket.offer_rank(live.position, |seq| live.board.rank(seq), update);
}

/// The sale's numbers as Redis has them; while it does not answer, the last ones stand.
async fn gauges(room: &Room) {
    if let Ok(counts) = room.counts().await {
        let settings = room.settings();
        let now = SaleGauges {
            waiting: counts.waiting,
            grants: counts.granted,
            held: counts.held,
            seats_left: counts.seats_left,
            rate: settings.rate,
            max_active: settings.max_active,
            phase: room.phase().as_str(),
        };
        metrics::sale(room.id.as_str(), &now);
    }
}

/// The board must say what ZRANK says of the same entry; if it has moved on meanwhile, nothing is proven.
async fn audit(room: &Room, skip: usize) {
    let Some((visitor, socket)) = room.hub.some_visitor(skip) else { return };
    let Some(watch) = socket.watched() else { return };
    let board = |at: Position| {
        let live = room.live();
        (live.position == at).then(|| live.board.rank(watch.seq))
    };
    let Ok((rank, at)) = room.line.rank(&visitor).await else { return };
    if board(at).is_some_and(|shown| shown != rank) {
        metrics::rank_audit_failure();
        tracing::error!(sale = %room.id, "the board's rank is not Redis' at {at:?}");
    }
}
