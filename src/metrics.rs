//! Every metric; nothing else touches the metrics macros. Prometheus' conventions: base units, `_total`, and
//! labels of bounded sets only (sale, outcome, operation, reason), never a visitor.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{sync::OnceLock, time::Duration};

/// Buckets in seconds for everything that a visitor waits for.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 30.0];
/// Buckets in rows for the size of a COPY.
const ROWS: [f64; 10] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0, 5000.0];

static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once a process, and describes every metric. Nothing if it cannot be installed.
pub fn handle() -> Option<&'static PrometheusHandle> {
    HANDLE
        .get_or_init(|| {
            let builder = PrometheusBuilder::new()
                .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
                .and_then(|b| b.set_buckets_for_metric(Matcher::Full("waitroom_copy_rows".into()), &ROWS));
            let handle = builder.ok()?.install_recorder().ok()?;
            describe();
            gauge!("waitroom_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            Some(handle)
        })
        .as_ref()
}

fn describe() {
    metrics_process::Collector::default().describe();
    describe_gauge!("waitroom_connections", "WebSocket connections of this instance");
    describe_gauge!("waitroom_waiting", "Places in the line");
    describe_gauge!("waitroom_grants_active", "Live grants");
    describe_gauge!("waitroom_seats_left", "Seats that are neither booked, held nor blocked");
    describe_gauge!("waitroom_build_info", "The version that runs; always 1");
    describe_counter!("waitroom_joins_total", "New places drawn through this instance");
    describe_counter!("waitroom_admissions_total", "Grants given by this instance's ticks");
    describe_counter!("waitroom_lapses_total", "Grants and places that ended unspent, by reason");
    describe_counter!("waitroom_redeems_total", "Redeems answered, by outcome");
    describe_counter!("waitroom_rank_pushes_total", "Ranks sent over sockets");
    describe_counter!(
        "waitroom_rank_audit_failures_total",
        "Ranks of the board that Redis contradicted; must stay 0"
    );
    let seconds = |name: &'static str, help: &'static str| describe_histogram!(name, Unit::Seconds, help);
    seconds("waitroom_join_duration_seconds", "From a join's arrival to its durable place");
    seconds(
        "waitroom_rank_age_seconds",
        "How old a pushed rank is: time since its line's last change was decided",
    );
    seconds(
        "waitroom_grant_delivery_seconds",
        "From the tick that gave a grant to its sending on the socket",
    );
    seconds("waitroom_redeem_duration_seconds", "From a redeem's arrival to its answer");
    seconds("waitroom_copy_duration_seconds", "One transaction that commits a batch of bookings");
    seconds("waitroom_redis_duration_seconds", "One call to Redis, by operation");
    describe_histogram!("waitroom_copy_rows", "Rows written by one batch of bookings");
}

/// The page for Prometheus.
pub fn render() -> String {
    metrics_process::Collector::default().collect();
    handle().map(PrometheusHandle::render).unwrap_or_default()
}

/// Keeps the histograms' memory bounded; to be called every few seconds.
pub fn run_upkeep() {
    if let Some(handle) = handle() {
        handle.run_upkeep();
    }
}

/// Open sockets of this instance.
pub fn connections(count: usize) {
    gauge!("waitroom_connections").set(count as f64);
}

/// A sale's live numbers.
pub fn sale_gauges(sale: &str, waiting: u64, grants: u64, seats_left: u64) {
    gauge!("waitroom_waiting", "sale" => sale.to_owned()).set(waiting as f64);
    gauge!("waitroom_grants_active", "sale" => sale.to_owned()).set(grants as f64);
    gauge!("waitroom_seats_left", "sale" => sale.to_owned()).set(seats_left as f64);
}

/// Makes a sale's counters visible at 0, so that rates are right from the first event on.
pub fn start_sale(sale: &str) {
    counter!("waitroom_joins_total", "sale" => sale.to_owned()).increment(0);
    counter!("waitroom_admissions_total", "sale" => sale.to_owned()).increment(0);
    for reason in ["missed", "expired", "left", "closed"] {
        lapses(sale, reason, 0);
    }
    counter!("waitroom_rank_pushes_total").increment(0);
    counter!("waitroom_rank_audit_failures_total").increment(0);
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

/// A rank was sent.
pub fn rank_push(age: Duration) {
    counter!("waitroom_rank_pushes_total").increment(1);
    histogram!("waitroom_rank_age_seconds").record(age.as_secs_f64());
}

/// The board and Redis disagreed.
pub fn rank_audit_failure() {
    counter!("waitroom_rank_audit_failures_total").increment(1);
}

/// A join was answered.
pub fn join_duration(took: Duration) {
    histogram!("waitroom_join_duration_seconds").record(took.as_secs_f64());
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
