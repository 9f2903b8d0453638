//! The writer: it takes the redeems that were fenced while the last commit ran, chooses the seats, and commits them in
//! one transaction. Answers go out after the commit, never before, and nobody is refused a seat before it is somebody
//! else's for good.

use super::{
    Redeem, Request,
    tell::{Told, answer},
};
use crate::{
    domain::{booking::Wish, hall::Hall, ids::GrantKey, refusal::Refusal},
    limits::{LOCK, REDEEMS_MAX},
    room::{Room, settle},
    store::{
        bookings::{NewBooking, Terms, Verdict},
        line::{Fence, Lock},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use uuid::Uuid;

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
pub(super) async fn write(
    room: Arc<Room>,
    mut fenced: mpsc::Receiver<(Request, Lock)>,
    done: mpsc::UnboundedSender<Told>,
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
        waiting = serve(&room, waiting, &mut arrived, &done).await;
    }
}

/// One batch: who waits and who has arrived. Answers who waits for the next.
async fn serve(
    room: &Arc<Room>,
    mut open: Vec<Open>,
    arrived: &mut Vec<(Request, Lock)>,
    done: &mpsc::UnboundedSender<Told>,
) -> Vec<Open> {
    let mut refused = Vec::new();
    for (request, lock) in arrived.drain(..) {
        match lock {
            Lock::Locked { owned, until_ms } => {
                let fence = Fence { visitor: request.redeem.visitor.clone(), until_ms };
                open.push(Open { request, fence, owned, lost_at: None });
            }
            // Another try of the same grant is under way, or has booked a moment ago: what came of it is asked for
            // once this batch is written.
            Lock::Busy => {
                refused.push(Refused { request, refusal: Refusal::Busy, fence: None, is_dead: false })
            }
            Lock::Dead => {
                let refusal = Refusal::TokenExpired;
                refused.push(Refused { request, refusal, fence: None, is_dead: true });
            }
        }
    }
    renew_old(room, &mut open).await;
    let (chosen, mut waiting) = choose_all(room, open, &mut refused);
    let mut told = Told::new(room);
    // Who lost his seats comes before who only waited to see.
    let mut again = commit(room, chosen, &mut refused, &mut told).await;
    again.append(&mut waiting);
    if !told.unheard.is_empty() {
        tokio::spawn(settle::unheard(room.clone(), std::mem::take(&mut told.unheard)));
    }
    // Both end only with the room.
    let _ = done.send(told);
    if !refused.is_empty() {
        let _ = done.send(answer_spent(room, refused).await);
    }
    again
}

/// A fence that has stood for a while, because the writer was busy, is made to last for the commit too.
async fn renew_old(room: &Room, open: &mut [Open]) {
    let mut old: Vec<_> = open
        .iter_mut()
        .filter(|one| one.request.arrived.elapsed() > LOCK / 4)
        .map(|one| &mut one.fence)
        .collect();
    if old.is_empty() {
        return;
    }
    let mut fences: Vec<Fence> = old.iter().map(|fence| (*fence).clone()).collect();
    match room.line.renew(LOCK.as_millis() as u64, &mut fences).await {
        Ok(()) => old.iter_mut().zip(fences).for_each(|(old, new)| **old = new),
        Err(error) => tracing::warn!(sale = %room.id, "{} fences were not renewed: {error}", old.len()),
    }
}

/// Chooses seats in order of arrival, none twice. Who gets none goes to `refused`; who would get some if it were not for
/// this very batch waits until that is written.
fn choose_all(
    room: &Room,
    open: Vec<Open>,
    refused: &mut Vec<Refused>,
) -> (Vec<(Open, NewBooking)>, Vec<Open>) {
    let (before, held) = {
        let seats = room.seats();
        (seats.hall().clone(), seats.any_held())
    };
    let mut hall = before.clone();
    let (mut chosen, mut waiting) = (Vec::with_capacity(open.len()), Vec::new());
    for one in open {
        match choose(room, &hall, held, &one) {
            Ok(new) => {
                for seat in &new.seats {
                    hall.take(*seat);
                }
                room.unspent.remove(new.grant);
                chosen.push((one, new));
            }
            Err(_) => match choose(room, &before, held, &one) {
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

fn choose(room: &Room, hall: &Hall, held: bool, one: &Open) -> Result<NewBooking, Refusal> {
    let Redeem { wish, visitor, grant } = &one.request.redeem;
    let wish = wish.as_ref().map_err(Clone::clone)?;
    if wish.count() > room.max_seats_of(one.owned) as usize {
        return Err(Refusal::TooManySeats);
    }
    let seats = hall.choose(held, wish)?;
    let together = room.plan.together(&seats);
    let (visitor, owned) = (visitor.clone(), one.owned);
    Ok(NewBooking { id: Uuid::now_v7(), grant: *grant, visitor, owned, seats, together })
}

/// Commits, and tells what was booked. Answers who may choose anew.
async fn commit(
    room: &Room,
    chosen: Vec<(Open, NewBooking)>,
    refused: &mut Vec<Refused>,
    told: &mut Told,
) -> Vec<Open> {
    let (open, batch): (Vec<Open>, Vec<NewBooking>) = chosen.into_iter().unzip();
    if batch.is_empty() {
        return Vec::new();
    }
    let settings = room.settings();
    let terms = Terms { hold_ttl_s: settings.hold_ttl_s, max_seats: settings.max_seats };
    let verdicts = room.bookings.commit(&batch, terms).await;
    let mut again = Vec::new();
    for ((mut one, new), verdict) in open.into_iter().zip(batch).zip(verdicts) {
        match verdict {
            Verdict::Booked(booking) => {
                room.health.postgres_answered();
                let held = booking.hold_expires_at.is_some();
                room.seats().book(&booking.id.to_string(), held, &booking.seats);
                told.commit(&one.request.redeem, &booking);
                told.answers.push((one.request, Ok(booking)));
            }
            Verdict::SeatsTaken(seats) => {
                // Another instance has them; its entry in the stream is on its way.
                room.unspent.forget();
                room.seats().book("", false, &seats);
                let lost_at = *one.lost_at.get_or_insert_with(Instant::now);
                match &one.request.redeem.wish {
                    Ok(Wish::Best { .. }) if lost_at.elapsed() < CHOOSE_PATIENCE => again.push(one),
                    Ok(Wish::Best { .. }) => refused.push(one.refuse(Refusal::Busy)),
                    _ => refused.push(one.refuse(Refusal::SeatTaken(seats))),
                }
            }
            Verdict::TooManySeats => refused.push(one.refuse(Refusal::TooManySeats)),
            // Its fence stays: the grant has booked, or will lapse.
            Verdict::GrantSpent => refused.push(Refused { fence: None, ..one.refuse(Refusal::TokenExpired) }),
            Verdict::NotBooked => {
                told.unlocked.push(one.fence);
                told.answers.push((one.request, Err(Refusal::Busy)));
            }
            Verdict::Unknown => {
                told.unheard.push((new, one.fence));
                answer(one.request, Err(Refusal::Busy));
            }
        }
    }
    again
}

/// Before a refusal goes out: a grant that has booked gets its booking, whatever was asked for now.
async fn answer_spent(room: &Room, refused: Vec<Refused>) -> Told {
    let mut told = Told::new(room);
    let grants: Vec<GrantKey> = refused.iter().map(|one| one.request.redeem.grant).collect();
    let found = room.bookings.by_grants(&grants).await;
    if let Err(error) = &found {
        tracing::warn!(sale = %room.id, "{} redeems wait: {error}", refused.len());
    }
    for Refused { request, refusal, fence, is_dead } in refused {
        told.unlocked.extend(fence);
        let Ok(found) = &found else {
            told.answers.push((request, Err(Refusal::Busy)));
            continue;
        };
        let booked = found.get(&request.redeem.grant.grant_id(&room.id));
        match booked.filter(|owned| owned.visitor == request.redeem.visitor) {
            Some(owned) => {
                // Redis may not have heard of it: an instance that ended between commit and stream.
                if !is_dead {
                    told.commit(&request.redeem, &owned.booking);
                }
                told.answers.push((request, Ok(owned.booking.clone())));
            }
            None => {
                // Such a refusal comes only after the fence: the grant lives.
                if matches!(refusal, Refusal::SeatTaken(_)) {
                    room.unspent.insert(request.redeem.grant);
                }
                told.answers.push((request, Err(refusal)));
            }
        }
    }
    told
}
