//! CPU time of PostgreSQL and of this process, from /proc: what a noisy neighbour cannot take away.

use std::{fs, time::Duration};

/// Of the coarser of /proc's times, on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

/// Fields of /proc/PID/stat, counted from behind the name.
const PARENT: usize = 1;
const OWN: [usize; 2] = [11, 12];
const ENDED_CHILDREN: [usize; 2] = [13, 14];

struct Process {
    pid: String,
    stat: Vec<u32>,
}

impl Process {
    fn read(pid: String) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in brackets may contain anything; of what follows, these are numbers that fit.
        let fields = stat.rsplit_once(')')?.1.split_whitespace();
        Some(Self { pid, stat: fields.map(|field| field.parse().unwrap_or_default()).collect() })
    }

    fn ticks(&self, fields: [usize; 2]) -> Duration {
        TICK * fields.map(|field| self.stat[field]).iter().sum::<u32>()
    }

    /// The scheduler's own count, where the kernel shows it: nanoseconds in place of ticks. PostgreSQL's processes have
    /// one thread each.
    fn exact(&self) -> Option<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/sched", self.pid)).ok()?;
        let line = text.lines().find(|line| line.starts_with("se.sum_exec_runtime"))?;
        Some(Duration::from_secs_f64(line.rsplit(':').next()?.trim().parse::<f64>().ok()? / 1e3))
    }

    fn own(&self) -> Duration {
        self.exact().unwrap_or_else(|| self.ticks(OWN))
    }
}

/// All processes of the server, the ended ones included.
pub fn server(postmaster: u32) -> Duration {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(name).filter_map(Process::read);
    let children = all.filter(|child| child.stat[PARENT] == postmaster);
    let master = Process::read(postmaster.to_string()).unwrap();
    master.own() + master.ticks(ENDED_CHILDREN) + children.map(|child| child.own()).sum::<Duration>()
}

/// One process of many threads.
#[allow(dead_code, reason = "benches/joins.rs uses it")]
pub fn one(pid: u32) -> Duration {
    Process::read(pid.to_string()).unwrap().ticks(OWN)
}

pub fn this_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
