//! Redis marks the grants used and carries the seats to everyone; then the answers go out.

use super::{Redeem, Request};
use crate::{
    domain::{booking::Booking, refusal::Refusal},
    room::Room,
    store::{
        bookings::NewBooking,
        line::{Committed, Fence},
    },
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};

/// Tries to tell Redis of a commit; after that the comparison with PostgreSQL does.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_secs(1);
/// How long an answer waits for Redis to hear of it first: what PostgreSQL has committed is so without it.
const PATIENCE: Duration = Duration::from_millis(250);

/// What Redis must hear of a batch, and who hears of it after that.
pub(super) struct Told {
    pub committed: Vec<Committed>,
    pub unlocked: Vec<Fence>,
    /// PostgreSQL gave no answer: the fences stay until it does.
    pub unheard: Vec<(NewBooking, Fence)>,
    /// Answered after that: what the visitor does next finds the line as his answer says.
    pub answers: Vec<(Request, Result<Booking, Refusal>)>,
    /// A server that leaves waits for it.
    _busy: Arc<()>,
}

impl Told {
    pub fn new(room: &Room) -> Self {
        Self {
            committed: Vec::new(),
            unlocked: Vec::new(),
            unheard: Vec::new(),
            answers: Vec::new(),
            _busy: room.busy(),
        }
    }

    /// Answers without telling Redis.
    pub fn answer(self) {
        self.answers.into_iter().for_each(|(request, result)| answer(request, result));
    }

    pub fn commit(&mut self, redeem: &Redeem, booking: &Booking) {
        self.committed.push(Committed::of(&redeem.visitor, Some(redeem.grant), booking));
    }
}

/// Tells Redis of what was done, and then the visitors. Redis hears of it later if it cannot now.
pub(super) async fn tell(room: &Arc<Room>, mut told: Told) {
    if told.committed.is_empty() && told.unlocked.is_empty() {
        return told.answer();
    }
    let Told { committed, unlocked, answers, .. } = &mut told;
    let result = {
        let mut call = pin!(room.line.bookings(committed, unlocked));
        let soon = timeout(PATIENCE, &mut call).await;
        answers.drain(..).for_each(|(request, result)| answer(request, result));
        match soon {
            Ok(result) => result,
            Err(_) => call.await,
        }
    };
    if let Err(error) = result {
        tracing::warn!(sale = %room.id, "bookings are told to the line later: {error}");
        tokio::spawn(tell_later(room.clone(), told));
    }
}

async fn tell_later(room: Arc<Room>, told: Told) {
    for attempt in 1..TRIES {
        sleep(PAUSE).await;
        match room.line.bookings(&told.committed, &told.unlocked).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(sale = %room.id, attempt, "bookings are told to the line later: {error}");
            }
        }
    }
}

pub(super) fn answer(request: Request, result: Result<Booking, Refusal>) {
    // Who has gone meanwhile finds his booking when he returns.
    let _ = request.reply.send(result);
}
