//! The writer, of which each instance has one for each sale: it takes all the redeems that were fenced while its last
//! commit ran, chooses their seats, and books them in one transaction. Answers go out after the commit, never before, and
//! nobody is refused a seat before it is somebody else's for good.

use super::{
    Redeem, Redeems, Request,
    tell::{Written, answer},
};
use crate::{
    limits::{FENCE, REDEEMS_MAX},
    store::{
        bookings::{NewBooking, Outcome, Terms},
        line::{Fence, Fenced},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use uuid::Uuid;
use wire::domain::{booking::Wish, hall::Hall, ids::GrantKey, refusal::Refusal};

/// How long seats are chosen anew after the best were lost to another instance. Each time somebody got his seats.
const CHOOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A redeem whose grant is fenced.
struct Open {
    request: Request,
    fence: Fence,
    /// Seats that the visitor had booked before.
    owned: u32,
    /// When another instance first was faster.
    lost_at: Option<Instant>,
}

/// A redeem that gets no seats, unless its grant has booked before.
struct Refused {
    request: Request,
    refusal: Refusal,
    /// Falls with the refusal.
    fence: Option<Fence>,
    /// Whether the line has ended the grant already.
    is_dead: bool,
}

impl Open {
    fn refuse(self, refusal: Refusal) -> Refused {
        Refused { request: self.request, refusal, fence: Some(self.fence), is_dead: false }
    }
}

/// Writes what was fenced; what came of it goes out with the next round to Redis.
pub(super) async fn run(
    redeems: Arc<Redeems>,
    mut fenced: mpsc::Receiver<(Request, Fenced)>,
    done: mpsc::UnboundedSender<Written>,
) {
    let mut waiting = Vec::new();
    let mut arrived = Vec::with_capacity(REDEEMS_MAX);
    loop {
        if !waiting.is_empty() {
            while waiting.len() + arrived.len() < REDEEMS_MAX
                && let Ok(one) = fenced.try_recv()
            {
                arrived.push(one);
            }
        } else if fenced.recv_many(&mut arrived, REDEEMS_MAX).await == 0 {
            return;
        }
        waiting = serve(&redeems, waiting, &mut arrived, &done).await;
    }
}

/// One batch: who waits and who has arrived. Answers who waits for the next.
async fn serve(
    redeems: &Arc<Redeems>,
    mut open: Vec<Open>,
    arrived: &mut Vec<(Request, Fenced)>,
    done: &mpsc::UnboundedSender<Written>,
) -> Vec<Open> {
    let mut refused = Vec::new();
    for (request, fenced) in arrived.drain(..) {
        match fenced {
            Fenced::Yes { owned, until_ms } => {
                let fence = Fence { visitor: request.redeem.visitor.clone(), until_ms };
                open.push(Open { request, fence, owned, lost_at: None });
            }
            // Another try of the same grant is under way, or has booked a moment ago: what came of it is asked for
            // once this batch is written.
            Fenced::Busy => {
                refused.push(Refused { request, refusal: Refusal::Busy, fence: None, is_dead: false })
            }
            Fenced::Dead => {
                let refusal = Refusal::TokenExpired;
                refused.push(Refused { request, refusal, fence: None, is_dead: true });
            }
        }
    }
    renew_old(redeems, &mut open).await;
    let (chosen, mut waiting) = choose_all(redeems, open, &mut refused);
    let mut written = Written::new(redeems);
    // Who lost his seats comes before who only waited to see.
    let mut again = commit(redeems, chosen, &mut refused, &mut written).await;
    again.append(&mut waiting);
    if !written.unheard.is_empty() {
        redeems.settle_unheard(std::mem::take(&mut written.unheard));
    }
    // Both end only with the room.
    let _ = done.send(written);
    if !refused.is_empty() {
        let _ = done.send(answer_spent(redeems, refused).await);
    }
    again
}

/// A fence that has stood for a while, because the writer was busy, is made to last for the commit too.
async fn renew_old(redeems: &Redeems, open: &mut [Open]) {
    let mut old: Vec<_> = open
        .iter_mut()
        .filter(|one| one.request.arrived.elapsed() > FENCE / 4)
        .map(|one| &mut one.fence)
        .collect();
    if old.is_empty() {
        return;
    }
    let mut fences: Vec<Fence> = old.iter().map(|fence| (*fence).clone()).collect();
    match redeems.store.renew(FENCE.as_millis() as u64, &mut fences).await {
        Ok(()) => old.iter_mut().zip(fences).for_each(|(old, new)| **old = new),
        Err(error) => {
            tracing::warn!(sale = %redeems.sale.id, "{} fences were not renewed: {error}", old.len())
        }
    }
}

/// Chooses seats in order of arrival, none twice. Who gets none goes to `refused`; who would get some if it were not for
/// this very batch waits until that is written.
fn choose_all(
    redeems: &Redeems,
    open: Vec<Open>,
    refused: &mut Vec<Refused>,
) -> (Vec<(Open, NewBooking)>, Vec<Open>) {
    let (before, held) = {
        let map = redeems.seats.map();
        (map.hall().clone(), map.any_held())
    };
    let mut hall = before.clone();
    let (mut chosen, mut waiting) = (Vec::with_capacity(open.len()), Vec::new());
    for one in open {
        match choose(redeems, &hall, held, &one) {
            Ok(new) => {
                for seat in &new.seats {
                    hall.take(*seat);
                }
                redeems.unspent.remove(new.grant);
                chosen.push((one, new));
            }
            Err(_) => match choose(redeems, &before, held, &one) {
                Ok(new) => {
                    // Nor does anyone who came later get them meanwhile.
                    for seat in &new.seats {
                        hall.take(*seat);
                    }
                    waiting.push(one);
                }
                Err(refusal) => refused.push(one.refuse(refusal)),
            },
        }
    }
    (chosen, waiting)
}

fn choose(redeems: &Redeems, hall: &Hall, held: bool, one: &Open) -> Result<NewBooking, Refusal> {
    let Redeem { wish, visitor, grant } = &one.request.redeem;
    let wish = wish.as_ref().map_err(Clone::clone)?;
    if wish.count() > redeems.line.max_seats_of(one.owned) as usize {
        return Err(Refusal::TooManySeats);
    }
    let seats = hall.choose(held, wish)?;
    let together = redeems.sale.plan.together(&seats);
    let (visitor, owned) = (visitor.clone(), one.owned);
    Ok(NewBooking { id: Uuid::now_v7(), grant: *grant, visitor, owned, seats, together })
}

/// Commits, and tells what was booked. Answers who may choose anew.
async fn commit(
    redeems: &Redeems,
    chosen: Vec<(Open, NewBooking)>,
    refused: &mut Vec<Refused>,
    written: &mut Written,
) -> Vec<Open> {
    let (open, batch): (Vec<Open>, Vec<NewBooking>) = chosen.into_iter().unzip();
    if batch.is_empty() {
        return Vec::new();
    }
    let settings = redeems.line.settings();
    let terms = Terms { hold_ttl_s: settings.hold_ttl_s, max_seats: settings.max_seats };
    let outcomes = redeems.bookings.commit(&batch, terms).await;
    let mut again = Vec::new();
    for ((mut one, new), outcome) in open.into_iter().zip(batch).zip(outcomes) {
        match outcome {
            Outcome::Booked(booking) => {
                redeems.health.postgres_answered();
                let held = booking.hold_expires_at.is_some();
                redeems.seats.map().book(Some(booking.id), held, &booking.seats);
                written.commit(&one.request.redeem, &booking);
                written.answers.push((one.request, Ok(booking)));
            }
            Outcome::SeatsTaken(seats) => {
                // Another instance has them; its entry in the stream is on its way.
                redeems.unspent.forget();
                redeems.seats.map().book(None, false, &seats);
                let lost_at = *one.lost_at.get_or_insert_with(Instant::now);
                match &one.request.redeem.wish {
                    Ok(Wish::Best { .. }) if lost_at.elapsed() < CHOOSE_PATIENCE => again.push(one),
                    Ok(Wish::Best { .. }) => refused.push(one.refuse(Refusal::Busy)),
                    _ => refused.push(one.refuse(Refusal::SeatTaken(seats))),
                }
            }
            Outcome::TooManySeats => refused.push(one.refuse(Refusal::TooManySeats)),
            // Its fence stays: the grant has booked, or will lapse.
            Outcome::GrantSpent => refused.push(Refused { fence: None, ..one.refuse(Refusal::TokenExpired) }),
            Outcome::NotBooked => {
                written.fallen.push(one.fence);
                written.answers.push((one.request, Err(Refusal::Busy)));
            }
            Outcome::Unknown => {
                written.unheard.push((new, one.fence));
                answer(one.request, Err(Refusal::Busy));
            }
        }
    }
    again
}

/// Before a refusal goes out: a grant that has booked gets its booking, whatever was asked for now.
async fn answer_spent(redeems: &Redeems, refused: Vec<Refused>) -> Written {
    let mut written = Written::new(redeems);
    let grants: Vec<GrantKey> = refused.iter().map(|one| one.request.redeem.grant).collect();
    let found = redeems.bookings.by_grants(&grants).await;
    if let Err(error) = &found {
        tracing::warn!(sale = %redeems.sale.id, "{} redeems wait: {error}", refused.len());
    }
    for Refused { request, refusal, fence, is_dead } in refused {
        written.fallen.extend(fence);
        let Ok(found) = &found else {
            written.answers.push((request, Err(Refusal::Busy)));
            continue;
        };
        let booked = found.get(&request.redeem.grant.grant_id(&redeems.sale.id));
        match booked.filter(|record| record.visitor == request.redeem.visitor) {
            Some(record) => {
                // Redis may not have heard of it: an instance that ended between commit and stream.
                if !is_dead {
                    written.commit(&request.redeem, &record.booking);
                }
                written.answers.push((request, Ok(record.booking.clone())));
            }
            None => {
                // Such a refusal comes only after the fence: the grant lives.
                if matches!(refusal, Refusal::SeatTaken(_)) {
                    redeems.unspent.insert(request.redeem.grant);
                }
                written.answers.push((request, Err(refusal)));
            }
        }
    }
    written
}
