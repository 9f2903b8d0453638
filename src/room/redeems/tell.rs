//! After a batch is written: the line hears of it, then the visitors hear their answers.

use super::{Redeem, Redeems, Request};
use crate::store::{
    bookings::NewBooking,
    line::{Committed, Fence, Told},
};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::timeout;
use wire::domain::{booking::Booking, refusal::Refusal};

/// How long an answer waits for Redis to hear of it first: what PostgreSQL has committed is so without it.
const PATIENCE: Duration = Duration::from_millis(250);

/// A batch that was written: what Redis must hear of it, and who hears of it after that.
pub(super) struct Written {
    pub told: Vec<Told>,
    /// The fences of tries that came to nothing.
    pub fallen: Vec<Fence>,
    /// PostgreSQL gave no answer: the fences stay until it does.
    pub unheard: Vec<(NewBooking, Fence)>,
    /// Answered after that: what the visitor does next finds the line as his answer says.
    pub answers: Vec<(Request, Result<Booking, Refusal>)>,
    /// A server that leaves waits for it.
    _busy: Arc<()>,
}

impl Written {
    pub fn new(redeems: &Redeems) -> Self {
        let (told, fallen, unheard, answers) = Default::default();
        Self { told, fallen, unheard, answers, _busy: redeems.outbox.busy() }
    }

    /// Answers without telling Redis.
    pub fn answer(self) {
        self.answers.into_iter().for_each(|(request, result)| answer(request, result));
    }

    pub fn commit(&mut self, redeem: &Redeem, booking: &Booking) {
        let committed = Committed::of(&redeem.visitor, Some(redeem.grant), booking);
        self.told.push(Told::Booking(committed));
    }
}

impl Redeems {
    /// Tells Redis of what was written, and then the visitors. Redis hears of it later if it cannot now.
    pub(super) async fn tell(self: &Arc<Self>, mut written: Written) {
        if written.told.is_empty() && written.fallen.is_empty() {
            return written.answer();
        }
        let Written { told, fallen, answers, .. } = &mut written;
        let result = {
            let mut call = pin!(self.store.bookings(told, fallen));
            let soon = timeout(PATIENCE, &mut call).await;
            answers.drain(..).for_each(|(request, result)| answer(request, result));
            match soon {
                Ok(result) => result,
                Err(_) => call.await,
            }
        };
        if let Err(error) = result {
            tracing::warn!(sale = %self.sale.id, "bookings are told to the line later: {error}");
            self.post(written.told, written.fallen);
        }
    }

    /// Tells the line until it has heard.
    pub(super) fn post(self: &Arc<Self>, told: Vec<Told>, fallen: Vec<Fence>) {
        let (this, news) = (self.clone(), Arc::new((told, fallen)));
        self.outbox.post("bookings", move || {
            let (this, news) = (this.clone(), news.clone());
            async move { this.store.bookings(&news.0, &news.1).await }
        });
    }
}

pub(super) fn answer(request: Request, result: Result<Booking, Refusal>) {
    // Who has gone meanwhile finds his booking when he returns.
    let _ = request.reply.send(result);
}
