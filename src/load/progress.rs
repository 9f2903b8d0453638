//! How far a run is, on stderr: a bar for people, a line every few seconds for logs.

use super::{
    meters::{Measure, Meters},
    outcome::Outcome,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::{IsTerminal, stderr},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};
use tokio::time::{interval, sleep};

/// How often a person sees something new.
const BAR_PACE: Duration = Duration::from_millis(200);
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
    loop {
        pace.tick().await;
        bar.0.set_position(meters.finished());
        bar.0.set_message(state(meters));
    }
}

async fn lines(meters: &Meters, visitors: u64) {
    loop {
        sleep(LINE_PACE).await;
        eprintln!("load: {}/{visitors} done, {}", meters.finished(), state(meters));
    }
}

fn state(meters: &Meters) -> String {
    let mut text = format!(
        "{} arrived, {} connected, {} joined, {} booked",
        meters.arrived.load(Relaxed),
        meters.open.load(Relaxed),
        meters.joined.load(Relaxed),
        meters.outcome(Outcome::Booked),
    );
    for (name, measure) in [("join", Measure::Join), ("redeem", Measure::Redeem)] {
        if let Some(p99) = meters.percentile(measure, 99.0) {
            text += &format!(", {name} p99 {:.0} ms", p99.as_secs_f64() * 1e3);
        }
    }
    text
}
