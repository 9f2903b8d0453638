//! CPU time of PostgreSQL and of this process, from /proc: what a noisy neighbour cannot take away.

use std::{fs, time::Duration};

/// Of /proc's times, on every Linux that Rust runs on.
const TICK: Duration = Duration::from_millis(10);

struct Times {
    parent: u32,
    own: u32,
    ended_children: u32,
}

fn times(pid: &str) -> Option<Times> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may contain anything; what follows is numbers.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    Some(Times { parent: ticks(1)?, own: ticks(11)? + ticks(12)?, ended_children: ticks(13)? + ticks(14)? })
}

/// All processes of the server, the ended ones included.
pub fn server(postmaster: u32) -> Duration {
    let name = |entry: fs::DirEntry| entry.file_name().into_string().ok();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(name);
    let children = all.filter_map(|pid| times(&pid)).filter(|child| child.parent == postmaster);
    let own = times(&postmaster.to_string()).unwrap();
    TICK * (own.own + own.ended_children + children.map(|child| child.own).sum::<u32>())
}

pub fn this_process() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
