//! The crowd: a part of it at each instance, with everything that people do; what each was told is written down.

use crate::{
    instance::waitroom,
    stage::{SALE, Stage},
};
use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
    time::Duration,
};

/// What the crowd is like, and the sale that it comes to.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub visitors: u32,
    /// Seconds over which they come.
    pub over_s: u32,
    pub rate: u32,
}

impl Size {
    pub fn sale(self) -> Vec<String> {
        let Self { visitors, rate, .. } = self;
        vec![
            format!("--seats={}", visitors * 2),
            format!("--rate={rate}"),
            "--max-active=120".into(),
            "--claim-s=4".into(),
            "--grant-ttl-s=20".into(),
            "--max-seats=2".into(),
        ]
    }

    fn scenario(self) -> String {
        let Self { visitors, over_s, .. } = self;
        format!(
            "about = \"People at a sale on which everything breaks.\"\nvisitors = {visitors}\ntimeout = \"150s\"\n\
             [[arrivals]]\nshare = 1\nover = \"{over_s}s\"\n\
             [people]\nseats = \"1..2\"\nwish = \"mixed\"\nthink = \"0s..1s\"\nleave = 0.04\nvanish = 0.25\n\
             second_tab = 0.05\nno_show = 0.1\nwhim = \"500ms..8s\"\nabsence = \"100ms..5s\"\n"
        )
    }
}

/// The crowd that is there.
pub struct Crowd {
    parts: Vec<(Child, PathBuf)>,
}

impl Crowd {
    pub fn comes(stage: &Stage, size: Size, seed: u64) -> Self {
        let scenario = stage.path("people.toml");
        fs::write(&scenario, size.scenario()).unwrap();
        let start = jiff::Timestamp::now() + jiff::SignedDuration::from_millis(300);
        let parts = stage.instances.len();
        let part = |(n, instance): (usize, &crate::instance::Instance)| {
            let history = stage.path(&format!("history-{n}.jsonl"));
            let mut load = waitroom(&["load", "--quiet", "--admin-token", stage.admin_token()]);
            load.arg("--scenario").arg(&scenario).arg(format!("--url={}", instance.url()));
            load.arg(format!("--sale={SALE}")).arg(format!("--run=run-{seed}")).arg(format!("--seed={seed}"));
            load.arg(format!("--part={}/{parts}", n + 1)).arg(format!("--start-at={start}"));
            load.arg(format!("--admin=http://{}", stage.instances[0].admin)).arg("--history").arg(&history);
            load.arg("--json").arg(stage.path(&format!("load-{n}.json")));
            (load.stdout(Stdio::null()).spawn().unwrap(), history)
        };
        Self { parts: stage.instances.iter().enumerate().map(part).collect() }
    }

    /// Waits until every story has ended; answers with the histories.
    pub async fn goes_home(mut self) -> Vec<PathBuf> {
        for (child, _) in &mut self.parts {
            // What the generator itself finds is read in its report.
            while child.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.parts.iter().map(|(_, history)| history.clone()).collect()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for (child, _) in &mut self.parts {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
