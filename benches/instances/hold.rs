//! Instances that are held back.

use crate::cgroup::Cgroup;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fmt,
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
    Group { _held: Cgroup },
}

impl Held {
    /// Nothing where this machine does not let us.
    pub fn hold(pid: Pid, how: Hold) -> Option<Self> {
        match how {
            Hold::Free => Some(Self::Free),
            Hold::Stopped => Some(Self::stop_and_go(pid)),
            Hold::Cores(cores) => Cgroup::hold(pid, cores).map(|held| Self::Group { _held: held }),
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
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Self::Stopped(pid, ends, beat) = self {
            ends.store(true, Relaxed);
            beat.take().map(JoinHandle::join);
            let _ = kill_process(*pid, Signal::CONT);
        }
    }
}
