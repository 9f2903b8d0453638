//! Goes round over the local sockets, at its own pace: each that is due is offered its newest rank. Pushes are spread over the
//! time that there is for them, so that handshakes and grants go on; when that is too short, who is far back waits longer.

use super::{Hub, RankUpdate, Socket};
use crate::{
    drain::Drain,
    limits::{FAR_ROUND, FAR_STRETCH_MAX, NEAR_ROUND},
    metrics::{self, SaleGauges},
    room::line::LiveLine,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    task::yield_now,
    time::{MissedTickBehavior, interval, sleep},
};
use wire::domain::{
    eta::{Pace, eta_s},
    line::Position,
};

/// Time between two steps of a round …
const STEP: Duration = Duration::from_millis(50);
/// … and how much of it may be spent on who is far back, and on what all hear.
const STEP_BUSY: Duration = Duration::from_millis(34);
/// Sockets that are served before others may run.
const SLICE: usize = 64;
/// Time between two looks at the sale's numbers.
const LOOK: Duration = Duration::from_secs(1);
/// Looks between two audits of the board against ZRANK.
const AUDIT_LOOKS: usize = 5;

/// Goes on until the server has stopped.
pub(in crate::room) async fn run(hub: Arc<Hub>, line: Arc<LiveLine>) {
    tokio::select! {
        () = sweep(&hub, &line) => {}
        () = look(&hub, &line) => {}
    }
}

async fn sweep(hub: &Hub, line: &LiveLine) {
    let mut every = interval(STEP);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut near, mut far) = (Near::default(), Far::begin());
    while line.drain() < Drain::Done {
        every.tick().await;
        hub.pulse.beat();
        if hub.is_empty() {
            // Many sales are open that nobody waits for.
            sleep(NEAR_ROUND).await;
            far = Far { stretch: far.stretch, ..Far::begin() };
            metrics::rank_round(line.sale().id.as_str(), Duration::ZERO);
        }
        let (began, pace) = (Instant::now(), line.current_pace());
        near.step(hub, line, pace).await;
        while began.elapsed() < STEP_BUSY {
            let behind = hub.some_behind(SLICE);
            if behind.is_empty() {
                break;
            }
            behind.iter().for_each(Socket::catch_up);
            yield_now().await;
        }
        far.step(hub, line, pace, began + STEP_BUSY).await;
    }
}

/// The round over those whose turn comes soon: each step looks at one part of them. Where nothing has changed, there is
/// nothing to be said.
#[derive(Default)]
struct Near {
    step: u64,
    /// How much of a round is left until everyone has heard of the last change.
    left: u64,
    seen: Position,
}

impl Near {
    const STEPS: u64 = (NEAR_ROUND.as_millis() / STEP.as_millis()) as u64;

    async fn step(&mut self, hub: &Hub, line: &LiveLine, pace: Option<Pace>) {
        let now = line.live().position;
        if now != self.seen {
            (self.seen, self.left) = (now, Self::STEPS);
        }
        self.step = (self.step + 1) % Self::STEPS;
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        for (i, some) in hub.near_ones(self.step, Self::STEPS).chunks(SLICE).enumerate() {
            if i > 0 {
                yield_now().await;
            }
            some.iter().for_each(|socket| offer(line, socket, pace));
        }
    }
}

/// The round over everyone, slot by slot; it finds those who are near by now.
struct Far {
    /// The next slot.
    at: usize,
    /// Slots that are due, and were not looked at.
    due: f64,
    began: Instant,
    last: Instant,
    stretch: Stretch,
}

/// By how much a round takes longer. Steps that come late say that this machine has no more to give: ranks are what can wait, so
/// that joins, turns and the stores get what they need.
struct Stretch(f64);

impl Stretch {
    /// A step that comes so long after the last is late …
    const LATE: Duration = STEP.saturating_mul(2);
    /// … and a few seconds of them stretch it to the utmost; now and then one of them, by nothing to speak of.
    const MORE: f64 = 1.03;
    const LESS: f64 = 0.995;
    /// So many are served in time on any machine: they cost nothing to speak of.
    const IN_TIME_MAX: usize = 1_000;

    /// A step comes, so long after the last: how many slots are due by it.
    fn due(&mut self, slots: usize, since: Duration) -> f64 {
        let in_time = slots.min(Self::IN_TIME_MAX) as f64 * since.div_duration_f64(FAR_ROUND);
        (slots as f64 / (Far::STEPS * self.step(since))).max(in_time)
    }

    /// By how much the round is longer now.
    fn step(&mut self, since: Duration) -> f64 {
        let by = if since > Self::LATE { Self::MORE } else { Self::LESS };
        self.0 = (self.0 * by).clamp(1.0, FAR_STRETCH_MAX);
        self.0
    }
}

impl Far {
    const STEPS: f64 = FAR_ROUND.as_millis() as f64 / STEP.as_millis() as f64;

    fn begin() -> Self {
        let now = Instant::now();
        Self { at: 0, due: 0.0, began: now, last: now, stretch: Stretch(1.0) }
    }

    async fn step(&mut self, hub: &Hub, line: &LiveLine, pace: Option<Pace>, until: Instant) {
        let slots = hub.slots_len();
        let since = std::mem::replace(&mut self.last, Instant::now()).elapsed();
        // One round at most: what was not done in its time is not done twice later.
        self.due = (self.due + self.stretch.due(slots, since)).min(slots as f64);
        while self.due >= 1.0 && Instant::now() < until {
            let count = (self.due as usize).min(SLICE).min(slots - self.at);
            for socket in hub.in_slots(self.at..self.at + count) {
                // First the rank: who is sent one need not be asked whether he is there.
                offer(line, &socket, pace);
                hub.keep_if_near(&socket);
                socket.check_alive();
            }
            self.due -= count as f64;
            self.at += count;
            if self.at >= slots {
                metrics::rank_round(line.sale().id.as_str(), self.began.elapsed());
                (self.at, self.began) = (0, Instant::now());
            }
            // To let others run wakes another thread: not when this was all.
            if self.due >= 1.0 {
                yield_now().await;
            }
        }
    }
}

fn offer(line: &LiveLine, socket: &Arc<Socket>, pace: Option<Pace>) {
    socket.offer_rank(|seq| {
        // Only to look: who changes the board would else wait for what is sent here, on a busy machine for as long as this thread does.
        let live = line.live();
        let (rank, total) = (live.board.rank(seq)?, live.board.len());
        Some((live.position, RankUpdate { rank, total, eta_s: eta_s(rank, pace), at: Instant::now() }))
    });
}

async fn look(hub: &Hub, line: &LiveLine) {
    let mut every = interval(LOOK);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for looks in 0.. {
        every.tick().await;
        gauges(line).await;
        if looks % AUDIT_LOOKS == 0 {
            audit(hub, line, looks).await;
        }
    }
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
            restoring: counts.restoring,
        };
        metrics::sale(line.sale().id.as_str(), &now);
        metrics::journal_waiting(line.sale().id.as_str(), counts.unjournaled);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_far_back_waits_longer_where_the_machine_has_no_more_to_give() {
        let mut stretch = Stretch(1.0);
        // Late once in a while: nobody waits for it.
        for step in 0..1_000 {
            let since = if step % 20 == 0 { 3 * STEP } else { STEP };
            assert!(stretch.step(since) < 1.1);
        }
        for _ in 0..100 {
            stretch.step(3 * STEP);
        }
        assert_eq!(stretch.0, FAR_STRETCH_MAX);
        for _ in 0..500 {
            stretch.step(STEP);
        }
        assert_eq!(stretch.0, 1.0);
    }

    #[test]
    fn a_short_line_is_gone_round_in_time_whatever_the_machine_has() {
        for slots in [2, 1_000] {
            let mut stretch = Stretch(FAR_STRETCH_MAX);
            let due: f64 = (0..10).map(|_| stretch.due(slots, FAR_ROUND / 10)).sum();
            assert!((due - slots as f64).abs() < 0.01, "{due} of {slots}");
        }
        let mut stretch = Stretch(FAR_STRETCH_MAX);
        assert!(stretch.due(100_000, 3 * STEP) < 100_000.0 / (Far::STEPS * (FAR_STRETCH_MAX - 1.0)));
    }
}
