//! What the operator says: PostgreSQL has it, Redis is told, and then everyone here.

use crate::{
    drain::Drain,
    limits::COMPARE,
    room::{Room, errors::RoomError, sockets::News},
    store::errors::StoreError,
};
use std::sync::Weak;
use tokio::time::timeout;
use wire::domain::phase::Phase;

/// Follows the operator's changes until the server has stopped.
pub(in crate::room) async fn run(room: Weak<Room>) {
    let Some(room) = room.upgrade() else { return };
    while room.line.drain() < Drain::Done {
        // Woken by a change, which the stream tells of, or by the clock.
        let woken = timeout(COMPARE, room.line.changed.notified()).await.is_ok();
        let result = if woken {
            follow(&room).await
        } else if room.line.phase() != Phase::Closed {
            // A crash or a cut may have come between PostgreSQL's settings and Redis'.
            room.line.apply_settings(&room.line.state()).await
        } else {
            Ok(())
        };
        if let Err(error) = result {
            tracing::debug!(sale = %room.sale.id, "settings are followed later: {error}");
        }
    }
}

impl Room {
    /// Settings as PostgreSQL has them are put in force, here and in Redis.
    pub async fn sync(&self) -> Result<(), RoomError> {
        Ok(follow(self).await?)
    }
}

async fn follow(room: &Room) -> Result<(), StoreError> {
    let line = &room.line;
    let Some(new) = line.sales.state(&room.sale.id, room.sale.plan.seats.len()).await? else { return Ok(()) };
    // Redis first: if it cannot be told now, this instance keeps what it knew, and the next look tries again.
    if let Err(error) = line.apply_settings(&new).await {
        line.revive(error).await?;
        line.apply_settings(&new).await?;
    }
    let old = line.change_live(|live| {
        let newer = new.version > live.state.version;
        newer.then(|| std::mem::replace(&mut live.state, new.clone()))
    });
    let Some(old) = old else { return Ok(()) };
    room.seats.map().block(new.blocked);
    line.revision.rise();
    let position = line.live().position;
    if old.notice != new.notice {
        room.sockets.tell_all(position, &News::Notice(new.notice.into()));
    }
    if old.settings.opens_at != new.settings.opens_at && line.phase() == Phase::Scheduled {
        room.sockets.tell_all(position, &News::Phase(Phase::Scheduled));
    }
    Ok(())
}
