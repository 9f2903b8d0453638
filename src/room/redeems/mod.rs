//! From a try to spend a grant to its answer. A try that cannot succeed is refused at once; the others are fenced
//! against lapse as they arrive, and one writer a sale and instance commits them.

mod tell;
mod unspent;
mod writer;

use super::Room;
use crate::{
    domain::{
        booking::{Booking, Wish},
        ids::{GrantKey, VisitorId},
        plan::SeatIndex,
        refusal::Refusal,
    },
    limits::{LOCK, REDEEMS_MAX, REDEEMS_QUEUE_MAX},
    metrics,
    store::{errors::StoreError, line::Lock},
};
use futures_util::future::{join, join_all};
use std::{sync::Arc, time::Instant};
use tokio::sync::{mpsc, oneshot};

use tell::{answer, tell};
pub(super) use unspent::Unspent;

/// A try to spend a grant.
#[derive(Clone, Debug)]
pub struct Redeem {
    /// Whose.
    pub visitor: VisitorId,
    /// Which grant.
    pub grant: GrantKey,
    /// For which seats, or why there are no such seats.
    pub wish: Result<Wish, Refusal>,
}

/// Who waits for an answer.
type Reply = oneshot::Sender<Result<Booking, Refusal>>;

/// A redeem and who waits for its answer.
pub(super) struct Request {
    pub redeem: Redeem,
    pub arrived: Instant,
    pub reply: Reply,
}

impl Room {
    /// Tries to spend a grant.
    pub async fn redeem(&self, redeem: Redeem) -> Result<Booking, Refusal> {
        let _busy = self.busy();
        let arrived = Instant::now();
        let Glimpse { shown_free, lost } = self.glimpse(&redeem);
        // Whoever clicks again and again on seats that are gone must not keep the stores from those who book.
        let answer = match lost {
            Some(lost) if self.unspent.contains(redeem.grant) => Err(Refusal::SeatTaken(lost)),
            _ => {
                let (reply, answer) = oneshot::channel();
                match self.redeems.try_send(Request { redeem, arrived, reply }) {
                    Ok(()) => answer.await.unwrap_or(Err(Refusal::Busy)),
                    Err(_) => Err(Refusal::Busy),
                }
            }
        };
        let outcome = answer.as_ref().map_or_else(Refusal::reason, |_| "booked");
        metrics::redeem(self.id.as_str(), outcome, arrived.elapsed());
        if shown_free && matches!(answer, Err(Refusal::SeatTaken(_))) {
            metrics::stale_refusals(self.id.as_str(), 1);
        }
        answer
    }

    /// Before the grant is looked at: a booking of its own ends it there before it takes seats here.
    fn glimpse(&self, redeem: &Redeem) -> Glimpse {
        let Ok(Wish::Seats(wanted)) = &redeem.wish else { return Glimpse::default() };
        let seats = self.seats();
        let lost: Vec<_> = wanted.iter().copied().filter(|seat| seats.taken().contains(*seat)).collect();
        Glimpse { shown_free: seats.shows_free(wanted), lost: (!lost.is_empty()).then_some(lost) }
    }
}

/// How the seats that are wished for stand as a redeem arrives.
#[derive(Default)]
struct Glimpse {
    /// Whether whoever watches was shown them all as free.
    shown_free: bool,
    /// Those that are taken, if any.
    lost: Option<Vec<SeatIndex>>,
}

/// Goes to Redis in rounds, one after the other: each fences the grants of the redeems that have arrived, so that none
/// lapses while the writer is busy, and tells of the batch that the writer has finished. Both go out together, so that
/// Redis writes them to its disk together. What is fenced, or is not, goes on to the writer in order.
pub(super) async fn run(room: Arc<Room>, mut requests: mpsc::Receiver<Request>) {
    let (fenced, to_write) = mpsc::channel(REDEEMS_QUEUE_MAX);
    // Holds no more than was fenced.
    let (done, mut written) = mpsc::unbounded_channel();
    tokio::spawn(writer::write(room.clone(), to_write, done));
    let (mut batch, mut finished) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            received = requests.recv_many(&mut batch, REDEEMS_MAX) => {
                if received == 0 {
                    return;
                }
                while let Ok(told) = written.try_recv() {
                    finished.push(told);
                }
            }
            told = written.recv_many(&mut finished, REDEEMS_MAX) => {
                if told == 0 {
                    tracing::error!(sale = %room.id, "the writer of bookings has ended");
                    return;
                }
                while batch.len() < REDEEMS_MAX && let Ok(request) = requests.try_recv() {
                    batch.push(request);
                }
            }
        }
        let tells = join_all(finished.drain(..).map(|told| tell(&room, told)));
        let (_, locks) = join(tells, lock(&room, &batch)).await;
        match locks {
            Ok(locks) => {
                for one in batch.drain(..).zip(locks) {
                    // Ends only with the room.
                    let _ = fenced.send(one).await;
                }
            }
            Err(error) => {
                tracing::warn!(sale = %room.id, "{} redeems wait: {error}", batch.len());
                batch.drain(..).for_each(|request| answer(request, Err(Refusal::Busy)));
            }
        }
    }
}

async fn lock(room: &Room, batch: &[Request]) -> Result<Vec<Lock>, StoreError> {
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    let grant =
        |r: &Request| (r.redeem.visitor.clone(), r.redeem.grant, r.arrived.elapsed().as_millis() as u64);
    let grants: Vec<_> = batch.iter().map(grant).collect();
    room.line.lock(LOCK.as_millis() as u64, &grants).await
}

/// The writer without the line, for `benches/redeems`: takes every grant for fenced, and tells nobody but who waits. So
/// what the commits cost can be told from what Redis costs.
#[doc(hidden)]
pub async fn write_alone(room: Arc<Room>, mut redeems: mpsc::Receiver<(Redeem, Reply)>) {
    let (fenced, to_write) = mpsc::channel(REDEEMS_QUEUE_MAX);
    let (done, mut written) = mpsc::unbounded_channel();
    tokio::spawn(writer::write(room, to_write, done));
    let feed = async move {
        while let Some((redeem, reply)) = redeems.recv().await {
            let request = Request { redeem, arrived: Instant::now(), reply };
            let _ = fenced.send((request, Lock::Locked { owned: 0, until_ms: 0 })).await;
        }
    };
    let answers = async move {
        while let Some(told) = written.recv().await {
            told.answer();
        }
    };
    join(feed, answers).await;
}
