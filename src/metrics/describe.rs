//! What each metric is, for who reads the page.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

pub(super) fn all() {
    metrics_process::Collector::default().describe();
    describe_gauge!("waitroom_build_info", "The version that runs; always 1");
    describe_sale();
    describe_service();
    describe_durations();
}

fn describe_sale() {
    describe_gauge!("waitroom_waiting", "Places in the line");
    describe_gauge!("waitroom_grants_active", "Live grants");
    describe_gauge!(
        "waitroom_bookings_held",
        "Bookings that are not yet confirmed; each counts as a live grant"
    );
    describe_gauge!("waitroom_seats_left", "Seats that are neither booked, held nor blocked");
    describe_gauge!("waitroom_rate", "Admissions a second that the operator allows, over all instances");
    describe_gauge!(
        "waitroom_max_active",
        "Live grants at once that the operator allows, over all instances"
    );
    describe_gauge!("waitroom_phase", "1 for the phase that the sale is in, 0 for the others");
    describe_gauge!(
        "waitroom_rank_round_seconds",
        Unit::Seconds,
        "How long it took to offer everyone on this instance his rank; 3 unless the machine does not keep up"
    );
    describe_counter!("waitroom_joins_total", "New places drawn through this instance");
    describe_counter!("waitroom_admissions_total", "Grants given by this instance's ticks");
    describe_counter!("waitroom_lapses_total", "Grants and places that ended unspent, by reason");
    describe_counter!("waitroom_redeems_total", "Redeems answered, by outcome");
    describe_counter!(
        "waitroom_stale_refusals_total",
        "Redeems of seats that were all shown free when it came, and refused because one was taken"
    );
}

fn describe_service() {
    describe_gauge!("waitroom_connections", "WebSocket connections of this instance");
    describe_gauge!("waitroom_public_connections", "Connections of any kind of the public listener");
    describe_gauge!(
        "waitroom_parked_connections",
        "WebSocket connections of those who wait, which have no task"
    );
    describe_gauge!("waitroom_admin_connections", "Connections of the admin listener");
    describe_counter!(
        "waitroom_connections_refused_total",
        "Connections that were not served, by reason: full (all are in use), address (all that \
         one network may have are), silent (made room for others), \
         slow (no request, or no end of a TLS handshake, within the time), malformed (what came is no HTTP), tls (the handshake failed), unread (the peer takes nothing), accept (the system gave none)"
    );
    describe_gauge!(
        "waitroom_certificate_expires_timestamp_seconds",
        "Until when the certificate is good that visitors are shown, in seconds since 1970; absent without TLS of our own"
    );
    describe_counter!(
        "waitroom_visitors_refused_total",
        "Visitors who were not served, by reason: origin (a page of another), identity (no good proof of who it is), requests \
         (more than anyone needs), address_places, address_sockets (the limits of a network), proof_needed (work was asked for), \
         proof_invalid (what was shown for work was none)"
    );
    describe_counter!(
        "waitroom_task_restarts_total",
        "Tasks of a room that broke down and were started again, by operation; must stay 0"
    );
    describe_gauge!("waitroom_sends_waiting", "Frames that wait until their peer reads");
    describe_counter!("waitroom_admin_denials_total", "Calls of the admin API with a wrong token");
    describe_counter!("waitroom_sockets_dropped_total", "Sockets given up because of their peer, by reason");
    describe_counter!("waitroom_join_errors_total", "Joins that a store or a full queue kept from an answer");
    describe_counter!("waitroom_rank_pushes_total", "Ranks sent over sockets");
    describe_counter!(
        "waitroom_rank_audit_failures_total",
        "Ranks of the board that Redis contradicted; must stay 0"
    );
    describe_counter!(
        "waitroom_cache_requests_total",
        "Questions put to the cache of sale information, by what was asked for and outcome"
    );
    describe_gauge!("waitroom_cache_bytes", "Memory of the cache of sale information, by what is kept");
    describe_gauge!("waitroom_store_up", "Whether the store answered when last asked, by store");
    describe_counter!("waitroom_store_errors_total", "Calls to a store that failed, by store and operation");
    describe_gauge!(
        "waitroom_postgres_pool_connections",
        "Open connections of the PostgreSQL pool, by state"
    );
    describe_gauge!(
        "waitroom_postgres_pool_max_connections",
        "Connections that the PostgreSQL pool may open"
    );
    describe_gauge!(
        "waitroom_journal_waiting_bytes",
        "Bytes of the stream that are not journaled yet, by sale"
    );
    describe_counter!(
        "waitroom_journal_forks_total",
        "Times that Redis was found to tell otherwise than what is journaled"
    );
    describe_gauge!("waitroom_restoring", "1 while a line that Redis lost is being restored, by sale");
    describe_counter!(
        "waitroom_restores_total",
        "Lines that Redis had lost, or a part of them, restored from their journals by this instance"
    );
    describe_gauge!(
        "waitroom_postgres_pool_waiting",
        "Callers that wait for a connection of the PostgreSQL pool"
    );
}

fn describe_durations() {
    let seconds = |name: &'static str, help: &'static str| describe_histogram!(name, Unit::Seconds, help);
    seconds("waitroom_join_duration_seconds", "From a join's arrival to its durable place");
    seconds(
        "waitroom_rank_age_seconds",
        "How old a pushed rank is: from the sweep that read it off the board to its sending",
    );
    seconds(
        "waitroom_grant_delivery_seconds",
        "From the tick that gave a grant to its sending on the socket",
    );
    seconds("waitroom_redeem_duration_seconds", "From a redeem's arrival to its answer");
    seconds(
        "waitroom_seat_news_duration_seconds",
        "How old a change of the seat map is when it is sent on a socket that watches: from the commit that this \
         instance made, or the stream's entry that told it of one; of several changes in one frame, the oldest",
    );
    seconds(
        "waitroom_copy_duration_seconds",
        "One transaction that commits a batch of bookings, by COPY or, a small one, by a statement",
    );
    seconds(
        "waitroom_journal_lag_seconds",
        "How long the oldest entry of a batch had waited for its journal when it was written",
    );
    seconds("waitroom_redis_duration_seconds", "One call to Redis, by operation");
    seconds(
        "waitroom_probe_duration_seconds",
        "A question that needs no work, put to a store twice a second",
    );
    seconds(
        "waitroom_postgres_pool_wait_seconds",
        "How long that question waited for a connection of the pool",
    );
    describe_histogram!("waitroom_copy_rows", "Rows written by one batch of bookings");
}
