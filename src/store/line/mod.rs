//! A sale's line in Redis: every change is one atomic Lua call of `lua/`.

mod life;
mod reads;
mod scripts;
mod shared;
pub mod stream;
mod survey;
mod values;

use super::{
    errors::{Store, StoreError},
    redis::{Bound, Node},
};
use crate::metrics;
use life::Known;
use redis::{FromRedisValue, ScriptInvocation};
use scripts::{Key, Keys, LineScript, SCRIPTS, Via};
use std::{sync::Arc, time::Instant};
use wire::domain::{
    booking::BookingStatus,
    ids::{GrantKey, SaleId, Seq, VisitorId},
    line::{Join, JoinMode, Left, Poll, Position},
    phase::Phase,
    place::{Stage, Standing},
    plan::SeatIndex,
};

pub use life::Takeover;
pub use survey::{Found, Survey};
pub use values::*;

/// One sale's line; cheap to clone.
#[derive(Clone)]
pub struct Line {
    keys: Arc<Keys>,
    instance: Arc<str>,
    node: Node,
    known: Arc<Known>,
}

impl Line {
    /// `node` is told one of the keys, and answers who has them all.
    pub(super) fn new(sale: &SaleId, instance: Arc<str>, node: impl Fn(&str) -> Node) -> Self {
        let keys = Arc::new(Keys::of(sale));
        Self { node: node(keys.name(Key::Sale)), keys, instance, known: Arc::default() }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// This server's name in leases and presence.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn events_key(&self) -> &str {
        self.key(Key::Events)
    }

    fn key(&self, key: Key) -> &str {
        self.keys.name(key)
    }

    fn call<'a>(&self, script: &'a LineScript) -> ScriptInvocation<'a> {
        let mut invocation = script.script.prepare_invoke();
        self.keys.all().for_each(|key| {
            invocation.key(key);
        });
        invocation
    }

    /// A connection to the process of Redis that this line is known from.
    async fn bound(&self, via: Via) -> Result<Bound, StoreError> {
        let link = match via {
            Via::Joins => &self.node.joins,
            Via::Shared => &self.node.shared,
        };
        let bound = link.bound().await?;
        self.believes(bound.run_id())?;
        Ok(bound)
    }

    #[tracing::instrument(level = "debug", skip_all, fields(script = script.name))]
    async fn run<T: FromRedisValue>(
        &self,
        script: &LineScript,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let started = Instant::now();
        let result = match self.bound(script.via).await {
            Ok(mut bound) => call.invoke_async(&mut bound).await.map_err(StoreError::from),
            Err(error) => Err(error),
        };
        metrics::redis(script.name, started.elapsed());
        // That Redis has no life of this sale, or not all of it yet, is an answer.
        let failed = result.as_ref().is_err_and(|error| !error.is_missing_line() && !error.is_restoring());
        metrics::store_errors(Store::Redis.name(), script.name, u64::from(failed));
        result
    }

    /// Brings visitors into the line, or back to their places, in this order. Safe to repeat.
    pub async fn join(&self, joins: &[Join]) -> Result<Standings, StoreError> {
        let mut call = self.call(&SCRIPTS.join);
        call.arg(&*self.instance);
        for join in joins {
            let (mode, owned) = match join.mode {
                JoinMode::Join => ("join", 0),
                JoinMode::Again { owned } => ("again", owned),
                JoinMode::Recheck => ("recheck", 0),
            };
            call.arg(join.visitor.as_str()).arg(join.connection.map_or(String::new(), |c| format!("{c:x}")));
            call.arg(join.poll_ms).arg(mode).arg(owned);
            call.arg(join.token_seq.map_or(String::new(), |seq| seq.to_string()));
            call.arg(join.stranger.map_or(String::new(), |stranger| format!("{:x}", stranger.network)));
            call.arg(join.stranger.map_or(0, |stranger| stranger.places_max));
        }
        let joined = standings(self.run(&SCRIPTS.join, &call).await?)?;
        self.is_told(joined.position);
        Ok(joined)
    }

    /// How visitors without a socket stand; counts as presence.
    pub async fn poll(&self, polls: &[Poll]) -> Result<Standings, StoreError> {
        let mut call = self.call(&SCRIPTS.poll);
        call.arg(&*self.instance);
        for poll in polls {
            call.arg(poll.visitor.as_str()).arg(poll.poll_ms);
        }
        let seen = standings(self.run(&SCRIPTS.poll, &call).await?)?;
        self.is_told(seen.position);
        Ok(seen)
    }

    /// One tick. `proof_age_ms`: how long ago PostgreSQL last proved that it can book. Nothing if another instance
    /// ticked just now, or booking is impossible.
    pub async fn tick(&self, proof_age_ms: u64) -> Result<(bool, Tick), StoreError> {
        let mut call = self.call(&SCRIPTS.tick);
        call.arg(&*self.instance).arg(proof_age_ms);
        type Reply = (u8, i64, String, i64, u64, Vec<(VisitorText, Seq, u8)>, u64, u64, u64, u64, u64);
        let (what, now_ms, phase, shift_ms, admitted, fences, missed, expired, closed, live, instances): Reply =
            self.run(&SCRIPTS.tick, &call).await?;
        let expired_fences = fences
            .into_iter()
            .filter_map(|(visitor, seq, turn)| Some((VisitorId::parse(&visitor)?, GrantKey { seq, turn })))
            .collect();
        let phase = parse_phase(&phase)?;
        let tick = Tick {
            now_ms,
            phase,
            shift_ms,
            admitted,
            expired_fences,
            lapsed: [missed, expired, closed],
            live,
            instances,
            is_early: what == EARLY,
            goes_on: what == GOES_ON,
        };
        Ok((what == DECIDED, tick))
    }

    /// Fences grants against lapse for `fence_ms` while PostgreSQL decides. For each: visitor, grant, and how many
    /// milliseconds ago the redeem reached the server.
    pub async fn fence(
        &self,
        fence_ms: u64,
        grants: &[(VisitorId, GrantKey, u64)],
    ) -> Result<Vec<Fenced>, StoreError> {
        let mut call = self.call(&SCRIPTS.fence);
        call.arg(fence_ms);
        for (visitor, grant, age_ms) in grants {
            call.arg(visitor.as_str()).arg(grant.seq).arg(grant.turn).arg(*age_ms);
        }
        let answers: Vec<(String, u32, u64)> = self.run(&SCRIPTS.fence, &call).await?;
        let fenced = answers.into_iter().map(|(answer, owned, until_ms)| match answer.as_str() {
            "ok" => Fenced::Yes { owned, until_ms },
            "busy" => Fenced::Busy,
            _ => Fenced::Dead,
        });
        Ok(fenced.collect())
    }

    /// Keeps fences for `fence_ms` more, where they still stand; those that do not are set to 0.
    pub async fn renew(&self, fence_ms: u64, fences: &mut [Fence]) -> Result<(), StoreError> {
        let mut call = self.call(&SCRIPTS.renew);
        call.arg(fence_ms);
        for fence in fences.iter() {
            call.arg(fence.visitor.as_str()).arg(fence.until_ms);
        }
        let untils: Vec<u64> = self.run(&SCRIPTS.renew, &call).await?;
        fences.iter_mut().zip(untils).for_each(|(fence, until_ms)| fence.until_ms = until_ms);
        Ok(())
    }

    /// Tells the line of bookings, and which fences of redeems that came to nothing fall. Safe to repeat.
    pub async fn bookings(&self, told: &[Told], fallen: &[Fence]) -> Result<(), StoreError> {
        let mut call = self.call(&SCRIPTS.bookings);
        call.arg(told.len());
        for told in told {
            let (booking, status, seats): (_, _, &[SeatIndex]) = match told {
                Told::Booking(committed) => {
                    (Some(committed.booking), committed.status, committed.seats.as_slice())
                }
                Told::Hold { booking, held: true } => (Some(*booking), BookingStatus::Held, &[]),
                Told::Hold { booking, held: false } => (Some(*booking), BookingStatus::Confirmed, &[]),
                Told::Seats { booked: true, seats } => (None, BookingStatus::Confirmed, seats),
                Told::Seats { booked: false, seats } => (None, BookingStatus::Released, seats),
            };
            let committed = if let Told::Booking(committed) = told { Some(committed) } else { None };
            let grant = committed.and_then(|committed| committed.grant);
            call.arg(committed.map_or("", |committed| committed.visitor.as_str()));
            call.arg(text(grant.map(|grant| grant.seq))).arg(text(grant.map(|grant| grant.turn)));
            let seats: Vec<String> = seats.iter().map(SeatIndex::to_string).collect();
            call.arg(text(booking)).arg(status.as_str()).arg(seats.join(","));
        }
        for fence in fallen {
            call.arg(fence.visitor.as_str()).arg(fence.until_ms);
        }
        let _n: u64 = self.run(&SCRIPTS.bookings, &call).await?;
        Ok(())
    }

    /// These used their turns for the first time; false for who holds no grant.
    pub async fn claim(&self, visitors: &[VisitorId]) -> Result<Vec<bool>, StoreError> {
        let done: Vec<u8> = self.tell_of(&SCRIPTS.claim, visitors).await?;
        Ok(done.into_iter().map(|done| done == 1).collect())
    }

    /// These give their places up.
    pub async fn leave(&self, visitors: &[VisitorId]) -> Result<Vec<Left>, StoreError> {
        let left = |(left, seq, turn): (u8, Seq, u8)| match left {
            1 => Left::Ended,
            2 => Left::Busy,
            3 => Left::Unsettled(GrantKey { seq, turn }),
            _ => Left::Nothing,
        };
        Ok(self.tell_of(&SCRIPTS.leave, visitors).await?.into_iter().map(left).collect())
    }

    /// A script that is told visitors, and answers for each.
    async fn tell_of<T: FromRedisValue>(
        &self,
        script: &LineScript,
        visitors: &[VisitorId],
    ) -> Result<Vec<T>, StoreError> {
        let mut call = self.call(script);
        visitors.iter().for_each(|visitor| {
            call.arg(visitor.as_str());
        });
        self.run(script, &call).await
    }

    /// The operator ends the visitor's place, and sends his sockets away; a line that is to `forget` him does not know him any
    /// more, and takes no token of these places of his. Of a sale that is over, whatever Redis there is is told.
    pub async fn remove(&self, visitor: &VisitorId, forget: Option<&[Seq]>) -> Result<Removed, StoreError> {
        let mut call = self.call(&SCRIPTS.remove);
        call.arg(visitor.as_str()).arg(forget.map_or("", |_| "forget"));
        forget.into_iter().flatten().for_each(|seq| {
            call.arg(seq);
        });
        let answer: Result<(u8, Seq, u8), StoreError> = match self.is_known() {
            true => self.run(&SCRIPTS.remove, &call).await,
            false => call.invoke_async(&mut self.node.shared.clone()).await.map_err(StoreError::from),
        };
        Ok(match answer? {
            (2, ..) => Removed::Busy,
            (3, seq, turn) => Removed::Unsettled(GrantKey { seq, turn }),
            (ended, ..) => Removed::Done { ended: ended == 1 },
        })
    }

    /// These sockets closed.
    pub async fn gone(&self, sockets: &[(VisitorId, u64)]) -> Result<(), StoreError> {
        let mut call = self.call(&SCRIPTS.gone);
        call.arg(&*self.instance);
        for (visitor, connection) in sockets {
            call.arg(visitor.as_str()).arg(format!("{connection:x}"));
        }
        let _: u8 = self.run(&SCRIPTS.gone, &call).await?;
        Ok(())
    }

    /// Puts settings in force unless newer ones are; false if the sale is not installed.
    pub async fn apply(&self, settings: &LineSettings<'_>) -> Result<bool, StoreError> {
        let mut call = self.call(&SCRIPTS.settings);
        call.arg(settings.version).arg(settings.command.as_str()).arg(settings.rate).arg(settings.max_active);
        call.arg(settings.grant_ttl_ms).arg(settings.claim_ms).arg(settings.away_ms);
        call.arg(settings.blocked.to_redis_bitmap());
        settings.banned.iter().for_each(|visitor| {
            call.arg(visitor.as_str());
        });
        let applied: i8 = self.run(&SCRIPTS.settings, &call).await?;
        Ok(applied >= 0)
    }

    /// Forgets the line: nothing of it stays in Redis.
    pub async fn forget(&self) -> Result<(), StoreError> {
        let mut unlink = redis::cmd("UNLINK");
        self.keys.all().for_each(|key| {
            unlink.arg(key);
        });
        Ok(unlink.query_async(&mut self.node.shared.clone()).await?)
    }

    /// The journal has what was written of this epoch, up to so many bytes; what is before `keep_from` may be trimmed.
    pub async fn journaled(&self, epoch: u64, written: u64, keep_from: u64) -> Result<(), StoreError> {
        let mut call = self.call(&SCRIPTS.journaled);
        call.arg(epoch).arg(written).arg(keep_from);
        self.run(&SCRIPTS.journaled, &call).await
    }
}

/// What came of a tick, as `lua/tick.lua` says it: somebody else had ticked just now …
const EARLY: u8 = 0;
/// … it decided …
const DECIDED: u8 = 1;
/// … or is to be called again at once.
const GOES_ON: u8 = 3;

/// What stands for a stage where too many came from a network.
const TOO_MANY: &str = "t";
/// What stands in for "drawn now" of a visitor whom the operator has sent away.
const SENT_AWAY: u8 = 2;

/// Takes an answer of `lua/standing.lua` apart.
fn standings(mut reply: Vec<redis::Value>) -> Result<Standings, StoreError> {
    type Rows = Vec<(String, u64, u8, u32, u64, i64, i64, u8)>;
    let corrupt = |error: redis::ParsingError| StoreError::Corrupt(error.to_string());
    let rows = redis::Value::Array(reply.split_off(5.min(reply.len())));
    let rows: Rows = redis::from_redis_value(rows).map_err(corrupt)?;
    let (n, total, epoch, phase, drawn): (u64, u64, u64, String, u64) =
        redis::from_redis_value(redis::Value::Array(reply)).map_err(corrupt)?;
    let standings = rows.into_iter().map(|(letter, seq, turn, owned, rank, deadline_ms, claim_ms, fresh)| {
        match Stage::parse(&letter) {
            Some(stage) => {
                let fresh = fresh == 1;
                Stood::At(Standing { stage, seq, turn, owned, rank, deadline_ms, claim_ms, fresh })
            }
            None if letter == TOO_MANY => Stood::TooMany { again_ms: rank },
            None if fresh == SENT_AWAY => Stood::SentAway,
            None => Stood::Nowhere,
        }
    });
    let position = Position { epoch, n };
    Ok(Standings { position, total, phase: parse_phase(&phase)?, drawn, standings: standings.collect() })
}

/// As an argument of a script: empty for nothing.
fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// A visitor as Redis stores it.
type VisitorText = String;

fn parse_phase(name: &str) -> Result<Phase, StoreError> {
    Phase::parse(name).ok_or_else(|| StoreError::Corrupt(format!("phase {name:?}")))
}
