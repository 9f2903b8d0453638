//! A line that Redis lost is made whole again from the journal: who waits, is kept, has his turn. What has ended stays ended.

use super::{Journaling, Stopped};
use crate::{
    metrics,
    store::{
        errors::StoreError,
        journal::{JournalError, Record, Tail},
        line::{Committed, Lost, Returning, Told},
    },
};
use futures_util::TryStreamExt;
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use wire::domain::{
    booking::{BookingRecord, BookingStatus},
    ids::{GrantKey, Seq, VisitorId},
    journal::Ledger,
    place::Stage,
};

/// Other instances notice the loss within this, and put on record what they heard.
const WITNESSES: Duration = Duration::from_millis(2_500);
/// Places brought back by one call: Redis is busy with it for some milliseconds.
const PLACES_MAX: usize = 500;

/// Restores the line, if `epoch` is a life that follows a lost one; `first` are its first entries. First those go on record, and
/// nobody can add anything to the lives before it any more: so what is restored is all that there is of them, whoever restores it, and
/// however long it takes. Answers the journal's end if this put them there.
pub(super) async fn if_lost(
    journal: &Journaling,
    epoch: u64,
    first: &[Record],
) -> Result<Option<Tail>, Stopped> {
    let line = &journal.line;
    if line.store().restoring().await? != Some(epoch) {
        return Ok(None);
    }
    let began = Instant::now();
    journal.witness(epoch).await;
    sleep(WITNESSES).await;
    let tail = end_lives_before(journal, epoch, first).await?;
    let mut ledger = journal.store.ledger(epoch).await?;
    let unheard = unheard(journal, &ledger).await?;
    let unknown: Vec<_> = unheard
        .iter()
        .filter(|(grant, _)| ledger.place(grant.seq).is_none())
        .map(|(grant, record)| (record.visitor.clone(), grant.seq))
        .collect();
    unheard.iter().for_each(|(grant, _)| ledger.end(grant.seq, Stage::Booked));
    let lost = Lost { epoch, at_ms: ledger.at.max(line.ticked_ms()) };
    know_bookers(journal, &lost).await?;
    let Some(places) = bring_back(journal, &ledger, &lost).await? else { return Ok(Some(tail)) };
    if line.store().restored(&lost, places, &ledger, &unknown).await? {
        let sale = &line.sale().id;
        metrics::restored();
        tracing::warn!(%sale, "epoch {epoch}: {places} places were restored in {:.1?}", began.elapsed());
        tell(journal, &unheard).await;
    }
    Ok(Some(tail))
}

/// Puts the first entries of a life on record, behind all that witnesses have of those before it. Answers the journal's end.
async fn end_lives_before(journal: &Journaling, epoch: u64, first: &[Record]) -> Result<Tail, Stopped> {
    loop {
        let tail = super::lease(journal).await?;
        if tail.position.epoch >= epoch {
            return Ok(tail);
        }
        match super::append(journal, &tail, first).await {
            // A witness was faster. Who does not keep the journal any more hears so with the lease.
            Err(Stopped::Journal(JournalError::NotHolder)) => {}
            ended => return ended,
        }
    }
}

/// Bookings that PostgreSQL has, though nobody journaled that they were made.
async fn unheard(
    journal: &Journaling,
    ledger: &Ledger,
) -> Result<Vec<(GrantKey, BookingRecord)>, StoreError> {
    let bookings = journal.line.bookings();
    let has_booked = |seq| ledger.place(seq).is_some_and(|place| place.stage == Stage::Booked);
    let spent = bookings.spent_grants().await?.into_iter().filter(|grant| !has_booked(grant.seq));
    let spent: Vec<GrantKey> = spent.collect();
    let mut records = bookings.by_grants(&spent).await?;
    let sale = &journal.line.sale().id;
    let record = |grant: GrantKey| Some((grant, records.remove(&grant.grant_id(sale))?));
    Ok(spent.into_iter().filter_map(record).collect())
}

/// They go on record now. Their seats and places are as they should be with or without that.
async fn tell(journal: &Journaling, unheard: &[(GrantKey, BookingRecord)]) {
    let live = unheard.iter().filter(|(_, record)| record.booking.status != BookingStatus::Released);
    let told: Vec<Told> = live
        .map(|(grant, record)| Told::Booking(Committed::of(&record.visitor, Some(*grant), &record.booking)))
        .collect();
    if told.is_empty() {
        return;
    }
    if let Err(error) = journal.line.store().bookings(&told, &[]).await {
        let sale = &journal.line.sale().id;
        tracing::warn!(%sale, "{} bookings are in PostgreSQL and on no record: {error}", told.len());
    }
}

/// Who has booked, and how many seats, is known before any of their places: those may be on no record. Seq 0 stands behind whatever
/// is there.
async fn know_bookers(journal: &Journaling, lost: &Lost) -> Result<(), StoreError> {
    let booker =
        |(visitor, owned)| Returning { visitor, seq: 0, stage: Stage::Booked, turn: 0, owned, grant: None };
    let bookers: Vec<_> = journal.line.bookings().visitors().await?.into_iter().map(booker).collect();
    for some in bookers.chunks(PLACES_MAX) {
        journal.line.store().restore(lost, some).await?;
    }
    Ok(())
}

/// All places, those whose turn it is last: the time that this takes is not theirs. Answers how many; nothing if somebody
/// else has restored the line meanwhile.
async fn bring_back(journal: &Journaling, ledger: &Ledger, lost: &Lost) -> Result<Option<u64>, StoreError> {
    let store = journal.line.store();
    let (mut granted, mut places, mut going_on) = (Vec::new(), 0, true);
    let mut drawn = pin!(journal.store.drawn(PLACES_MAX).await?);
    while let Some(drawn) = drawn.try_next().await?
        && going_on
    {
        let returning = drawn.into_iter().filter_map(|(seq, visitor)| returning(ledger, seq, visitor));
        let (turns, others): (Vec<_>, Vec<_>) = returning.partition(|place| place.grant.is_some());
        granted.extend(turns);
        places += others.len() as u64;
        going_on = store.restore(lost, &others).await?;
    }
    for turns in granted.chunks(PLACES_MAX) {
        going_on = going_on && store.restore(lost, turns).await?;
    }
    Ok(going_on.then_some(places + granted.len() as u64))
}

fn returning(ledger: &Ledger, seq: Seq, visitor: VisitorId) -> Option<Returning> {
    let place = ledger.place(seq)?;
    let (stage, turn, owned, grant) = (place.stage, place.turn, place.owned, ledger.grant(seq));
    Some(Returning { visitor, seq, stage, turn, owned, grant })
}
