//! Metrics of whoever connects, and of who is not let in.

use metrics::{Gauge, counter, gauge};
use std::{
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Sends that wait for their peer, now. Counted here, since a gauge's own look-up would cost each frame more.
static SENDING: AtomicUsize = AtomicUsize::new(0);

/// Open sockets of this instance.
pub fn connections(count: usize) {
    gauge!("waitroom_connections").set(count as f64);
}

/// Where connections come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listeners {
    /// For visitors.
    Public,
    /// For operators and Prometheus.
    Admin,
}

/// Open connections of any kind.
pub fn open_connections(listener: Listeners, count: usize) {
    match listener {
        Listeners::Public => gauge!("waitroom_public_connections").set(count as f64),
        Listeners::Admin => gauge!("waitroom_admin_connections").set(count as f64),
    }
}

/// Waiting sockets that have no task.
pub fn parked_connections(count: usize) {
    // Looked up once: whoever says or hears anything is parked anew.
    static SERIES: LazyLock<Gauge> = LazyLock::new(|| {
        super::handle();
        gauge!("waitroom_parked_connections")
    });
    SERIES.set(count as f64);
}

/// So many connections were not served: `full`, `address`, `silent`, `slow`, `malformed`, `tls`, `unread` or `accept`; with 0 the series begins.
pub fn connections_refused(reason: &'static str, count: u64) {
    counter!("waitroom_connections_refused_total", "reason" => reason).increment(count);
}

/// Until when the certificate is good that visitors are shown.
pub fn certificate_expires(at: SystemTime) {
    let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("waitroom_certificate_expires_timestamp_seconds").set(at.as_secs_f64());
}

/// Sockets were given up: `lane_full`, `unread` (a frame that the peer did not take), `silent`, `flood`, `no_join`, `bad_message`, `protocol`
/// (frames or texts that are none), `too_big`, `closed` (the sale's end) or `broken` (a fault of ours).
pub fn sockets_dropped(reason: &'static str, count: u64) {
    counter!("waitroom_sockets_dropped_total", "reason" => reason).increment(count);
}

/// A frame is being sent for as long as the guard lives.
pub struct Sending(());

/// Counts a send.
pub fn sending() -> Sending {
    SENDING.fetch_add(1, Ordering::Relaxed);
    Sending(())
}

impl Drop for Sending {
    fn drop(&mut self) {
        SENDING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a visitor, or somebody who would be one, was not served.
#[derive(Clone, Copy, Debug)]
pub enum Refused {
    /// A page of another origin.
    Origin,
    /// No good proof of who he is.
    Identity,
    /// More requests than anyone needs.
    Requests,
    /// As many places as a network may draw.
    AddressPlaces,
    /// As many sockets as a network may have.
    AddressSockets,
    /// Work was asked for.
    ProofNeeded,
    /// What he showed for work was none, or too old.
    ProofInvalid,
}

impl Refused {
    const ALL: [Self; 7] = [
        Self::Origin,
        Self::Identity,
        Self::Requests,
        Self::AddressPlaces,
        Self::AddressSockets,
        Self::ProofNeeded,
        Self::ProofInvalid,
    ];

    fn reason(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Identity => "identity",
            Self::Requests => "requests",
            Self::AddressPlaces => "address_places",
            Self::AddressSockets => "address_sockets",
            Self::ProofNeeded => "proof_needed",
            Self::ProofInvalid => "proof_invalid",
        }
    }
}

/// A visitor was not served.
pub fn visitor_refused(why: Refused) {
    counter!("waitroom_visitors_refused_total", "reason" => why.reason()).increment(1);
}

/// Makes what is counted here visible at 0.
pub(super) fn start() {
    for why in Refused::ALL {
        counter!("waitroom_visitors_refused_total", "reason" => why.reason()).increment(0);
    }
    [
        "lane_full",
        "unread",
        "silent",
        "flood",
        "no_join",
        "bad_message",
        "protocol",
        "too_big",
        "broken",
        "closed",
    ]
    .into_iter()
    .for_each(|reason| sockets_dropped(reason, 0));
    connections(0);
    open_connections(Listeners::Public, 0);
    open_connections(Listeners::Admin, 0);
    ["full", "address", "silent", "slow", "malformed", "tls", "unread", "accept"]
        .into_iter()
        .for_each(|reason| connections_refused(reason, 0));
}

/// Shows what is counted without the recorder.
pub(super) fn render() {
    gauge!("waitroom_sends_waiting").set(SENDING.load(Ordering::Relaxed) as f64);
}
