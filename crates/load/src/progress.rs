//! How far a run is, on stderr: a bar for people, a line every few seconds for logs.

use super::{
    meters::{Measure, Meters, lock},
    outcome::Outcome,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};
use tokio::time::{Instant, interval, sleep};

/// How often a person sees something new.
const BAR_PACE: Duration = Duration::from_millis(200);
/// Over what time rates are taken, at least.
const RATE_OVER: Duration = Duration::from_secs(1);
/// How often a log gets a line.
const LINE_PACE: Duration = Duration::from_secs(5);

/// Shows how far the run is until it is dropped.
pub async fn show(meters: &Meters, visitors: u64, quiet: bool) {
    match (quiet, stderr().is_terminal()) {
        (true, _) => {}
        (false, true) => bar(meters, visitors).await,
        (false, false) => lines(meters, visitors).await,
    }
}

async fn bar(meters: &Meters, visitors: u64) {
    struct Clear(ProgressBar);
    impl Drop for Clear {
        fn drop(&mut self) {
            self.0.finish_and_clear();
        }
    }
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} done  {msg}");
    let bar = Clear(ProgressBar::new(visitors));
    bar.0.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut pace = interval(BAR_PACE);
    let mut flow = Flow::from(Instant::now());
    loop {
        pace.tick().await;
        bar.0.set_position(meters.finished());
        bar.0.set_message(flow.state(meters));
    }
}

async fn lines(meters: &Meters, visitors: u64) {
    let mut flow = Flow::from(Instant::now());
    loop {
        sleep(LINE_PACE).await;
        eprintln!("load: {}/{visitors} done, {}", meters.finished(), flow.state(meters));
    }
}

/// What has come, and how fast lately.
struct Flow {
    before: (Instant, [u64; 2]),
    per_s: [f64; 2],
}

impl Flow {
    fn from(start: Instant) -> Self {
        Self { before: (start, [0, 0]), per_s: [0.0, 0.0] }
    }

    fn state(&mut self, meters: &Meters) -> String {
        let (joined, booked) = (meters.joined.load(Relaxed), meters.outcome(Outcome::Booked));
        self.look(Instant::now(), [joined, booked]);
        let mut text = lock(&meters.phase).map_or_else(String::new, |phase| format!("{phase}: "));
        text += &format!(
            "{} arrived, {} connected, {joined} joined ({:.0}/s), {booked} booked ({:.0}/s)",
            meters.arrived.load(Relaxed),
            meters.open.load(Relaxed),
            self.per_s[0],
            self.per_s[1],
        );
        for (name, measure) in [("join", Measure::Join), ("redeem", Measure::Redeem)] {
            if let Some(p99) = meters.percentile(measure, 99.0) {
                text += &format!(", {name} p99 {:.0} ms", p99.as_secs_f64() * 1e3);
            }
        }
        let refused = meters.refusals.total();
        let errors = meters.errors.total() + meters.dial_failures.total();
        text + &format!(", {refused} refused, {errors} errors")
    }

    /// Rates over at least a second, so that they can be read.
    fn look(&mut self, now: Instant, counts: [u64; 2]) {
        let (at, before) = self.before;
        let over = now.duration_since(at);
        if over >= RATE_OVER {
            self.per_s = [0, 1].map(|i| (counts[i] - before[i]) as f64 / over.as_secs_f64());
            self.before = (now, counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::domain::phase::Phase;

    #[test]
    fn the_state_tells_phase_rates_percentiles_and_errors() {
        let meters = Meters::default();
        *lock(&meters.phase) = Some(Phase::Paused);
        meters.joined.store(30, Relaxed);
        meters.record(Measure::Join, Duration::from_millis(40));
        meters.errors.add("TooMany");
        let mut flow = Flow::from(Instant::now() - Duration::from_secs(3));
        let text = flow.state(&meters);
        for part in ["paused: ", "30 joined (10/s)", "join p99 40 ms", "1 errors"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
