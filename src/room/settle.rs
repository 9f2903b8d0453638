//! What puts this instance, Redis and PostgreSQL in agreement again: at the start, after a gap, after a loss, after
//! a redeem whose outcome nobody heard.

use super::{Room, hub::News};
use crate::{
    domain::ids::{GrantKey, Seq, VisitorId},
    limits::LOCK,
    room::board::Board,
    store::{
        bookings::{NewBooking, Verdict},
        errors::StoreError,
        events::Position,
        line::{Committed, Fence, Install, LineSettings},
        sales::SaleState,
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

/// Seqs drawn in one epoch stay below this: the places of an older epoch, which only their tokens prove any more,
/// come before those of a newer one.
const SEQS_PER_EPOCH: Seq = 1_000_000_000;

/// How often PostgreSQL is asked what became of a redeem, and with what pause.
const UNHEARD_TRIES: u32 = 300;
const UNHEARD_PAUSE: Duration = Duration::from_millis(500);

/// Makes sure that the sale lives in Redis with the settings that PostgreSQL has.
pub(super) async fn install(room: &Room) -> Result<(), StoreError> {
    if room.line.position().await?.is_none() {
        let (taken, held) = room.bookings.taken().await?;
        let booked = room.bookings.visitors().await?;
        let (epoch, shift_ms) = room.sales.next_epoch(&room.id).await?;
        let first_seq = epoch.saturating_sub(1) * SEQS_PER_EPOCH;
        let seats = room.plan.seats.len();
        let install =
            Install { epoch, first_seq, seats, shift_ms, taken: &taken, held: &held, booked: &booked };
        if room.line.install(&install).await? && epoch > 1 {
            tracing::error!(sale = %room.id, "Redis has lost the line: epoch {epoch} begins; places return by token");
        }
    }
    apply_settings(room, &room.state()).await
}

/// Puts settings in force in Redis, unless newer ones are.
pub(super) async fn apply_settings(room: &Room, state: &SaleState) -> Result<(), StoreError> {
    let s = &state.settings;
    let settings = LineSettings {
        version: state.version,
        command: state.command,
        rate: s.rate,
        max_active: s.max_active,
        grant_ttl_ms: u64::from(s.grant_ttl_s) * 1000,
        claim_ms: u64::from(s.claim_s) * 1000,
        away_ms: u64::from(s.away_s) * 1000,
        blocked: &state.blocked,
    };
    room.line.apply(&settings).await?;
    Ok(())
}

/// Whether the stream goes on from where this instance stands.
pub(super) async fn is_current(room: &Room, at: Position) -> Result<bool, StoreError> {
    match room.line.position().await? {
        Some((position, _)) => Ok(position.epoch == at.epoch && position.n >= at.n),
        None => {
            install(room).await?;
            Ok(false)
        }
    }
}

/// Reads the line and the seats anew. The stream is followed from where it stood before reading began: applying a
/// change twice does no harm, so the picture comes right as the stream is caught up with.
pub(super) async fn resync(room: &Room) -> Result<(), StoreError> {
    let Some((position, phase)) = room.line.position().await? else {
        return Err(StoreError::Corrupt("the sale is not installed".into()));
    };
    let mut board = Board::default();
    let mut last = None;
    loop {
        let seqs = room.line.seqs(last).await?;
        seqs.iter().for_each(|seq| board.insert(*seq));
        if seqs.is_empty() {
            break;
        }
        last = seqs.last().copied();
    }
    board.settle();
    let taken = room.line.taken(room.plan.seats.len()).await?;
    let held = room.line.held().await?;
    room.unspent.forget();
    room.seats().replace(taken, held);
    room.change_live(|live| {
        live.position = position;
        live.board = board;
    });
    room.set_phase(phase, position);
    room.hub.tell_all(Position::default(), &News::Recheck);
    Ok(())
}

/// Redeems whose commit PostgreSQL never answered: asked for until it does. Meanwhile their grants stay fenced, if they
/// still are, and right after that they may be spent again.
pub(super) async fn unheard(room: Arc<Room>, batch: Vec<(NewBooking, Fence)>) {
    let _busy = room.busy();
    let (batch, mut fences): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    for _ in 0..UNHEARD_TRIES {
        let renewed = room.line.renew(LOCK.as_millis() as u64, &mut fences).await;
        match (renewed, room.bookings.settle(&batch).await) {
            (Ok(()), Ok(verdicts)) => {
                let outcomes = batch.iter().zip(verdicts);
                let told: Vec<_> = outcomes.filter_map(|(new, verdict)| committed(new, verdict)).collect();
                if let Err(error) = room.line.bookings(&told, &fences).await {
                    tracing::warn!(sale = %room.id, "settled redeems are told to the line later: {error}");
                }
                return;
            }
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(sale = %room.id, "{} redeems are still unsettled: {error}", batch.len());
            }
        }
        sleep(UNHEARD_PAUSE).await;
    }
    tracing::error!(sale = %room.id, "nobody could say what became of {} redeems", batch.len());
}

fn committed(new: &NewBooking, verdict: Verdict) -> Option<Committed> {
    let Verdict::Booked(booking) = verdict else { return None };
    Some(Committed::of(&new.visitor, Some(new.grant), &booking))
}

/// Redeems whose instance has ended: a void row makes sure that what has not booked never will. The next tick
/// then lapses the grant.
pub(super) async fn expired_locks(room: Arc<Room>, locks: Vec<(VisitorId, GrantKey)>) {
    // Every tick names those that are left: one at a time is enough.
    let Ok(_alone) = room.settling.try_lock() else { return };
    for (visitor, grant) in locks {
        let result = match room.bookings.void(&visitor, grant).await {
            Ok(Some(owned)) => {
                room.line.bookings(&[Committed::of(&visitor, Some(grant), &owned.booking)], &[]).await
            }
            Ok(None) => room.line.bookings(&[], &[Fence { visitor, until_ms: 0 }]).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::warn!(sale = %room.id, "an unheard redeem is settled later: {error}");
        }
    }
}
