//! The life of a line in Redis: which process of Redis is believed, how a life begins, and how one that was lost is made
//! whole again.

use super::{
    Install, Line, Lost, Returning,
    scripts::{Key, SCRIPTS, Via},
};
use crate::store::{errors::StoreError, redis::RunId};
use redis::FromRedisValue;
use std::sync::{Mutex, MutexGuard, PoisonError};
use wire::domain::{
    ids::{SEQS_LEFT_OUT, Seq, VisitorId},
    journal::Ledger,
    line::Position,
};

/// What this instance knows of a line, and from which process.
#[derive(Default)]
pub(super) struct Known(Mutex<State>);

#[derive(Default)]
struct State {
    run_id: Option<RunId>,
    /// The last entry that it was told of.
    position: Position,
}

/// What a process of Redis turned out to have of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// Nothing.
    Missing,
    /// Less than what somebody was told; the epoch that is lost.
    Lost(u64),
    /// All.
    Whole,
}

impl Line {
    fn known(&self) -> MutexGuard<'_, State> {
        self.known.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this instance lives with the line, and so knows from which process.
    pub(super) fn is_known(&self) -> bool {
        self.known().run_id.is_some()
    }

    /// Only the process that this line is known from is believed.
    pub(in crate::store) fn believes(&self, run_id: &RunId) -> Result<(), StoreError> {
        if self.known().run_id.as_ref() == Some(run_id) { Ok(()) } else { Err(StoreError::OtherProcess) }
    }

    /// An entry that a visitor may have been told of: a Redis that does not have it has lost something.
    pub fn is_told(&self, position: Position) {
        let mut known = self.known();
        known.position = known.position.max(position);
    }

    /// Looks at the process of Redis that answers now, before anything that it says is believed. `journaled`: the end of the
    /// journal. Safe to repeat, by however many at once.
    pub async fn take_over(&self, journaled: Position) -> Result<Takeover, StoreError> {
        let mut bound = self.node.shared.bound().await?;
        // What was told from another process must be there. What this one told itself, since another task found it whole, is its own.
        let told = {
            let known = self.known();
            if known.run_id.as_ref() == Some(bound.run_id()) { Position::default() } else { known.position }
        };
        let mut call = self.call(&SCRIPTS.takeover);
        call.arg(&**bound.run_id());
        for position in [told, journaled] {
            call.arg(position.epoch).arg(position.n);
        }
        call.arg(SEQS_LEFT_OUT);
        let (found, epoch): (String, u64) = call.invoke_async(&mut bound).await?;
        match found.as_str() {
            "missing" => Ok(Takeover::Missing),
            "lost" => Ok(Takeover::Lost(epoch)),
            _ => {
                self.known().run_id = Some(bound.run_id().clone());
                Ok(Takeover::Whole)
            }
        }
    }

    /// Begins a life of the sale, unless it has been begun.
    pub async fn install(&self, install: &Install<'_>) -> Result<bool, StoreError> {
        let mut bound = self.node.shared.bound().await?;
        let mut call = self.call(&SCRIPTS.install);
        call.arg(install.epoch).arg(install.first_epoch).arg(install.lost_epoch);
        call.arg(&**bound.run_id()).arg(install.first_seq).arg(install.seats).arg(install.shift_ms);
        call.arg(install.command.as_str());
        call.arg(install.booked_seats.to_redis_bitmap()).arg(install.held.len());
        install.held.iter().for_each(|booking| {
            call.arg(booking.to_string());
        });
        for (visitor, seats) in install.visitors {
            call.arg(visitor.as_str()).arg(seats);
        }
        let installed: u8 = call.invoke_async(&mut bound).await?;
        if installed == 1 {
            self.known().run_id = Some(bound.run_id().clone());
        }
        Ok(installed == 1)
    }

    /// The epoch that is being restored, if one is.
    pub async fn restoring(&self) -> Result<Option<u64>, StoreError> {
        let mut bound = self.bound(Via::Shared).await?;
        let fields = redis::cmd("HMGET")
            .arg(self.key(Key::Sale))
            .arg(&["epoch", "restoring"])
            .query_async::<redis::Value>(&mut bound)
            .await?;
        let (epoch, restoring): (Option<u64>, Option<u8>) = FromRedisValue::from_redis_value(fields)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(epoch.filter(|_| restoring.is_some()))
    }

    /// Brings places back. False if the line is not being restored any more.
    pub async fn restore(&self, lost: &Lost, places: &[Returning]) -> Result<bool, StoreError> {
        let mut call = self.call(&SCRIPTS.restore);
        call.arg(lost.epoch).arg(lost.at_ms);
        for place in places {
            let (deadline, claim) = place.grant.map_or((0, 0), |grant| (grant.deadline_ms, grant.claim_ms));
            call.arg(place.visitor.as_str())
                .arg(place.stage.letter())
                .arg(place.seq)
                .arg(place.turn)
                .arg(place.owned);
            call.arg(deadline).arg(claim);
        }
        let going_on: u8 = self.run(&SCRIPTS.restore, &call).await?;
        Ok(going_on == 1)
    }

    /// All is back: the line lives on. `unknown`: places of which nothing but a booking tells. False if somebody else was there
    /// before.
    pub async fn restored(
        &self,
        lost: &Lost,
        places: u64,
        ledger: &Ledger,
        unknown: &[(VisitorId, Seq)],
    ) -> Result<bool, StoreError> {
        let mut call = self.call(&SCRIPTS.restored);
        call.arg(lost.epoch).arg(lost.at_ms).arg(places).arg(ledger.admitted).arg(ledger.lapsed);
        for (visitor, seq) in unknown {
            call.arg(visitor.as_str()).arg(seq);
        }
        let done: u8 = self.run(&SCRIPTS.restored, &call).await?;
        Ok(done == 1)
    }
}
