//! A sale's line in Redis: every change is one atomic Lua call of `lua/`.

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
        seats::SeatSet,
    },
    metrics,
};
use redis::{FromRedisValue, Script, ScriptInvocation, aio::ConnectionManager};
use std::{sync::Arc, time::Instant};

/// A visitor who comes into the line, or back to it.
#[derive(Clone, Debug)]
pub struct Join {
    /// Who.
    pub visitor: VisitorId,
    /// Over which socket; nothing for a plain HTTP call.
    pub connection: Option<u64>,
    /// For how long a call without a socket counts as presence, in milliseconds.
    pub poll_ms: u64,
    /// What is wanted.
    pub mode: JoinMode,
    /// The seq that a valid place token proves.
    pub token_seq: Option<Seq>,
}

/// What a join wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinMode {
    /// A place, unless the visitor has booked.
    Join,
    /// A place also after a booking; so many seats are booked already.
    Again {
        /// Seats booked.
        owned: u32,
    },
    /// Only to see the standing; draws no place.
    Look,
}

/// What Redis answered to a batch of joins.
#[derive(Clone, Debug)]
pub struct JoinReply {
    /// The stream's last entry: nothing older may be shown to these visitors.
    pub position: Position,
    /// Redis' clock, ms.
    pub now_ms: i64,
    /// Places in the line.
    pub total: u64,
    /// The sale's phase.
    pub phase: Phase,
    /// New places drawn.
    pub drawn: u64,
    /// One for each join, in order; nothing without a place.
    pub standings: Vec<Option<Standing>>,
}

impl JoinReply {
    /// The answer to one of the joins.
    pub fn answer(&self, index: usize) -> JoinAnswer {
        let standing = self.standings.get(index).copied().flatten();
        JoinAnswer {
            position: self.position,
            now_ms: self.now_ms,
            total: self.total,
            phase: self.phase,
            standing,
        }
    }
}

/// What Redis answered to one join.
#[derive(Clone, Copy, Debug)]
pub struct JoinAnswer {
    /// The stream's last entry: nothing older may be shown to this visitor.
    pub position: Position,
    /// Redis' clock, ms.
    pub now_ms: i64,
    /// Places in the line.
    pub total: u64,
    /// The sale's phase.
    pub phase: Phase,
    /// The visitor's place, if there is one.
    pub standing: Option<Standing>,
}

/// What one tick did.
#[derive(Clone, Debug)]
pub struct Tick {
    /// Redis' clock, ms.
    pub now_ms: i64,
    /// The sale's phase.
    pub phase: Phase,
    /// All shifts of deadlines so far, ms.
    pub shift_ms: i64,
    /// Grants given.
    pub admitted: u64,
    /// Grants whose redeem's outcome only PostgreSQL knows.
    pub expired_locks: Vec<(VisitorId, GrantKey)>,
    /// Lapses: missed, expired, closed.
    pub lapsed: [u64; 3],
}

/// Whether a grant may be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Yes, and it cannot lapse meanwhile.
    Locked {
        /// Seats that the visitor had booked before.
        owned: u32,
    },
    /// Another instance is at it.
    Busy,
    /// No such grant lives.
    Dead,
}

/// A booking that PostgreSQL committed, to be told to the line. Empty fields where only the map is put right.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Whose; empty if only the seat map is put right.
    pub visitor: String,
    /// The grant that was spent, if one was.
    pub grant: Option<GrantKey>,
    /// Which; empty if only the seat map is put right.
    pub booking: String,
    /// `held`, `confirmed` or `released`.
    pub status: &'static str,
    /// Its seats.
    pub seats: Vec<SeatIndex>,
}

/// What a fresh life of a line starts with.
pub struct Install<'a> {
    /// The epoch.
    pub epoch: u64,
    /// Seqs are drawn above this.
    pub first_seq: Seq,
    /// Seats in the plan.
    pub seats: usize,
    /// Shifts of deadlines so far, ms.
    pub shift_ms: i64,
    /// Seats booked or held.
    pub taken: &'a SeatSet,
    /// Bookings that are held.
    pub held: &'a [String],
    /// Visitors who booked, and how many seats.
    pub booked: &'a [(VisitorId, u32)],
}

/// Settings as the scripts need them.
pub struct LineSettings<'a> {
    /// Version of the sale's row.
    pub version: u64,
    /// The operator's phase.
    pub command: Phase,
    /// Admissions a second.
    pub rate: f64,
    /// Live grants at once.
    pub max_active: u32,
    /// A grant's life, ms.
    pub grant_ttl_ms: u64,
    /// Time for the first use, ms.
    pub claim_ms: u64,
    /// Allowed absence, ms.
    pub away_ms: u64,
    /// Seats not for sale.
    pub blocked: &'a SeatSet,
}

/// A sale's live numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Places in the line, the returned ones included.
    pub waiting: u64,
    /// Places kept for visitors who were not there.
    pub away: u64,
    /// Live grants.
    pub granted: u64,
    /// Held bookings.
    pub held: u64,
    /// Free seats.
    pub seats_left: u64,
    /// Grants given so far.
    pub admitted_total: u64,
    /// Grants lapsed so far.
    pub lapsed_total: u64,
}

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
        let result = call.invoke_async(&mut connection.clone()).await;
        metrics::redis(name, started.elapsed());
        Ok(result?)
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
            };
            call.arg(join.visitor.as_str()).arg(join.connection.map_or(String::new(), |c| format!("{c:x}")));
            call.arg(join.poll_ms).arg(mode).arg(owned);
            call.arg(join.token_seq.map_or(String::new(), |seq| seq.to_string()));
        }
        type Standings = Vec<(String, u64, u8, u32, u64, i64, i64, u8)>;
        let mut reply: Vec<redis::Value> = self.run("join", &call).await?;
        let standings: Standings =
            redis::from_redis_value(redis::Value::Array(reply.split_off(6.min(reply.len()))))
                .map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let (n, now_ms, total, epoch, phase, drawn): (u64, i64, u64, u64, String, u64) =
            redis::from_redis_value(redis::Value::Array(reply))
                .map_err(|e| StoreError::Corrupt(e.to_string()))?;
        let standings =
            standings.into_iter().map(|(letter, seq, turn, owned, rank, deadline_ms, claim_ms, fresh)| {
                let stage = Stage::parse(&letter)?;
                Some(Standing { stage, seq, turn, owned, rank, deadline_ms, claim_ms, fresh: fresh == 1 })
            });
        let position = Position { epoch, n };
        Ok(JoinReply {
            position,
            now_ms,
            total,
            phase: parse_phase(&phase)?,
            drawn,
            standings: standings.collect(),
        })
    }

    /// One tick. `proof_age_ms`: how long ago PostgreSQL last proved that it can book. Nothing if another instance
    /// ticked just now, or booking is impossible.
    pub async fn tick(&self, proof_age_ms: u64) -> Result<(bool, Tick), StoreError> {
        let mut call = self.script(&SCRIPTS.tick);
        call.arg(&*self.instance).arg(proof_age_ms);
        type Reply = (u8, i64, String, i64, u64, Vec<(VisitorText, Seq, u8)>, u64, u64, u64);
        let (decided, now_ms, phase, shift_ms, admitted, locks, missed, expired, closed): Reply =
            self.run("tick", &call).await?;
        let expired_locks = locks
            .into_iter()
            .filter_map(|(visitor, seq, turn)| Some((VisitorId::parse(&visitor)?, GrantKey { seq, turn })))
            .collect();
        let phase = parse_phase(&phase)?;
        let tick =
            Tick { now_ms, phase, shift_ms, admitted, expired_locks, lapsed: [missed, expired, closed] };
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
        let verdicts: Vec<(String, u32)> = self.run("lock", &call).await?;
        let verdicts = verdicts.into_iter().map(|(verdict, owned)| match verdict.as_str() {
            "ok" => Lock::Locked { owned },
            "busy" => Lock::Busy,
            _ => Lock::Dead,
        });
        Ok(verdicts.collect())
    }

    /// Tells the line what PostgreSQL committed, and which redeems came to nothing. Safe to repeat.
    pub async fn bookings(
        &self,
        committed: &[Committed],
        unlock: &[(VisitorId, GrantKey)],
    ) -> Result<(), StoreError> {
        let mut call = self.script(&SCRIPTS.bookings);
        call.arg(committed.len());
        for booking in committed {
            let seats: Vec<String> = booking.seats.iter().map(SeatIndex::to_string).collect();
            let (seq, turn) =
                booking.grant.map_or_else(Default::default, |g| (g.seq.to_string(), g.turn.to_string()));
            call.arg(&booking.visitor).arg(seq).arg(turn);
            call.arg(&booking.booking).arg(booking.status).arg(seats.join(","));
        }
        for (visitor, grant) in unlock {
            call.arg(visitor.as_str()).arg(grant.seq).arg(grant.turn);
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
        let (ended, _before): (u8, String) =
            self.run("leave", self.script(&SCRIPTS.leave).arg(visitor.as_str())).await?;
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

    /// The stream's last entry and the sale's phase; nothing if the sale is not installed.
    pub async fn position(&self) -> Result<Option<(Position, Phase)>, StoreError> {
        let fields: (Option<u64>, Option<u64>, Option<String>) = redis::cmd("HMGET")
            .arg(self.key("sale"))
            .arg(&["epoch", "n", "phase"])
            .query_async(&mut self.shared.clone())
            .await?;
        let (Some(epoch), Some(n), Some(phase)) = fields else { return Ok(None) };
        Ok(Some((Position { epoch, n }, parse_phase(&phase)?)))
    }

    /// Up to 10,000 seqs of the line above `after`, in order.
    pub async fn seqs(&self, after: Option<Seq>) -> Result<Vec<Seq>, StoreError> {
        let low = after.map_or("-inf".to_owned(), |seq| format!("({seq}"));
        let members: Vec<(VisitorText, Seq)> = redis::cmd("ZRANGEBYSCORE")
            .arg(self.key("line"))
            .arg(low)
            .arg("+inf")
            .arg("WITHSCORES")
            .arg("LIMIT")
            .arg(0)
            .arg(10_000)
            .query_async(&mut self.pool.get().await?)
            .await?;
        Ok(members.into_iter().map(|(_, seq)| seq).collect())
    }

    /// The seats that are booked or held, of a plan of so many.
    pub async fn taken(&self, seats: usize) -> Result<SeatSet, StoreError> {
        let bitmap: Vec<u8> =
            redis::cmd("GET").arg(self.key("taken")).query_async(&mut self.pool.get().await?).await?;
        Ok(SeatSet::from_redis_bitmap(seats, &bitmap))
    }

    /// All shifts of deadlines so far in ms, and when booking was last proven possible, in Redis' ms.
    pub async fn shift(&self) -> Result<(i64, i64), StoreError> {
        let (shift, bookable_at): (Option<i64>, Option<i64>) = redis::cmd("HMGET")
            .arg(self.key("sale"))
            .arg(&["shift", "bookable_at"])
            .query_async(&mut self.shared.clone())
            .await?;
        Ok((shift.unwrap_or(0), bookable_at.unwrap_or(0)))
    }

    /// The bookings that the line believes to be held.
    pub async fn held(&self) -> Result<Vec<String>, StoreError> {
        Ok(redis::cmd("SMEMBERS").arg(self.key("held")).query_async(&mut self.pool.get().await?).await?)
    }

    /// ZRANK, for the board's audit, with the entry at which it was true.
    pub async fn rank(&self, visitor: &VisitorId) -> Result<(Option<u64>, Position), StoreError> {
        let (rank, (epoch, n)): (Option<u64>, (u64, u64)) = redis::pipe()
            .atomic()
            .cmd("ZRANK")
            .arg(self.key("line"))
            .arg(visitor.as_str())
            .cmd("HMGET")
            .arg(self.key("sale"))
            .arg(&["epoch", "n"])
            .query_async(&mut self.shared.clone())
            .await?;
        Ok((rank, Position { epoch, n }))
    }

    /// The sale's live numbers.
    pub async fn counts(&self) -> Result<Counts, StoreError> {
        type Reply = (u64, u64, u64, u64, u64, (Option<i64>, Option<u64>, Option<u64>));
        let (line, returned, away, granted, held, (free, admitted, lapsed)): Reply = redis::pipe()
            .atomic()
            .cmd("ZCARD")
            .arg(self.key("line"))
            .cmd("ZCARD")
            .arg(self.key("returned"))
            .cmd("ZCARD")
            .arg(self.key("away"))
            .cmd("ZCARD")
            .arg(self.key("grants"))
            .cmd("SCARD")
            .arg(self.key("held"))
            .cmd("HMGET")
            .arg(self.key("sale"))
            .arg(&["free", "admitted_total", "lapsed_total"])
            .query_async(&mut self.shared.clone())
            .await?;
        Ok(Counts {
            waiting: line + returned,
            away,
            granted,
            held,
            seats_left: free.unwrap_or(0).max(0).unsigned_abs(),
            admitted_total: admitted.unwrap_or(0),
            lapsed_total: lapsed.unwrap_or(0),
        })
    }
}

/// A visitor as Redis stores it.
type VisitorText = String;

fn parse_phase(name: &str) -> Result<Phase, StoreError> {
    Phase::parse(name).ok_or_else(|| StoreError::Corrupt(format!("phase {name:?}")))
}
