//! A line that Redis lost is made whole again from the journal: who waits, is kept, has his turn. What has ended stays ended.

use super::{Journaling, Stopped};
use crate::{
    metrics,
    store::{
        errors::StoreError,
        line::{Lost, Returning},
    },
};
use futures_util::TryStreamExt;
use std::{
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use wire::domain::{
    ids::{GrantKey, Seq, VisitorId},
    journal::Ledger,
    place::Stage,
};

/// Other instances notice the loss within this, and put on record what they heard.
const WITNESSES: Duration = Duration::from_millis(2_500);
/// Places brought back by one call: Redis is busy with it for some milliseconds.
const PLACES_MAX: usize = 2_000;

/// Restores the line, if `epoch` is a life that follows a lost one.
pub(super) async fn if_lost(journal: &Journaling, epoch: u64) -> Result<(), Stopped> {
    let line = &journal.line;
    if line.store().restoring().await? != Some(epoch) {
        return Ok(());
    }
    let began = Instant::now();
    journal.witness(epoch).await;
    sleep(WITNESSES).await;
    let mut ledger = journal.store.ledger().await?;
    let spent = spent(journal, &ledger).await?;
    spent.into_iter().for_each(|seq| ledger.end(seq, Stage::Booked));
    let lost = Lost { epoch, at_ms: ledger.at.max(line.ticked_ms()) };
    if let Some(places) = bring_back(journal, &ledger, &lost).await?
        && line.store().restored(&lost, places, ledger.admitted, ledger.lapsed).await?
    {
        let sale = &line.sale().id;
        metrics::restored();
        tracing::warn!(%sale, "epoch {epoch}: {places} places were restored in {:.1?}", began.elapsed());
    }
    Ok(())
}

/// Grants that PostgreSQL knows to be spent, though the line had not been told.
async fn spent(journal: &Journaling, ledger: &Ledger) -> Result<Vec<Seq>, StoreError> {
    let grant = |seq| Some(GrantKey { seq, turn: ledger.place(seq)?.turn });
    let grants: Vec<GrantKey> = ledger.granted().filter_map(grant).collect();
    let booked = journal.line.bookings().by_grants(&grants).await?;
    let sale = &journal.line.sale().id;
    let spent = grants.into_iter().filter(|grant| booked.contains_key(&grant.grant_id(sale)));
    Ok(spent.map(|grant| grant.seq).collect())
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
