//! What a run measures: a histogram for each duration, a counter for each thing that happens.

use super::{clicks::Clicks, outcome::Outcome};
use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use wire::domain::phase::Phase;

/// Longest duration that is told from a longer one, in microseconds: a day.
const MICROS_MAX: u64 = 86_400_000_000;
/// Most different texts that a tally keeps: a server that invents reasons must not fill our memory.
const TALLY_MAX: usize = 64;

/// A duration that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// From the intended arrival to the open socket.
    Connect,
    /// From the intended arrival to `joined`.
    Join,
    /// From the sent `join` to `joined`, on any connection.
    JoinAnswer,
    /// From the loss of a connection to `joined` on the next, pauses included.
    Reconnect,
    /// Between one `rank` and the next.
    RankGap,
    /// From the first `joined` of a place to its `granted`.
    Wait,
    /// From `seats` to `seat_map`.
    SeatMap,
    /// From the intended redeem to `booking`.
    Redeem,
    /// From the intended redeem to `refused`.
    Refused,
    /// How late the generator let a visitor arrive.
    StartLag,
    /// How late the generator's own event loop wakes who asked to be woken.
    LoopLag,
}

impl Measure {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 11] = [
        Self::Connect,
        Self::Join,
        Self::JoinAnswer,
        Self::Reconnect,
        Self::RankGap,
        Self::Wait,
        Self::SeatMap,
        Self::Redeem,
        Self::Refused,
        Self::StartLag,
        Self::LoopLag,
    ];

    /// Its name in reports and thresholds.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Join => "join",
            Self::JoinAnswer => "join_answer",
            Self::Reconnect => "reconnect",
            Self::RankGap => "rank_gap",
            Self::Wait => "wait",
            Self::SeatMap => "seat_map",
            Self::Redeem => "redeem",
            Self::Refused => "refused",
            Self::StartLag => "start_lag",
            Self::LoopLag => "loop_lag",
        }
    }

    /// The measure of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == name)
    }
}

/// How often each of a few texts occurred.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    /// Once more.
    pub fn add(&self, text: &str) {
        let text = text.char_indices().nth(80).map_or(text, |(at, _)| &text[..at]);
        let mut counts = lock(&self.0);
        if let Some(count) = counts.get_mut(text) {
            *count += 1;
        } else if counts.len() < TALLY_MAX {
            counts.insert(text.into(), 1);
        }
    }

    /// How often all of them together.
    pub fn total(&self) -> u64 {
        lock(&self.0).values().sum()
    }

    /// All counts.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        lock(&self.0).clone()
    }
}

/// All that a run measures.
pub struct Meters {
    histograms: [Mutex<Histogram<u64>>; Measure::ALL.len()],
    outcomes: [AtomicU64; Outcome::ALL.len()],
    /// The sale's phase, as it was told last.
    pub phase: Mutex<Option<Phase>>,
    /// Sockets open now.
    pub open: AtomicI64,
    /// Visitors who have arrived.
    pub arrived: AtomicU64,
    /// Visitors to whom a place was acknowledged.
    pub joined: AtomicU64,
    /// Connections that were opened again.
    pub reconnects: AtomicU64,
    /// Messages received.
    pub messages: AtomicU64,
    /// Messages of a type that we do not know: ignored, as the contract wants it.
    pub unknown_messages: AtomicU64,
    /// Refusals by reason.
    pub refusals: Tally,
    /// Clicks on seats.
    pub clicks: Mutex<Clicks>,
    /// Closes by code.
    pub closes: Tally,
    /// `error` messages by code.
    pub errors: Tally,
    /// Failed attempts to connect, by reason.
    pub dial_failures: Tally,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            histograms: std::array::from_fn(|_| Mutex::new(histogram())),
            outcomes: std::array::from_fn(|_| AtomicU64::new(0)),
            phase: Mutex::default(),
            open: AtomicI64::new(0),
            arrived: AtomicU64::new(0),
            joined: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            unknown_messages: AtomicU64::new(0),
            refusals: Tally::default(),
            clicks: Mutex::default(),
            closes: Tally::default(),
            errors: Tally::default(),
            dial_failures: Tally::default(),
        }
    }
}

impl Meters {
    /// Takes a duration down.
    pub fn record(&self, measure: Measure, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(MICROS_MAX);
        lock(&self.histograms[measure as usize]).saturating_record(micros);
    }

    /// How many durations were taken down.
    pub fn count(&self, measure: Measure) -> u64 {
        lock(&self.histograms[measure as usize]).len()
    }

    /// The duration below which `percent` of them lie; none if there are none.
    pub fn percentile(&self, measure: Measure, percent: f64) -> Option<Duration> {
        let histogram = lock(&self.histograms[measure as usize]);
        let value = || Duration::from_micros(histogram.value_at_percentile(percent));
        (!histogram.is_empty()).then(value)
    }

    /// A visitor's story ended.
    pub fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    /// How many stories ended like that.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Relaxed)
    }

    /// How many stories ended.
    pub fn finished(&self) -> u64 {
        Outcome::ALL.into_iter().map(|o| self.outcome(o)).sum()
    }
}

/// For durations of up to a day, in microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    // Constant bounds that the crate allows.
    #[allow(clippy::expect_used)]
    Histogram::new_with_bounds(1, MICROS_MAX, 3).expect("1 µs to a day in 3 digits")
}

/// A lock whose holder panicked still holds good numbers: each is complete in itself.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_out_as_they_went_in() {
        let meters = Meters::default();
        assert_eq!(meters.percentile(Measure::Join, 99.0), None);
        (1..=100).for_each(|ms| meters.record(Measure::Join, Duration::from_millis(ms)));
        let p99 = meters.percentile(Measure::Join, 99.0).unwrap().as_secs_f64();
        assert!((p99 - 0.099).abs() < 0.001, "{p99}");
        meters.record(Measure::Wait, Duration::from_secs(1 << 40));
        assert_eq!(meters.count(Measure::Wait), 1);
    }

    #[test]
    fn a_tally_is_bounded() {
        let tally = Tally::default();
        (0..1000).for_each(|n| tally.add(&format!("reason {n}")));
        tally.add("reason 0");
        assert_eq!(tally.counts().len(), TALLY_MAX);
        assert_eq!(tally.counts()["reason 0"], 2);
    }

    #[test]
    fn each_measure_and_outcome_has_its_own_slot() {
        assert!(Measure::ALL.iter().enumerate().all(|(i, m)| *m as usize == i));
        assert!(Outcome::ALL.iter().enumerate().all(|(i, o)| *o as usize == i));
        assert!(Measure::ALL.into_iter().all(|m| Measure::parse(m.as_str()) == Some(m)));
    }
}
