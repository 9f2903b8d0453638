//! Every metric; nothing else touches the metrics macros. Prometheus' conventions: base units, `_total`, and
//! labels of bounded sets only (sale, outcome, operation, reason), never a visitor.

mod access;
mod connections;
mod describe;
mod journal;

pub use connections::*;
use metrics::{Counter, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    collections::HashSet,
    sync::{LazyLock, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

pub use access::admin_denials;
pub use journal::{journal_fork, journal_lag, journal_waiting, restored};

/// Buckets in seconds for everything that a visitor waits for.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0];
/// Buckets in rows for the size of a COPY.
const ROWS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0, 5000.0];

/// The phases of a sale, in the contract's words.
const PHASES: [&str; 6] = ["scheduled", "open", "paused", "all_held", "sold_out", "closed"];
/// Operations whose errors are shown at 0 before the first.
const OPERATIONS: [(&str, &[&str]); 2] = [
    ("Redis", &["probe", "join", "poll", "tick", "fence", "bookings"]),
    ("PostgreSQL", &["probe", "commit"]),
];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once a process, and describes every metric. Nothing if it cannot be installed.
pub fn handle() -> Option<&'static PrometheusHandle> {
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
                .and_then(|b| b.set_buckets_for_metric(Matcher::Full("waitroom_copy_rows".into()), &ROWS));
            let handle = builder.ok()?.install_recorder().ok()?;
            describe::all();
            start();
            gauge!("waitroom_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            Some(handle)
        })
        .as_ref()
}

/// Makes what belongs to no sale visible at 0.
fn start() {
    for (store, operations) in OPERATIONS {
        operations.iter().for_each(|operation| store_errors(store, operation, 0));
    }
    for name in [CacheName::Sale, CacheName::Sales, CacheName::Plan, CacheName::Head, CacheName::Stranger] {
        ["hit", "miss"].into_iter().for_each(|outcome| cache_requests(name, outcome, 0));
    }
    counter!("waitroom_join_errors_total").increment(0);
    counter!("waitroom_rank_pushes_total").increment(0);
    counter!("waitroom_rank_audit_failures_total").increment(0);
    counter!("waitroom_journal_forks_total").increment(0);
    counter!("waitroom_admin_denials_total").increment(0);
    counter!("waitroom_restores_total").increment(0);
    connections::start();
    histograms();
}

/// An empty histogram is there too: what is not there cannot be told from what was never built.
fn histograms() {
    drop(histogram!("waitroom_join_duration_seconds"));
    drop(histogram!("waitroom_rank_age_seconds"));
    drop(histogram!("waitroom_grant_delivery_seconds"));
    drop(histogram!("waitroom_redeem_duration_seconds"));
    drop(histogram!("waitroom_seat_news_duration_seconds"));
    drop(histogram!("waitroom_copy_duration_seconds"));
    drop(histogram!("waitroom_copy_rows"));
    drop(histogram!("waitroom_journal_lag_seconds"));
    drop(histogram!("waitroom_postgres_pool_wait_seconds"));
    for (store, operations) in OPERATIONS {
        drop(histogram!("waitroom_probe_duration_seconds", "store" => store));
        let in_redis = operations.iter().filter(|operation| store == "Redis" && **operation != "probe");
        in_redis.for_each(|operation| {
            drop(histogram!("waitroom_redis_duration_seconds", "operation" => *operation))
        });
    }
}

/// The page for Prometheus.
pub fn render() -> String {
    metrics_process::Collector::default().collect();
    connections::render();
    without_ended(handle().map(PrometheusHandle::render).unwrap_or_default())
}

/// Sales that have ended here.
static ENDED: RwLock<Option<HashSet<String>>> = RwLock::new(None);

/// The recorder keeps a series for ever; those of a sale that has ended are not shown any more.
fn without_ended(page: String) -> String {
    let ended = ENDED.read().unwrap_or_else(PoisonError::into_inner);
    let Some(ended) = ended.as_ref().filter(|ended| !ended.is_empty()) else { return page };
    let is_over = |line: &str| {
        let sale = line.split_once("sale=\"").and_then(|(_, rest)| rest.split_once('"'));
        sale.is_some_and(|(sale, _)| ended.contains(sale))
    };
    page.split_inclusive('\n').filter(|line| !is_over(line)).collect()
}

/// The sale has ended on this instance: its series end.
pub fn end_sale(sale: &str) {
    ENDED.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(sale.to_owned());
}

/// Keeps the histograms' memory bounded; to be called every few seconds.
pub fn run_upkeep() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}

/// So many times a task of a room broke down and was started again; with 0 the series begins.
pub fn task_restarts(task: &'static str, count: u64) {
    counter!("waitroom_task_restarts_total", "operation" => task).increment(count);
}

/// A sale's live numbers.
pub struct SaleGauges {
    /// Places in the line.
    pub waiting: u64,
    /// Live grants.
    pub grants: u64,
    /// Bookings that are held.
    pub held: u64,
    /// Free seats.
    pub seats_left: u64,
    /// Allowed admissions a second.
    pub rate: f64,
    /// Allowed live grants.
    pub max_active: u32,
    /// The phase.
    pub phase: &'static str,
    /// Whether the line is being restored.
    pub restoring: bool,
}

/// Shows a sale's live numbers.
pub fn sale(sale: &str, now: &SaleGauges) {
    gauge!("waitroom_waiting", "sale" => sale.to_owned()).set(now.waiting as f64);
    gauge!("waitroom_grants_active", "sale" => sale.to_owned()).set(now.grants as f64);
    gauge!("waitroom_bookings_held", "sale" => sale.to_owned()).set(now.held as f64);
    gauge!("waitroom_seats_left", "sale" => sale.to_owned()).set(now.seats_left as f64);
    gauge!("waitroom_rate", "sale" => sale.to_owned()).set(now.rate);
    gauge!("waitroom_max_active", "sale" => sale.to_owned()).set(f64::from(now.max_active));
    gauge!("waitroom_restoring", "sale" => sale.to_owned()).set(f64::from(u8::from(now.restoring)));
    for phase in PHASES {
        let is_now = f64::from(u8::from(phase == now.phase));
        gauge!("waitroom_phase", "sale" => sale.to_owned(), "phase" => phase).set(is_now);
    }
}

/// Makes a sale's counters visible at 0, so that rates are right from the first event on.
pub fn start_sale(sale: &str) {
    ENDED.write().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().remove(sale);
    counter!("waitroom_joins_total", "sale" => sale.to_owned()).increment(0);
    counter!("waitroom_admissions_total", "sale" => sale.to_owned()).increment(0);
    for reason in ["missed", "expired", "left", "closed", "removed"] {
        lapses(sale, reason, 0);
    }
    stale_refusals(sale, 0);
    for outcome in ["booked", "busy"] {
        counter!("waitroom_redeems_total", "sale" => sale.to_owned(), "outcome" => outcome).increment(0);
    }
}

/// New places.
pub fn joins(sale: &str, count: u64) {
    counter!("waitroom_joins_total", "sale" => sale.to_owned()).increment(count);
}

/// Grants given.
pub fn admissions(sale: &str, count: u64) {
    counter!("waitroom_admissions_total", "sale" => sale.to_owned()).increment(count);
}

/// Grants or places ended unspent.
pub fn lapses(sale: &str, reason: &'static str, count: u64) {
    counter!("waitroom_lapses_total", "sale" => sale.to_owned(), "reason" => reason).increment(count);
}

/// A redeem was answered: `booked`, or a refusal's reason.
pub fn redeem(sale: &str, outcome: &'static str, took: Duration) {
    counter!("waitroom_redeems_total", "sale" => sale.to_owned(), "outcome" => outcome).increment(1);
    histogram!("waitroom_redeem_duration_seconds").record(took.as_secs_f64());
}

/// Redeems were refused for seats that the map showed free.
pub fn stale_refusals(sale: &str, count: u64) {
    counter!("waitroom_stale_refusals_total", "sale" => sale.to_owned()).increment(count);
}

/// Changes of the seat map were sent on a socket.
pub fn seat_news(age: Duration) {
    histogram!("waitroom_seat_news_duration_seconds").record(age.as_secs_f64());
}

/// A redeem came with a token that opens nothing: counted, but not as a duration, for nothing was done.
pub fn token_invalid(sale: &str) {
    counter!("waitroom_redeems_total", "sale" => sale.to_owned(), "outcome" => "token_invalid").increment(1);
}

/// A rank was sent.
pub fn rank_push(age: Duration) {
    // Looked up once: there are tens of thousands a second.
    static SERIES: LazyLock<(Counter, Histogram)> = LazyLock::new(|| {
        handle();
        (counter!("waitroom_rank_pushes_total"), histogram!("waitroom_rank_age_seconds"))
    });
    SERIES.0.increment(1);
    SERIES.1.record(age.as_secs_f64());
}

/// How long it took to offer everyone his rank once; more than `limits::FAR_ROUND` if the machine does not keep up.
pub fn rank_round(sale: &str, took: Duration) {
    gauge!("waitroom_rank_round_seconds", "sale" => sale.to_owned()).set(took.as_secs_f64());
}

/// The board and Redis disagreed.
pub fn rank_audit_failure() {
    counter!("waitroom_rank_audit_failures_total").increment(1);
}

/// A join was answered, or could not be.
pub fn join(took: Duration, answered: bool) {
    histogram!("waitroom_join_duration_seconds").record(took.as_secs_f64());
    counter!("waitroom_join_errors_total").increment(u64::from(!answered));
}

/// A grant reached its socket.
pub fn grant_delivery(took: Duration) {
    histogram!("waitroom_grant_delivery_seconds").record(took.as_secs_f64());
}

/// A batch of bookings was committed.
pub fn copy(rows: usize, took: Duration) {
    histogram!("waitroom_copy_rows").record(rows as f64);
    histogram!("waitroom_copy_duration_seconds").record(took.as_secs_f64());
}

/// A call to Redis returned.
pub fn redis(operation: &'static str, took: Duration) {
    histogram!("waitroom_redis_duration_seconds", "operation" => operation).record(took.as_secs_f64());
}

/// A store answered, or did not.
pub fn store_up(store: &'static str, up: bool) {
    gauge!("waitroom_store_up", "store" => store).set(f64::from(u8::from(up)));
    store_errors(store, "probe", u64::from(!up));
}

/// Calls to a store failed.
pub fn store_errors(store: &'static str, operation: &'static str, count: u64) {
    counter!("waitroom_store_errors_total", "store" => store, "operation" => operation).increment(count);
}

/// What a cache is asked for.
#[derive(Clone, Copy)]
pub enum CacheName {
    /// A sale's summary.
    Sale,
    /// The list of sales.
    Sales,
    /// A seating plan.
    Plan,
    /// The end of a sale's journal.
    Head,
    /// Whether an id is no sale's.
    Stranger,
}

/// A cache was asked; a hit if it needed no load of its own.
pub fn cache_request(name: CacheName, hit: bool) {
    cache_requests(name, if hit { "hit" } else { "miss" }, 1);
}

fn cache_requests(name: CacheName, outcome: &'static str, count: u64) {
    let name = match name {
        CacheName::Sale => "sale",
        CacheName::Sales => "sales",
        CacheName::Plan => "plan",
        CacheName::Head => "journal_head",
        CacheName::Stranger => "unknown_sale",
    };
    counter!("waitroom_cache_requests_total", "cache" => name, "outcome" => outcome).increment(count);
}

/// What a cache keeps, weighed.
pub fn cache_bytes(kept: &'static str, bytes: u64) {
    gauge!("waitroom_cache_bytes", "cache" => kept).set(bytes as f64);
}

/// The pool of connections to PostgreSQL, as it is now.
pub fn postgres_pool(max: usize, open: usize, idle: usize, waiting: usize) {
    let in_use = open.saturating_sub(idle);
    gauge!("waitroom_postgres_pool_connections", "state" => "in_use").set(in_use as f64);
    gauge!("waitroom_postgres_pool_connections", "state" => "idle").set(idle as f64);
    gauge!("waitroom_postgres_pool_max_connections").set(max as f64);
    gauge!("waitroom_postgres_pool_waiting").set(waiting as f64);
}

/// A wait, recorded when it ends: also one that was given up, or the worst would not be seen.
pub struct Wait {
    began: Instant,
    record: fn(f64),
}

impl Drop for Wait {
    fn drop(&mut self) {
        (self.record)(self.began.elapsed().as_secs_f64());
    }
}

/// Redis is asked.
pub fn redis_probe() -> Wait {
    wait(|s| histogram!("waitroom_probe_duration_seconds", "store" => "Redis").record(s))
}

/// PostgreSQL is asked.
pub fn postgres_probe() -> Wait {
    wait(|s| histogram!("waitroom_probe_duration_seconds", "store" => "PostgreSQL").record(s))
}

/// A connection of the PostgreSQL pool is waited for.
pub fn postgres_pool_wait() -> Wait {
    wait(|s| histogram!("waitroom_postgres_pool_wait_seconds").record(s))
}

fn wait(record: fn(f64)) -> Wait {
    Wait { began: Instant::now(), record }
}
