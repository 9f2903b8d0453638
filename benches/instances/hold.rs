//! Instances that are held back.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{JoinHandle, sleep, spawn},
    time::Duration,
};

/// How.
#[derive(Clone, Copy)]
pub enum Hold {
    Free,
    /// Stopped for 100 ms, let run for 100 ms, and so on.
    Stopped,
    /// So many cores, in every 100 ms anew.
    Cores(f64),
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => write!(f, "free"),
            Self::Stopped => write!(f, "stopped 100 of 200 ms"),
            Self::Cores(cores) => write!(f, "{cores} of a core"),
        }
    }
}

/// A process that is held until this is dropped.
pub enum Held {
    Free,
    Stopped(Pid, Arc<AtomicBool>, Option<JoinHandle<()>>),
    Group(PathBuf),
}

/// The cpu controller, of the second version of control groups or of the first.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"];

impl Held {
    /// Nothing where this machine does not let us.
    pub fn hold(pid: Pid, how: Hold) -> Option<Self> {
        match how {
            Hold::Free => Some(Self::Free),
            Hold::Stopped => Some(Self::stop_and_go(pid)),
            Hold::Cores(cores) => ROOTS.iter().find_map(|root| Self::group(Path::new(root), pid, cores)),
        }
    }

    fn stop_and_go(pid: Pid) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let ended = ends.clone();
        let beat = spawn(move || {
            // Not all at the same moment.
            sleep(Duration::from_millis(u64::from(pid.as_raw_nonzero().get().unsigned_abs() % 7) * 29));
            while !ended.load(Relaxed) {
                for signal in [Signal::STOP, Signal::CONT] {
                    let _ = kill_process(pid, signal);
                    sleep(Duration::from_millis(100));
                }
            }
        });
        Self::Stopped(pid, ends, Some(beat))
    }

    /// A folder that is no control group has none of these files.
    fn group(root: &Path, pid: Pid, cores: f64) -> Option<Self> {
        let group = root.join(format!("waitroom-bench-{}", pid.as_raw_nonzero()));
        fs::create_dir(&group).ok()?;
        let quota = (cores * 100_000.0) as u64;
        let words = [("cpu.max", format!("{quota} 100000")), ("cpu.cfs_quota_us", quota.to_string())];
        let Some((file, words)) = words.into_iter().find(|(file, _)| group.join(file).exists()) else {
            let _ = fs::remove_dir(&group);
            return None;
        };
        let set = fs::write(group.join(file), words)
            .and_then(|()| fs::write(group.join("cgroup.procs"), pid.as_raw_nonzero().to_string()));
        let held = Self::Group(group);
        set.ok().map(|()| held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        match self {
            Self::Free => {}
            Self::Stopped(pid, ends, beat) => {
                ends.store(true, Relaxed);
                beat.take().map(JoinHandle::join);
                let _ = kill_process(*pid, Signal::CONT);
            }
            Self::Group(group) => {
                // Its processes go where they came from.
                if let (Some(root), Ok(pids)) =
                    (group.parent(), fs::read_to_string(group.join("cgroup.procs")))
                {
                    pids.lines().for_each(|pid| drop(fs::write(root.join("cgroup.procs"), pid)));
                }
                let _ = fs::remove_dir(group);
            }
        }
    }
}
