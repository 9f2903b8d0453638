//! Whether one could join and book: what admissions and readiness rest on.

use super::pulse::Pulse;
use crate::{
    metrics,
    store::{
        errors::{Store, StoreError},
        redis::{RESPONSE_TIMEOUT, Redis},
        sales::Sales,
    },
};
use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often PostgreSQL is asked: a tick wants a fresh proof …
const POSTGRES_EVERY: Duration = Duration::from_millis(500);
/// … and Redis: each proof is a write to its disk.
const REDIS_EVERY: Duration = Duration::from_secs(1);
/// An answer of PostgreSQL that takes longer is none …
const POSTGRES_TIMEOUT: Duration = Duration::from_secs(2);
/// … and one of Redis: its connection gives up before, and is made anew.
const REDIS_TIMEOUT: Duration = RESPONSE_TIMEOUT.saturating_add(Duration::from_secs(1));
/// A store that has not answered for so long is away.
const STALE_MS: u64 = 3000;

/// When each store last answered.
pub struct Health {
    base: Instant,
    redis_ms: AtomicU64,
    postgres_ms: AtomicU64,
    /// Of who asks Redis, and of who asks PostgreSQL.
    asking: [Pulse; 2],
}

impl Default for Health {
    /// Both have just answered: a server starts only if they do.
    fn default() -> Self {
        Self {
            base: Instant::now(),
            redis_ms: AtomicU64::new(0),
            postgres_ms: AtomicU64::new(0),
            asking: Default::default(),
        }
    }
}

impl Health {
    /// PostgreSQL has just proved that it can book.
    pub fn postgres_answered(&self) {
        self.postgres_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Milliseconds since PostgreSQL last proved that it can book.
    pub fn postgres_age_ms(&self) -> u64 {
        self.now_ms().saturating_sub(self.postgres_ms.load(Ordering::Relaxed))
    }

    /// Whether nothing can be booked: no proof of it is fresh.
    pub fn postgres_is_away(&self) -> bool {
        self.postgres_age_ms() > STALE_MS
    }

    /// Whether they are asked, whatever they answer.
    pub fn is_asking(&self) -> bool {
        self.asking.iter().all(Pulse::is_alive)
    }

    /// The stores that are away.
    pub fn away(&self) -> Vec<&'static str> {
        let mut away = Vec::new();
        if self.now_ms().saturating_sub(self.redis_ms.load(Ordering::Relaxed)) > STALE_MS {
            away.push(Store::Redis.name());
        }
        if self.postgres_is_away() {
            away.push(Store::Postgres.name());
        }
        away
    }

    fn now_ms(&self) -> u64 {
        self.base.elapsed().as_millis() as u64
    }

    /// Asks both stores, for ever.
    pub async fn watch(&self, redis: &Redis, sales: &Sales) {
        tokio::join!(
            self.ask(Store::Redis, [REDIS_EVERY, REDIS_TIMEOUT], &self.redis_ms, &self.asking[0], || {
                redis.prove()
            }),
            self.ask(
                Store::Postgres,
                [POSTGRES_EVERY, POSTGRES_TIMEOUT],
                &self.postgres_ms,
                &self.asking[1],
                || sales.prove()
            ),
        );
    }

    async fn ask<F: Future<Output = Result<(), StoreError>>>(
        &self,
        store: Store,
        [every, within]: [Duration; 2],
        at: &AtomicU64,
        pulse: &Pulse,
        ask: impl Fn() -> F,
    ) {
        let name = store.name();
        let mut every = interval(every);
        // Proofs that were due while a store hung prove nothing, all at once.
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_away = false;
        loop {
            every.tick().await;
            pulse.beat();
            // The proof is as old as the question: the answer may have waited on its way back.
            let asked = self.now_ms();
            let answer = timeout(within, ask()).await.unwrap_or(Err(StoreError::Timeout(store)));
            metrics::store_up(name, answer.is_ok());
            match answer {
                Ok(()) => {
                    at.store(asked, Ordering::Relaxed);
                    if std::mem::take(&mut was_away) {
                        tracing::info!("{name} answers again");
                    }
                }
                Err(error) if !was_away => {
                    was_away = true;
                    tracing::warn!("{name} cannot be used: {error}");
                }
                Err(_) => {}
            }
        }
    }
}
