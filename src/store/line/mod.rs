//! A sale's line in Redis: every change is one atomic Lua call of `lua/`.

mod reads;
mod survey;
mod values;

use super::{
    errors::StoreError,
    events::Position,
    scripts::{SCRIPTS, key_names},
};
use crate::{
    domain::{
        ids::{GrantKey, SaleId, Seq, VisitorId},
        phase::Phase,
        place::{Stage, Standing},
        plan::SeatIndex,
    },
    metrics,
};
use redis::{FromRedisValue, Script, ScriptInvocation, aio::ConnectionManager};
use std::{sync::Arc, time::Instant};
pub use survey::{Look, Survey};
pub use values::*;

/// One sale's line; cheap to clone.
#[derive(Clone)]
pub struct Line {
    keys: Arc<[String]>,
    instance: Arc<str>,
    joins: ConnectionManager,
    shared: ConnectionManager,
    pool: deadpool_redis::Pool,
}

impl Line {
    pub(super) fn new(
        sale: &SaleId,
        instance: Arc<str>,
        joins: ConnectionManager,
        shared: ConnectionManager,
        pool: deadpool_redis::Pool,
    ) -> Self {
        Self { keys: key_names(sale).into(), instance, joins, shared, pool }
    }

    pub(super) fn events_key(&self) -> String {
        self.key("events").to_owned()
    }

    fn key(&self, name: &str) -> &str {
        self.keys.iter().find(|key| key.rsplit(':').next() == Some(name)).map_or("", String::as_str)
    }

    fn script<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut invocation = script.prepare_invoke();
        self.keys.iter().for_each(|key| {
            invocation.key(key);
        });
        invocation
    }

    async fn run<T: FromRedisValue>(
        &self,
        name: &'static str,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let connection = if name == "join" { &self.joins } else { &self.shared };
        let result = call.invoke_async(&mut connection.clone()).await.map_err(StoreError::from);
        metrics::redis(name, started.elapsed());
        // That Redis has no life of this sale is an answer.
        let failed = result.as_ref().is_err_and(|error| !error.is_missing_line());
        metrics::store_errors("Redis", name, u64::from(failed));
        result
    }

    /// Brings visitors into the line, or back to their places, in this order. Safe to repeat.
    pub async fn join(&self, joins: &[Join]) -> Result<JoinReply, StoreError> {
        let mut call = self.script(&SCRIPTS.join);
        call.arg(&*self.instance);
        for join in joins {
            let (mode, owned) = match join.mode {
                JoinMode::Join => ("join", 0),
                JoinMode::Again { owned } => ("again", owned),
                JoinMode::Look => ("look", 0),
                JoinMode::Recheck => ("recheck", 0),
            };
            call.arg(join.visitor.as_str()).arg(join.connection.map_or(String::new(), |c| format!("{c:x}")));
            call.arg(join.poll_ms).arg(mode).arg(owned);
            call.arg(join.token_seq.map_or(String::new(), |seq| seq.to_string()));
        }
        type Standings = Vec<(String, u64, u8, u32, u64, i64, i64, u8)>;
        let mut reply: Vec<redis::Value> = self.run("join", &call).await?;
        let standings: Standings =
            redis::from_redis_value(redis::Value::Array(reply.split_off(5.min(reply.len()))))
                .map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let (n, total, epoch, phase, drawn): (u64, u64, u64, String, u64) =
            redis::from_redis_value(redis::Value::Array(reply))
                .map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let standings =
            standings.into_iter().map(|(letter, seq, turn, owned, rank, deadline_ms, claim_ms, fresh)| {
                let stage = Stage::parse(&letter)?;
                Some(Standing { stage, seq, turn, owned, rank, deadline_ms, claim_ms, fresh: fresh == 1 })
            });
        let position = Position { epoch, n };
        Ok(JoinReply { position, total, phase: parse_phase(&phase)?, drawn, standings: standings.collect() })
    }

    /// One tick. `proof_age_ms`: how long ago PostgreSQL last proved that it can book. Nothing if another instance
    /// ticked just now, or booking is impossible.
    pub async fn tick(&self, proof_age_ms: u64) -> Result<(bool, Tick), StoreError> {
        let mut call = self.script(&SCRIPTS.tick);
        call.arg(&*self.instance).arg(proof_age_ms);
        type Reply = (u8, i64, String, i64, u64, Vec<(VisitorText, Seq, u8)>, u64, u64, u64, u64);
        let (decided, now_ms, phase, shift_ms, admitted, locks, missed, expired, closed, live): Reply =
            self.run("tick", &call).await?;
        let expired_locks = locks
            .into_iter()
            .filter_map(|(visitor, seq, turn)| Some((VisitorId::parse(&visitor)?, GrantKey { seq, turn })))
            .collect();
        let phase = parse_phase(&phase)?;
        let tick = Tick {
            now_ms,
            phase,
            shift_ms,
            admitted,
            expired_locks,
            lapsed: [missed, expired, closed],
            live,
        };
        Ok((decided == 1, tick))
    }

    /// Fences grants against lapse for `lock_ms` while PostgreSQL decides. For each: visitor, grant, and how many
    /// milliseconds ago the redeem reached the server.
    pub async fn lock(
        &self,
        lock_ms: u64,
        grants: &[(VisitorId, GrantKey, u64)],
    ) -> Result<Vec<Lock>, StoreError> {
        let mut call = self.script(&SCRIPTS.lock);
        call.arg(lock_ms);
        for (visitor, grant, age_ms) in grants {
            call.arg(visitor.as_str()).arg(grant.seq).arg(grant.turn).arg(*age_ms);
        }
        let verdicts: Vec<(String, u32, u64)> = self.run("lock", &call).await?;
        let verdicts = verdicts.into_iter().map(|(verdict, owned, until_ms)| match verdict.as_str() {
            "ok" => Lock::Locked { owned, until_ms },
            "busy" => Lock::Busy,
            _ => Lock::Dead,
        });
        Ok(verdicts.collect())
    }

    /// Keeps fences for `lock_ms` more, where they still stand; those that do not are set to 0.
    pub async fn renew(&self, lock_ms: u64, fences: &mut [Fence]) -> Result<(), StoreError> {
        let mut call = self.script(&SCRIPTS.renew);
        call.arg(lock_ms);
        for fence in fences.iter() {
            call.arg(fence.visitor.as_str()).arg(fence.until_ms);
        }
        let untils: Vec<u64> = self.run("renew", &call).await?;
        fences.iter_mut().zip(untils).for_each(|(fence, until_ms)| fence.until_ms = until_ms);
        Ok(())
    }

    /// Tells the line what PostgreSQL committed, and which fences of redeems that came to nothing fall.
    /// Safe to repeat.
    pub async fn bookings(&self, committed: &[Committed], unlock: &[Fence]) -> Result<(), StoreError> {
        let mut call = self.script(&SCRIPTS.bookings);
        call.arg(committed.len());
        for booking in committed {
            let seats: Vec<String> = booking.seats.iter().map(SeatIndex::to_string).collect();
            let (seq, turn) =
                booking.grant.map_or_else(Default::default, |g| (g.seq.to_string(), g.turn.to_string()));
            call.arg(&booking.visitor).arg(seq).arg(turn);
            call.arg(&booking.booking).arg(booking.status).arg(seats.join(","));
        }
        for fence in unlock {
            call.arg(fence.visitor.as_str()).arg(fence.until_ms);
        }
        let _n: u64 = self.run("bookings", &call).await?;
        Ok(())
    }

    /// The visitor used his turn for the first time; false if he holds no grant.
    pub async fn claim(&self, visitor: &VisitorId) -> Result<bool, StoreError> {
        let held: u8 = self.run("claim", self.script(&SCRIPTS.claim).arg(visitor.as_str())).await?;
        Ok(held == 1)
    }

    /// The visitor gives the place up; false if there was none, or it is being redeemed just now.
    pub async fn leave(&self, visitor: &VisitorId) -> Result<bool, StoreError> {
        let ended: u8 = self.run("leave", self.script(&SCRIPTS.leave).arg(visitor.as_str())).await?;
        Ok(ended == 1)
    }

    /// These sockets closed.
    pub async fn gone(&self, sockets: &[(VisitorId, u64)]) -> Result<(), StoreError> {
        let mut call = self.script(&SCRIPTS.gone);
        call.arg(&*self.instance);
        for (visitor, connection) in sockets {
            call.arg(visitor.as_str()).arg(format!("{connection:x}"));
        }
        let _: u8 = self.run("gone", &call).await?;
        Ok(())
    }

    /// Puts settings in force unless newer ones are; false if the sale is not installed.
    pub async fn apply(&self, settings: &LineSettings<'_>) -> Result<bool, StoreError> {
        let mut call = self.script(&SCRIPTS.settings);
        call.arg(settings.version).arg(settings.command.as_str()).arg(settings.rate).arg(settings.max_active);
        call.arg(settings.grant_ttl_ms).arg(settings.claim_ms).arg(settings.away_ms);
        call.arg(settings.blocked.to_redis_bitmap());
        let applied: i8 = self.run("settings", &call).await?;
        Ok(applied >= 0)
    }

    /// Gives the sale a fresh life, unless it has one.
    pub async fn install(&self, install: &Install<'_>) -> Result<bool, StoreError> {
        let mut call = self.script(&SCRIPTS.install);
        call.arg(install.epoch).arg(install.first_seq).arg(install.seats).arg(install.shift_ms);
        call.arg(install.taken.to_redis_bitmap()).arg(install.held.len()).arg(install.held);
        for (visitor, seats) in install.booked {
            call.arg(visitor.as_str()).arg(seats);
        }
        let installed: u8 = self.run("install", &call).await?;
        Ok(installed == 1)
    }
}

/// A visitor as Redis stores it.
type VisitorText = String;

fn parse_phase(name: &str) -> Result<Phase, StoreError> {
    Phase::parse(name).ok_or_else(|| StoreError::Corrupt(format!("phase {name:?}")))
}
