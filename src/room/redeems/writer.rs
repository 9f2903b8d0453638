//! The writer: it takes the redeems that were fenced while the last commit ran, chooses the seats, and commits them in
//! one transaction. Answers go out after the commit, never before.

use super::{Redeem, Request};
use crate::{
    domain::{
        booking::{Booking, Wish},
        choose::choose,
        ids::{GrantKey, VisitorId},
        refusal::Refusal,
    },
    limits::{LOCK, REDEEMS_MAX},
    room::{Room, settle},
    store::{
        bookings::{NewBooking, Terms, Verdict},
        errors::StoreError,
        line::{Committed, Lock},
    },
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use uuid::Uuid;

/// How long PostgreSQL may take to say what grants have booked.
const SPENT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long seats are chosen anew after the best were lost to another instance. Each round somebody got his seats.
const CHOOSE_PATIENCE: Duration = Duration::from_secs(2);
/// Tries to tell Redis of a commit; after that the comparison with PostgreSQL does.
const TELL_TRIES: u32 = 20;
/// How long an answer waits for Redis to hear of it first: what PostgreSQL has committed is so without it.
const TELL_PATIENCE: Duration = Duration::from_millis(250);

/// A redeem whose grant is fenced.
struct Open {
    request: Request,
    /// Seats that the visitor had booked before.
    owned: u32,
}

/// Writes what was fenced while the last commit ran.
pub(super) async fn write(room: Arc<Room>, mut fenced: mpsc::Receiver<(Request, Lock)>) {
    let mut batch = Vec::with_capacity(REDEEMS_MAX);
    while fenced.recv_many(&mut batch, REDEEMS_MAX).await > 0 {
        renew_old(&room, &batch).await;
        serve(&room, std::mem::take(&mut batch)).await;
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

async fn serve(room: &Arc<Room>, batch: Vec<(Request, Lock)>) {
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
    let mut told = Told::default();
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
    tell(room, told);
}

/// What Redis must hear of a batch, and who hears of it after that.
#[derive(Default)]
struct Told {
    committed: Vec<Committed>,
    unlocked: Vec<(VisitorId, GrantKey)>,
    /// PostgreSQL gave no answer: the fences stay until it does.
    unheard: Vec<NewBooking>,
    /// Answered after that: what the visitor does next finds the line as his answer says.
    answers: Vec<(Request, Result<Booking, Refusal>)>,
}

impl Told {
    fn unlock(&mut self, request: &Request) {
        self.unlocked.push((request.redeem.visitor.clone(), request.redeem.grant));
    }

    fn commit(&mut self, redeem: &Redeem, booking: &Booking) {
        self.committed.push(Committed::of(&redeem.visitor, Some(redeem.grant), booking));
    }
}

/// Chooses seats in order of arrival, none twice. Who gets none goes to `refused`.
fn choose_all(
    room: &Room,
    open: Vec<Open>,
    refused: &mut Vec<(Request, Refusal)>,
    told: &mut Told,
) -> Vec<(Open, NewBooking)> {
    let (mut taken, held) = {
        let seats = room.seats();
        (seats.taken().clone(), seats.any_held())
    };
    let mut chosen = Vec::with_capacity(open.len());
    for one in open {
        let Redeem { wish, visitor, grant } = &one.request.redeem;
        let seats = match wish {
            Err(refusal) => Err(refusal.clone()),
            Ok(wish) if wish.count() > room.max_seats_of(one.owned) as usize => Err(Refusal::TooManySeats),
            Ok(wish) => choose(&room.plan, &taken, held, wish),
        };
        match seats {
            Ok(seats) => {
                seats.iter().for_each(|seat| {
                    taken.insert(*seat);
                });
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
    // A PostgreSQL that hangs must not hang the writer with it.
    let asked = timeout(SPENT_TIMEOUT, room.bookings.by_grants(&grants)).await;
    let found = asked.unwrap_or(Err(StoreError::Timeout("PostgreSQL")));
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

/// Redis marks the grants used and carries the seats to everyone, beside the next batch's work.
fn tell(room: &Arc<Room>, told: Told) {
    let Told { committed, mut unlocked, unheard, mut answers } = told;
    if !unheard.is_empty() {
        tokio::spawn(settle::unheard(room.clone(), unheard));
    }
    let mut answer_all = move || answers.drain(..).for_each(|(request, result)| answer(request, result));
    if committed.is_empty() && unlocked.is_empty() {
        return answer_all();
    }
    let (room, busy) = (room.clone(), room.busy());
    tokio::spawn(async move {
        let _busy = busy;
        for attempt in 0..TELL_TRIES {
            let result = {
                let call = room.line.bookings(&committed, &unlocked);
                tokio::pin!(call);
                let soon = timeout(TELL_PATIENCE, &mut call).await;
                answer_all();
                match soon {
                    Ok(result) => result,
                    Err(_) => call.await,
                }
            };
            match result {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(sale = %room.id, attempt, "bookings are told to the line later: {error}")
                }
            }
            // The next try may have fenced its grant anew: that fence is not this batch's to lift.
            unlocked.clear();
            if committed.is_empty() {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
}

pub(super) fn answer(request: Request, result: Result<Booking, Refusal>) {
    // Who has gone meanwhile finds his booking when he returns.
    let _ = request.reply.send(result);
}
