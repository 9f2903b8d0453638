//! Answers of the public API that many ask for: one load however many ask, bounded in time and memory. Errors are
//! not kept.

use crate::{
    edge::packed::Packed,
    limits::{CACHE_BYTES_MAX, CACHE_TTL, PLANS_BYTES_MAX},
    metrics::{self, CacheName},
};
use bytes::Bytes;
use moka::{
    future::{Cache as Moka, CacheBuilder},
    policy::EvictionPolicy,
};
use std::{
    future::Future,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};
use wire::domain::{ids::SaleId, journal::Head};

/// What moka and the map need for an entry beside what is in it, about.
const ENTRY_BYTES: usize = 256;
/// Sales whose journal's head is kept.
const HEADS_MAX: u64 = 1_000;
/// Ids that are no sale's: each weighs at most 64 bytes and what an entry needs.
const STRANGERS_MAX: u64 = 10_000;

/// A sale's summary: a JSON object that lacks only its age.
#[derive(Clone)]
pub struct Summary {
    /// The object.
    pub json: Bytes,
    /// When it was true.
    pub as_of: Instant,
}

impl Summary {
    /// Appends the object with its age as it is now.
    pub fn write(&self, into: &mut Vec<u8>) {
        let age = format!("{{\"age_s\":{},", self.as_of.elapsed().as_secs());
        into.extend_from_slice(age.as_bytes());
        into.extend_from_slice(&self.json[1..]);
    }
}

/// Whose summary: one sale's, or with `None` all sales'; and of which revision of what the instance knows. A
/// change makes a new revision, and so asks for what is not there yet.
type Subject = (Option<SaleId>, u64);

/// The caches.
pub struct Cache {
    summaries: Moka<Subject, Arc<[Summary]>>,
    /// By the epoch before a sale's first, too: a sale of the same id as a deleted one has a plan of its own.
    plans: Moka<(SaleId, u64), Packed>,
    heads: Moka<SaleId, Option<Head>>,
    strangers: Moka<SaleId, ()>,
    /// Whether anything is kept.
    keeps: bool,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new([CACHE_BYTES_MAX, PLANS_BYTES_MAX], CACHE_TTL)
    }
}

impl Cache {
    fn new([summaries_max, plans_max]: [u64; 2], ttl: Duration) -> Self {
        let bounded = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        let summaries = move |_: &Subject, summaries: &Arc<[Summary]>| {
            bounded(summaries.iter().map(|summary| summary.json.len() + ENTRY_BYTES).sum::<usize>())
        };
        let plans = move |_: &(SaleId, u64), plan: &Packed| bounded(plan.len() + ENTRY_BYTES);
        Self {
            summaries: CacheBuilder::new(summaries_max).time_to_live(ttl).weigher(summaries).build(),
            // A sale's plan never changes. The sale that is asked for now comes before whichever was asked for more often once.
            plans: CacheBuilder::new(plans_max).weigher(plans).eviction_policy(EvictionPolicy::lru()).build(),
            heads: CacheBuilder::new(HEADS_MAX).time_to_live(ttl).build(),
            strangers: CacheBuilder::new(STRANGERS_MAX).time_to_live(ttl).build(),
            keeps: true,
        }
    }

    /// Keeps nothing and lets each asker load for himself: what the cache is measured against.
    pub fn none() -> Self {
        Self { keeps: false, ..Self::default() }
    }

    /// The summary of a sale, or of all, as of a revision.
    pub async fn summaries<E: Send + Sync + 'static>(
        &self,
        subject: Subject,
        make: impl Future<Output = Result<Arc<[Summary]>, E>>,
    ) -> Result<Arc<[Summary]>, Arc<E>> {
        let name = if subject.0.is_some() { CacheName::Sale } else { CacheName::Sales };
        self.counted(&self.summaries, name, subject, make).await
    }

    /// The plan of a sale.
    pub async fn plan<E: Send + Sync + 'static>(
        &self,
        sale: SaleId,
        first_epoch: u64,
        make: impl Future<Output = Result<Packed, E>>,
    ) -> Result<Packed, Arc<E>> {
        self.counted(&self.plans, CacheName::Plan, (sale, first_epoch), make).await
    }

    /// The end of a sale's journal.
    pub async fn head<E: Send + Sync + 'static>(
        &self,
        sale: SaleId,
        make: impl Future<Output = Result<Option<Head>, E>>,
    ) -> Result<Option<Head>, Arc<E>> {
        self.counted(&self.heads, CacheName::Head, sale, make).await
    }

    /// Remembers for a moment that `sale` is nobody's, if `look_up` says so; what it finds instead is handed to
    /// all who wait for it, but not kept here.
    pub async fn stranger<E: Send + Sync + 'static>(
        &self,
        sale: SaleId,
        look_up: impl Future<Output = Result<(), E>>,
    ) -> Result<(), Arc<E>> {
        let found = self.through(&self.strangers, sale, look_up).await;
        // Of a sale that is there nothing is kept here, and nothing was missed.
        if let Ok(((), hit)) = found {
            metrics::cache_request(CacheName::Stranger, hit);
        }
        found.map(|_| ())
    }

    async fn counted<K, V, E>(
        &self,
        cache: &Moka<K, V>,
        name: CacheName,
        key: K,
        make: impl Future<Output = Result<V, E>>,
    ) -> Result<V, Arc<E>>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let found = self.through(cache, key, make).await;
        metrics::cache_request(name, found.as_ref().is_ok_and(|(_, hit)| *hit));
        found.map(|(value, _)| value)
    }

    /// What is kept or made, and whether it was kept.
    async fn through<K, V, E>(
        &self,
        cache: &Moka<K, V>,
        key: K,
        make: impl Future<Output = Result<V, E>>,
    ) -> Result<(V, bool), Arc<E>>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        if !self.keeps {
            return make.await.map(|value| (value, false)).map_err(Arc::new);
        }
        let entry = cache.entry(key).or_try_insert_with(make).await;
        let hit = entry.as_ref().is_ok_and(|entry| !entry.is_fresh());
        if !hit {
            // Else moka weighs new entries a few dozen at a time, and that many plans are much memory.
            cache.run_pending_tasks().await;
        }
        entry.map(|entry| (entry.into_value(), hit))
    }

    /// Shows what is kept at the moment of a scrape.
    pub async fn sample(&self) {
        self.summaries.run_pending_tasks().await;
        self.plans.run_pending_tasks().await;
        metrics::cache_bytes("summaries", self.summaries.weighted_size());
        metrics::cache_bytes("plans", self.plans.weighted_size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn sale(n: usize) -> SaleId {
        SaleId::parse(&format!("sale-{n}")).unwrap()
    }

    fn plan(bytes: usize) -> Packed {
        Packed::plain("application/json", vec![b' '; bytes].into())
    }

    async fn loads_of_a_thousand_askers(cache: &Cache) -> usize {
        let loads = AtomicUsize::new(0);
        let ask = || {
            cache.plan(sale(0), 0, async {
                loads.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
                Ok::<_, ()>(plan(1))
            })
        };
        assert!(join_all((0..1_000).map(|_| ask())).await.iter().all(Result::is_ok));
        loads.into_inner()
    }

    #[tokio::test]
    async fn a_thousand_askers_make_one_load() {
        assert_eq!(loads_of_a_thousand_askers(&Cache::default()).await, 1);
        // The planted bug, each for himself, is seen.
        assert_eq!(loads_of_a_thousand_askers(&Cache::none()).await, 1_000);
    }

    /// The most bytes that the plans of 1,000 sales ever came to.
    async fn most_bytes(cache: &Cache) -> u64 {
        let mut most = 0;
        for n in 0..1_000 {
            cache.plan(sale(n), 0, async { Ok::<_, ()>(plan(1_000)) }).await.unwrap();
            most = most.max(cache.plans.iter().map(|(_, plan)| plan.len() as u64).sum());
        }
        most
    }

    #[tokio::test]
    async fn memory_is_bounded_however_many_keys_come() {
        const BOUND: u64 = 100_000;
        assert!(most_bytes(&Cache::new([BOUND; 2], CACHE_TTL)).await <= BOUND);
        // The planted bug, no bound, is seen.
        assert!(most_bytes(&Cache::new([u64::MAX; 2], CACHE_TTL)).await > BOUND);
    }

    #[tokio::test]
    async fn a_plan_larger_than_the_bound_is_answered_and_not_kept() {
        let cache = Cache::new([1_000; 2], CACHE_TTL);
        assert_eq!(cache.plan(sale(0), 0, async { Ok::<_, ()>(plan(5_000)) }).await.unwrap().len(), 5_000);
        assert_eq!(cache.plans.entry_count(), 0);
    }

    #[tokio::test]
    async fn the_plan_that_is_asked_for_now_is_kept_whatever_was_asked_for_before() {
        let (cache, loads) = (Cache::new([1_000; 2], CACHE_TTL), AtomicUsize::new(0));
        for n in [0; 20].into_iter().chain([1; 20]) {
            let load = async {
                loads.fetch_add(1, Ordering::Relaxed);
                Ok::<_, ()>(plan(400))
            };
            cache.plan(sale(n), 0, load).await.unwrap();
            cache.plans.run_pending_tasks().await;
        }
        assert_eq!(loads.into_inner(), 2);
    }

    async fn summary(cache: &Cache, revision: u64, json: &'static str) -> Vec<u8> {
        let made = Summary { json: Bytes::from_static(json.as_bytes()), as_of: Instant::now() };
        let make = async { Ok::<_, ()>(Arc::from([made])) };
        let mut body = Vec::new();
        cache.summaries((Some(sale(0)), revision), make).await.unwrap()[0].write(&mut body);
        body
    }

    #[tokio::test]
    async fn a_change_is_seen_at_once_and_else_the_answer_lives_for_its_time() {
        let number = |body: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&body).unwrap()["n"].clone();
        let cache = Cache::new([CACHE_BYTES_MAX; 2], Duration::from_secs(600));
        assert_eq!(number(summary(&cache, 1, r#"{"n":1}"#).await), 1);
        assert_eq!(number(summary(&cache, 1, r#"{"n":2}"#).await), 1);
        assert_eq!(number(summary(&cache, 2, r#"{"n":3}"#).await), 3);
        let brief = Cache::new([CACHE_BYTES_MAX; 2], Duration::from_millis(50));
        summary(&brief, 2, r#"{"n":3}"#).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(number(summary(&brief, 2, r#"{"n":4}"#).await), 4);
    }

    #[tokio::test]
    async fn errors_reach_all_who_wait_and_are_not_kept() {
        let cache = Cache::default();
        assert_eq!(*cache.plan(sale(0), 0, async { Err("away") }).await.err().unwrap(), "away");
        assert!(cache.plan(sale(0), 0, async { Ok::<_, ()>(plan(1)) }).await.is_ok());
    }

    #[test]
    fn ages_are_counted_when_the_answer_is_sent() {
        let as_of = Instant::now().checked_sub(Duration::from_millis(3_500)).unwrap();
        let mut body = Vec::new();
        Summary { json: Bytes::from_static(br#"{"id":"a"}"#), as_of }.write(&mut body);
        assert_eq!(body, br#"{"age_s":3,"id":"a"}"#);
    }
}
