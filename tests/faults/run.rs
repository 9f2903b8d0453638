//! One run: a sale, a crowd, faults, and the proof.

use crate::{
    crowd::{Crowd, Size},
    kinds::{Held, Kind, instances},
    proof::Proof,
    schedule::{Fault, Schedule},
    stage::Stage,
};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::time::sleep_until;

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub kinds: Vec<Kind>,
    pub proof: Proof,
    /// How long it took from the last fault's mending until newcomers were served everywhere.
    pub back_after: Duration,
    pub took: Duration,
}

impl Outcome {
    /// Promises that were broken, that of being served again soon among them.
    pub fn broken(&self) -> Vec<String> {
        let late = self.back_after > BACK_WITHIN;
        let late = late.then(|| format!("newcomers were served only after {:.1?}", self.back_after));
        self.proof.violations.iter().cloned().chain(late).collect()
    }
}

/// How soon newcomers are served again.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// Plays it.
pub async fn run(schedule: &Schedule, size: Size) -> Outcome {
    let mut stage = Stage::set(schedule.topology).await;
    let settings = size.sale();
    stage.make_sale(&settings.iter().map(String::as_str).collect::<Vec<_>>());
    stage.open_sale();
    let began = Instant::now();
    let crowd = Crowd::comes(&stage, size, schedule.seed);
    let back_after = play(&mut stage, &schedule.faults).await;
    let histories = crowd.goes_home().await;
    let took = began.elapsed();
    let proof = Proof::of(&stage, &histories).await;
    if !proof.violations.is_empty() {
        keep(&histories, schedule.seed);
    }
    let kinds = schedule.faults.iter().map(|fault| fault.kind).collect();
    Outcome { kinds, proof, back_after, took }
}

/// What the crowd of a run that went wrong wrote down, for who wants to know why.
fn keep(histories: &[PathBuf], seed: u64) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
    std::fs::create_dir_all(&folder).unwrap();
    for history in histories {
        std::fs::copy(history, folder.join(history.file_name().unwrap())).unwrap();
    }
    println!("    what the crowd wrote down is in {}", folder.display());
}

/// Lets the faults happen and end; how long it took afterwards until all was well.
async fn play(stage: &mut Stage, faults: &[Fault]) -> Duration {
    let start = tokio::time::Instant::now();
    let mut steps: Vec<(Duration, bool, usize)> = Vec::new();
    for (i, fault) in faults.iter().enumerate() {
        steps.extend([(fault.from, true, i), (fault.until, false, i)]);
    }
    steps.sort();
    let mut held: Vec<Held> = faults.iter().map(|_| Held::Nothing).collect();
    let (mut under_way, mut longest) = (0, Duration::ZERO);
    for (at, begins, i) in steps {
        sleep_until(start + at).await;
        let kind = faults[i].kind;
        if begins {
            held[i] = kind.inject(stage).await;
            under_way += 1;
            continue;
        }
        kind.heal(stage, std::mem::replace(&mut held[i], Held::Nothing)).await;
        under_way -= 1;
        if under_way == 0 {
            instances::come_up(stage);
            longest = longest.max(stage.back_to_normal().await);
        }
    }
    longest
}
