//! The writer: it takes the redeems that were fenced while the last commit ran, chooses the seats, and commits them in
//! one transaction. Answers go out after the commit, never before.

use super::{
    Redeem, Request,
    tell::{Told, answer},
};
use crate::{
    domain::{booking::Wish, ids::GrantKey, refusal::Refusal},
    limits::{LOCK, REDEEMS_MAX},
    room::{Room, settle},
    store::{
        bookings::{NewBooking, Terms, Verdict},
        line::Lock,
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;
use uuid::Uuid;

/// How long seats are chosen anew after the best were lost to another instance. Each round somebody got his seats.
const CHOOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A redeem whose grant is fenced.
struct Open {
    request: Request,
    /// Seats that the visitor had booked before.
    owned: u32,
}

/// Writes what was fenced while the last commit ran; what came of it goes out with the next round to Redis.
pub(super) async fn write(
    room: Arc<Room>,
    mut fenced: mpsc::Receiver<(Request, Lock)>,
    done: mpsc::UnboundedSender<Told>,
) {
    let mut batch = Vec::with_capacity(REDEEMS_MAX);
    while fenced.recv_many(&mut batch, REDEEMS_MAX).await > 0 {
        renew_old(&room, &batch).await;
        let mut told = serve(&room, std::mem::take(&mut batch)).await;
        if !told.unheard.is_empty() {
            tokio::spawn(settle::unheard(room.clone(), std::mem::take(&mut told.unheard)));
        }
        // Ends only with the room.
        let _ = done.send(told);
    }
}

/// A fence that has stood for a while, because the writer was busy, is made to last for the commit too.
async fn renew_old(room: &Room, batch: &[(Request, Lock)]) {
    // Only our own fences: `Busy` means that this one is someone else's.
    let is_old = |(request, lock): &&(Request, Lock)| {
        matches!(lock, Lock::Locked { .. }) && request.arrived.elapsed() > LOCK / 4
    };
    let old: Vec<_> =
        batch.iter().filter(is_old).map(|(r, _)| (r.redeem.visitor.clone(), r.redeem.grant)).collect();
    if !old.is_empty()
        && let Err(error) = room.line.renew(LOCK.as_millis() as u64, &old).await
    {
        tracing::warn!(sale = %room.id, "{} fences were not renewed: {error}", old.len());
    }
}

async fn serve(room: &Room, batch: Vec<(Request, Lock)>) -> Told {
    let (mut open, mut dead) = (Vec::new(), Vec::new());
    for (request, lock) in batch {
        match lock {
            Lock::Locked { owned } => open.push(Open { request, owned }),
            // Another try of the same grant is under way, or has booked a moment ago: what came of it is asked for
            // once this batch is written.
            Lock::Busy => dead.push((request, Refusal::Busy)),
            Lock::Dead => dead.push((request, Refusal::TokenExpired)),
        }
    }
    let mut told = Told::new(room);
    let started = Instant::now();
    while !open.is_empty() && started.elapsed() < CHOOSE_PATIENCE {
        let chosen = choose_all(room, open, &mut dead, &mut told);
        open = commit(room, chosen, &mut dead, &mut told).await;
    }
    for Open { request, .. } in open {
        told.unlock(&request);
        told.answers.push((request, Err(Refusal::Busy)));
    }
    answer_spent(room, dead, &mut told).await;
    told
}

/// Chooses seats in order of arrival, none twice. Who gets none goes to `refused`.
fn choose_all(
    room: &Room,
    open: Vec<Open>,
    refused: &mut Vec<(Request, Refusal)>,
    told: &mut Told,
) -> Vec<(Open, NewBooking)> {
    let (mut hall, held) = {
        let seats = room.seats();
        (seats.hall().clone(), seats.any_held())
    };
    let mut chosen = Vec::with_capacity(open.len());
    for one in open {
        let Redeem { wish, visitor, grant } = &one.request.redeem;
        let seats = match wish {
            Err(refusal) => Err(refusal.clone()),
            Ok(wish) if wish.count() > room.max_seats_of(one.owned) as usize => Err(Refusal::TooManySeats),
            Ok(wish) => hall.choose(held, wish),
        };
        match seats {
            Ok(seats) => {
                for seat in &seats {
                    hall.take(*seat);
                }
                room.unspent.remove(*grant);
                let together = room.plan.together(&seats);
                let new = NewBooking {
                    id: Uuid::now_v7(),
                    grant: *grant,
                    visitor: visitor.clone(),
                    owned: one.owned,
                    seats,
                    together,
                };
                chosen.push((one, new));
            }
            Err(refusal) => {
                told.unlock(&one.request);
                refused.push((one.request, refusal));
            }
        }
    }
    chosen
}

/// Commits and answers what was booked. Answers those who lost seats that they may replace by others.
async fn commit(
    room: &Room,
    chosen: Vec<(Open, NewBooking)>,
    refused: &mut Vec<(Request, Refusal)>,
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
    for ((one, new), verdict) in open.into_iter().zip(batch).zip(verdicts) {
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
                room.seats().book("", false, &seats);
                if matches!(one.request.redeem.wish, Ok(Wish::Best { .. })) {
                    again.push(one);
                } else {
                    told.unlock(&one.request);
                    refused.push((one.request, Refusal::SeatTaken(seats)));
                }
            }
            Verdict::TooManySeats => {
                told.unlock(&one.request);
                refused.push((one.request, Refusal::TooManySeats));
            }
            Verdict::GrantSpent => refused.push((one.request, Refusal::TokenExpired)),
            Verdict::NotBooked => {
                told.unlock(&one.request);
                told.answers.push((one.request, Err(Refusal::Busy)));
            }
            Verdict::Unknown => {
                told.unheard.push(new);
                answer(one.request, Err(Refusal::Busy));
            }
        }
    }
    again
}

/// Before a refusal goes out: a grant that has booked gets its booking, whatever was asked for now.
async fn answer_spent(room: &Room, refused: Vec<(Request, Refusal)>, told: &mut Told) {
    if refused.is_empty() {
        return;
    }
    let grants: Vec<GrantKey> = refused.iter().map(|(request, _)| request.redeem.grant).collect();
    let found = room.bookings.by_grants(&grants).await;
    if let Err(error) = &found {
        tracing::warn!(sale = %room.id, "{} redeems wait: {error}", refused.len());
    }
    for (request, refusal) in refused {
        let booked = match &found {
            Ok(found) => found.get(&request.redeem.grant.grant_id(&room.id)),
            Err(_) => {
                answer(request, Err(Refusal::Busy));
                continue;
            }
        };
        match booked.filter(|owned| owned.visitor == request.redeem.visitor) {
            Some(owned) => {
                // Redis may not have heard of it: an instance that ended between commit and stream.
                told.commit(&request.redeem, &owned.booking);
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
}
