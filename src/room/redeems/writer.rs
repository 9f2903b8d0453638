//! The writer: it takes the redeems that were fenced while the last commits ran, chooses the seats, and commits them in
//! one transaction. While one commit waits for the disk the next is under way. Answers go out after the commit, never
//! before, and nobody is refused a seat before it is somebody else's for good.

use super::{
    Redeem, Request,
    tell::{Told, answer},
};
use crate::{
    domain::{booking::Wish, hall::Hall, ids::GrantKey, plan::SeatIndex, refusal::Refusal},
    limits::{COMMITS_MAX, LOCK, REDEEMS_MAX},
    room::{Room, settle},
    store::{
        bookings::{NewBooking, Terms, Verdict},
        line::Lock,
    },
};
use std::{
    collections::{HashSet, VecDeque},
    future,
    sync::Arc,
    time::Duration,
};
use tokio::{sync::mpsc, task::JoinHandle};
use uuid::Uuid;

/// How long seats are chosen anew after the best were lost to another instance. Each time somebody got his seats.
const CHOOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A redeem whose grant is fenced.
struct Open {
    request: Request,
    /// Seats that the visitor had booked before.
    owned: u32,
}

/// A batch that is being committed.
struct Batch {
    open: Vec<Open>,
    new: Arc<Vec<NewBooking>>,
    /// A verdict for each.
    verdicts: JoinHandle<Vec<Verdict>>,
    refused: Vec<(Request, Refusal)>,
    told: Told,
}

struct Writer {
    room: Arc<Room>,
    done: mpsc::UnboundedSender<Told>,
    /// In the order in which they began, and in which they are answered.
    commits: VecDeque<Batch>,
    /// Seats of these.
    in_flight: HashSet<SeatIndex>,
    /// Redeems that want seats in flight: whose they are is known when the commit has ended.
    waiting: Vec<Open>,
}

/// Writes what was fenced; what came of it goes out with the next round to Redis.
pub(super) async fn write(
    room: Arc<Room>,
    mut fenced: mpsc::Receiver<(Request, Lock)>,
    done: mpsc::UnboundedSender<Told>,
) {
    let (commits, in_flight) = (VecDeque::with_capacity(COMMITS_MAX), HashSet::new());
    let mut writer = Writer { room, done, commits, in_flight, waiting: Vec::new() };
    let mut arrived = Vec::with_capacity(REDEEMS_MAX);
    loop {
        let has_room = writer.commits.len() < COMMITS_MAX && writer.waiting.len() < REDEEMS_MAX;
        tokio::select! {
            biased;
            verdicts = first_commit(&mut writer.commits) => writer.finish(verdicts).await,
            received = fenced.recv_many(&mut arrived, REDEEMS_MAX), if has_room => {
                if received == 0 {
                    return;
                }
                renew_old(&writer.room, &arrived).await;
                writer.start(std::mem::take(&mut arrived)).await;
            }
        }
    }
}

/// The verdicts of the oldest commit; never, if there is none.
async fn first_commit(commits: &mut VecDeque<Batch>) -> Vec<Verdict> {
    let Some(Batch { verdicts, new, .. }) = commits.front_mut() else { return future::pending().await };
    // A commit that has panicked is one that nobody has heard of.
    verdicts.await.unwrap_or_else(|_| vec![Verdict::Unknown; new.len()])
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

impl Writer {
    async fn start(&mut self, fenced: Vec<(Request, Lock)>) {
        let (mut open, mut refused) = (std::mem::take(&mut self.waiting), Vec::new());
        for (request, lock) in fenced {
            match lock {
                Lock::Locked { owned } => open.push(Open { request, owned }),
                // Another try of the same grant is under way, or has booked a moment ago: what came of it is asked for
                // once this batch is written.
                Lock::Busy => refused.push((request, Refusal::Busy)),
                Lock::Dead => refused.push((request, Refusal::TokenExpired)),
            }
        }
        let mut told = Told::new(&self.room);
        let (open, new): (Vec<_>, Vec<_>) =
            self.choose_all(open, &mut refused, &mut told).into_iter().unzip();
        if self.commits.is_empty() && new.is_empty() {
            return self.close(refused, told).await;
        }
        let settings = self.room.settings();
        let terms = Terms { hold_ttl_s: settings.hold_ttl_s, max_seats: settings.max_seats };
        let (room, new) = (self.room.clone(), Arc::new(new));
        let batch = new.clone();
        let verdicts = tokio::spawn(async move {
            if batch.is_empty() { Vec::new() } else { room.bookings.commit(&batch, terms).await }
        });
        self.commits.push_back(Batch { open, new, verdicts, refused, told });
    }

    /// Chooses seats in order of arrival, none twice. Who gets none for good goes to `refused`.
    fn choose_all(
        &mut self,
        open: Vec<Open>,
        refused: &mut Vec<(Request, Refusal)>,
        told: &mut Told,
    ) -> Vec<(Open, NewBooking)> {
        let (mut hall, held) = {
            let seats = self.room.seats();
            (seats.hall().clone(), seats.any_held())
        };
        for seat in &self.in_flight {
            hall.take(*seat);
        }
        let mut chosen = Vec::with_capacity(open.len());
        for one in open {
            match self.choose(&hall, held, &one) {
                Ok(new) => {
                    for seat in &new.seats {
                        hall.take(*seat);
                        self.in_flight.insert(*seat);
                    }
                    self.room.unspent.remove(new.grant);
                    chosen.push((one, new));
                }
                Err(Some(refusal)) => {
                    told.unlock(&one.request);
                    refused.push((one.request, refusal));
                }
                Err(None) => self.waiting.push(one),
            }
        }
        chosen
    }

    /// The seats for one redeem, or why it gets none; no reason yet, if that hangs on a commit under way.
    fn choose(&self, hall: &Hall, held: bool, one: &Open) -> Result<NewBooking, Option<Refusal>> {
        let Redeem { wish, visitor, grant } = &one.request.redeem;
        let wish = wish.as_ref().map_err(|refusal| Some(refusal.clone()))?;
        if wish.count() > self.room.max_seats_of(one.owned) as usize {
            return Err(Some(Refusal::TooManySeats));
        }
        let seats = hall.choose(held, wish).map_err(|refusal| match refusal {
            Refusal::SeatTaken(mut lost) => {
                lost.retain(|seat| !self.in_flight.contains(seat));
                (!lost.is_empty()).then_some(Refusal::SeatTaken(lost))
            }
            Refusal::NoSeatsTogether | Refusal::SoldOut if !self.in_flight.is_empty() => None,
            other => Some(other),
        })?;
        let together = self.room.plan.together(&seats);
        let (visitor, owned) = (visitor.clone(), one.owned);
        Ok(NewBooking { id: Uuid::now_v7(), grant: *grant, visitor, owned, seats, together })
    }

    /// The oldest commit has ended: what was booked, and what is to be chosen anew.
    async fn finish(&mut self, verdicts: Vec<Verdict>) {
        let Some(Batch { open, new, mut refused, mut told, .. }) = self.commits.pop_front() else { return };
        let mut again = Vec::new();
        for ((one, new), verdict) in open.into_iter().zip(new.iter()).zip(verdicts) {
            for seat in &new.seats {
                self.in_flight.remove(seat);
            }
            again.extend(apply(&self.room, one, new, verdict, &mut refused, &mut told));
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        self.close(refused, told).await;
        if !self.waiting.is_empty() {
            self.start(Vec::new()).await;
        }
    }

    async fn close(&self, refused: Vec<(Request, Refusal)>, mut told: Told) {
        answer_spent(&self.room, refused, &mut told).await;
        if !told.unheard.is_empty() {
            tokio::spawn(settle::unheard(self.room.clone(), std::mem::take(&mut told.unheard)));
        }
        // Ends only with the room.
        let _ = self.done.send(told);
    }
}

/// What PostgreSQL said to one booking. Answers who may choose anew.
fn apply(
    room: &Room,
    one: Open,
    new: &NewBooking,
    verdict: Verdict,
    refused: &mut Vec<(Request, Refusal)>,
    told: &mut Told,
) -> Option<Open> {
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
            let chooses = matches!(one.request.redeem.wish, Ok(Wish::Best { .. }));
            if chooses && one.request.arrived.elapsed() < CHOOSE_PATIENCE {
                return Some(one);
            }
            told.unlock(&one.request);
            let refusal = if chooses { Refusal::Busy } else { Refusal::SeatTaken(seats) };
            refused.push((one.request, refusal));
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
            told.unheard.push(new.clone());
            answer(one.request, Err(Refusal::Busy));
        }
    }
    None
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
