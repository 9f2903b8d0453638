//! From a try to spend a grant to its answer. A try that cannot succeed is refused at once. The grants of the others are
//! fenced against lapse as they arrive; a writer, of which each instance has one for each sale, books their seats.

mod tell;
mod unheard;
mod unspent;
mod writer;

use super::{Parts, Queue, health::Health, line::LiveLine, outbox::Outbox, seats::Seats};
use crate::{
    limits::{FENCE, REDEEMS_MAX, REDEEMS_QUEUE_MAX},
    metrics,
    store::{
        bookings::Bookings,
        errors::StoreError,
        line::{Fenced, Line},
    },
};
use futures_util::future::{join, join_all};
use std::{sync::Arc, time::Instant};
use tokio::sync::{mpsc, oneshot};
use wire::domain::{
    booking::{Booking, Wish},
    ids::{GrantKey, VisitorId},
    plan::SeatIndex,
    refusal::Refusal,
    sale::Sale,
};

use tell::answer;
use unspent::Unspent;

/// The redeems of one sale on this instance.
pub struct Redeems {
    sale: Arc<Sale>,
    queue: mpsc::Sender<Request>,
    pub(super) unspent: Unspent,
    /// Held while redeems of instances that have ended are settled.
    settling: tokio::sync::Mutex<()>,
    line: Arc<LiveLine>,
    seats: Arc<Seats>,
    store: Line,
    bookings: Bookings,
    outbox: Outbox,
    health: Arc<Health>,
}

/// Tries that wait to be served.
pub(super) type Tried = mpsc::Receiver<Request>;

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

impl Redeems {
    pub(super) fn new(
        sale: &Arc<Sale>,
        line: &Arc<LiveLine>,
        seats: &Arc<Seats>,
        store: Line,
        outbox: Outbox,
        parts: &Parts,
    ) -> (Self, Tried) {
        let (queue, tried) = mpsc::channel(REDEEMS_QUEUE_MAX);
        let redeems = Self {
            sale: sale.clone(),
            queue,
            unspent: Unspent::default(),
            settling: tokio::sync::Mutex::default(),
            line: line.clone(),
            seats: seats.clone(),
            store,
            bookings: parts.bookings.clone(),
            outbox,
            health: parts.health.clone(),
        };
        (redeems, tried)
    }

    /// Tries to spend a grant.
    #[tracing::instrument(level = "debug", skip_all, fields(sale = %self.sale.id))]
    pub async fn redeem(&self, redeem: Redeem) -> Result<Booking, Refusal> {
        let _busy = self.outbox.busy();
        let arrived = Instant::now();
        let Glimpse { shown_free, lost } = self.glimpse(&redeem);
        // Whoever clicks again and again on seats that are gone must not keep the stores from those who book.
        let answer = match lost {
            Some(lost) if self.unspent.contains(redeem.grant) => Err(Refusal::SeatTaken(lost)),
            _ => {
                let (reply, answer) = oneshot::channel();
                match self.queue.try_send(Request { redeem, arrived, reply }) {
                    Ok(()) => answer.await.unwrap_or(Err(Refusal::Busy)),
                    Err(_) => Err(Refusal::Busy),
                }
            }
        };
        let outcome = answer.as_ref().map_or_else(Refusal::reason, |_| "booked");
        metrics::redeem(self.sale.id.as_str(), outcome, arrived.elapsed());
        if shown_free && matches!(answer, Err(Refusal::SeatTaken(_))) {
            metrics::stale_refusals(self.sale.id.as_str(), 1);
        }
        answer
    }

    /// Before the grant is looked at: a booking of its own ends it there before it takes seats here.
    fn glimpse(&self, redeem: &Redeem) -> Glimpse {
        let Ok(Wish::Seats(wanted)) = &redeem.wish else { return Glimpse::default() };
        let map = self.seats.map();
        let lost: Vec<_> = wanted.iter().copied().filter(|seat| map.taken().contains(*seat)).collect();
        Glimpse { shown_free: map.shows_free(wanted), lost: (!lost.is_empty()).then_some(lost) }
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
pub(super) async fn run(redeems: Arc<Redeems>, requests: Queue<Tried>) {
    let mut requests = requests.lock().await;
    let (fenced, to_write) = mpsc::channel(REDEEMS_QUEUE_MAX);
    // Holds no more than was fenced.
    let (done, mut written) = mpsc::unbounded_channel();
    tokio::spawn(writer::run(redeems.clone(), to_write, done));
    let (mut batch, mut finished) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            received = requests.recv_many(&mut batch, REDEEMS_MAX) => {
                if received == 0 {
                    return;
                }
                while let Ok(one) = written.try_recv() {
                    finished.push(one);
                }
            }
            received = written.recv_many(&mut finished, REDEEMS_MAX) => {
                if received == 0 {
                    tracing::error!(sale = %redeems.sale.id, "the writer of bookings has ended");
                    return;
                }
                while batch.len() < REDEEMS_MAX && let Ok(request) = requests.try_recv() {
                    batch.push(request);
                }
            }
        }
        let tells = join_all(finished.drain(..).map(|written| redeems.tell(written)));
        let (_, answers) = join(tells, redeems.fence(&batch)).await;
        match answers {
            Ok(answers) => {
                for one in batch.drain(..).zip(answers) {
                    // Ends only with the room.
                    let _ = fenced.send(one).await;
                }
            }
            Err(error) => {
                tracing::warn!(sale = %redeems.sale.id, "{} redeems wait: {error}", batch.len());
                batch.drain(..).for_each(|request| answer(request, Err(Refusal::Busy)));
            }
        }
    }
}

impl Redeems {
    async fn fence(&self, batch: &[Request]) -> Result<Vec<Fenced>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let grant =
            |r: &Request| (r.redeem.visitor.clone(), r.redeem.grant, r.arrived.elapsed().as_millis() as u64);
        let grants: Vec<_> = batch.iter().map(grant).collect();
        self.store.fence(FENCE.as_millis() as u64, &grants).await
    }
}

/// The writer without the line, for `benches/redeems`: takes every grant for fenced, and tells nobody but who waits. So
/// what the commits cost can be told from what Redis costs.
#[doc(hidden)]
pub async fn write_alone(redeems: Arc<Redeems>, mut tries: mpsc::Receiver<(Redeem, Reply)>) {
    let (fenced, to_write) = mpsc::channel(REDEEMS_QUEUE_MAX);
    let (done, mut written) = mpsc::unbounded_channel();
    tokio::spawn(writer::run(redeems, to_write, done));
    let feed = async move {
        while let Some((redeem, reply)) = tries.recv().await {
            let request = Request { redeem, arrived: Instant::now(), reply };
            let _ = fenced.send((request, Fenced::Yes { owned: 0, until_ms: 0 })).await;
        }
    };
    let answers = async move {
        while let Some(one) = written.recv().await {
            one.answer();
        }
    };
    join(feed, answers).await;
}
