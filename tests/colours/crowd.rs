//! Who waits, and who comes: the crowd of `waitroom load` through nginx, and one newcomer after the other, each of whom tries
//! until he is served.

use load::history::{Entry, Event, read};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub struct Crowd {
    pub child: Child,
    pub history: PathBuf,
    pub json: PathBuf,
}

impl Crowd {
    /// When its last visitor has ended: its report.
    pub fn goes_home(&mut self) -> Value {
        self.child.wait().unwrap();
        serde_json::from_str(&std::fs::read_to_string(&self.json).unwrap()).unwrap()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long those were away whom the server sent away, in milliseconds, sorted: from the close (1012) to their place on the next
/// connection. Who went by himself does not count.
pub fn away_ms(history: &Path) -> Vec<u64> {
    let (mut cut, mut away) = (HashMap::new(), Vec::new());
    read(history, |_, Entry(at, visitor, _, event)| match event {
        Event::Cut(Some(1012)) => _ = cut.insert(visitor, at),
        Event::Joined { .. } => away.extend(cut.remove(&visitor).map(|from| (at - from) / 1000)),
        _ => {}
    })
    .unwrap();
    away.sort_unstable();
    away
}

/// The most connections that came back within one second.
pub fn most_reconnects(history: &Path) -> usize {
    let mut times = Vec::new();
    read(history, |_, Entry(at, _, connection, event)| {
        if matches!(event, Event::Joined { .. }) && connection > 1 {
            times.push(at);
        }
    })
    .unwrap();
    times.sort_unstable();
    let within = |(i, from): (usize, &u64)| times[i..].partition_point(|at| *at < from + 1_000_000);
    times.iter().enumerate().map(within).max().unwrap_or(0)
}

/// How newcomers fared.
#[derive(Debug, Default)]
pub struct Fared {
    pub served: usize,
    /// From the first try to the place, at worst.
    pub longest: Duration,
    /// What they were told instead of a place.
    pub refused: BTreeMap<String, usize>,
}

pub struct Newcomers {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Fared>>,
}

impl Newcomers {
    pub fn come(address: &str, sale: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let (theirs, url) = (over.clone(), format!("http://{address}/v1/sales/{sale}/places"));
        let thread = std::thread::spawn(move || {
            let mut fared = Fared::default();
            while !theirs.load(Ordering::Relaxed) {
                comes(&url, &mut fared, &theirs);
                std::thread::sleep(Duration::from_millis(50));
            }
            fared
        });
        Self { over, thread: Some(thread) }
    }

    pub fn stop(mut self) -> Fared {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Newcomers {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// One comes, and goes as soon as he has a place: the line is the crowd's.
fn comes(url: &str, fared: &mut Fared, over: &AtomicBool) {
    let began = Instant::now();
    // A connection of his own, as a newcomer has.
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5)));
    let agent: ureq::Agent = config.http_status_as_error(false).build().into();
    loop {
        let told = match agent.post(url).send_empty() {
            Ok(mut answer) if answer.status() == 201 => {
                let said: Value = answer.body_mut().read_json().unwrap_or_default();
                fared.served += 1;
                fared.longest = fared.longest.max(began.elapsed());
                let bearer = format!("Bearer {}", said["place"].as_str().unwrap_or_default());
                let _ = agent.delete(format!("{url}/me")).header("Authorization", bearer).call();
                return;
            }
            Ok(answer) => answer.status().to_string(),
            Err(error) => error.to_string(),
        };
        *fared.refused.entry(told).or_default() += 1;
        if over.load(Ordering::Relaxed) {
            fared.longest = fared.longest.max(began.elapsed());
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
