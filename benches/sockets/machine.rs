//! What /proc says of processes and of this machine.

use std::{fs, process::Command, time::Duration};

/// Of /proc's times, on every Linux that Rust runs on.
const TICK_MS: u64 = 10;
/// Fields of /proc/PID/stat, counted from behind the name.
const PARENT: usize = 1;
const OWN: [usize; 2] = [11, 12];
const ENDED_CHILDREN: [usize; 2] = [13, 14];

fn stat(pid: u32) -> Option<Vec<u64>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = text.rsplit_once(')')?.1.split_whitespace();
    Some(fields.map(|field| field.parse().unwrap_or_default()).collect())
}

fn ticks(stat: &[u64], fields: [usize; 2]) -> Duration {
    Duration::from_millis(TICK_MS * fields.map(|field| stat[field]).iter().sum::<u64>())
}

/// What a process has used so far, user and system; nothing once it has ended.
pub fn cpu(pid: u32) -> Duration {
    stat(pid).map_or(Duration::ZERO, |stat| ticks(&stat, OWN))
}

/// A line of /proc/PID/status, in bytes.
fn status(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    kilobytes(&text, name)
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Resident bytes.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS")
}

/// Open files.
pub fn files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |files| files.count())
}

/// A process and its children.
fn family(parent: u32) -> Vec<(u32, Vec<u64>)> {
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(pid);
    let all = all.filter_map(|pid| Some((pid, stat(pid)?)));
    all.filter(|(pid, stat)| *pid == parent || stat[PARENT] == u64::from(parent)).collect()
}

/// These, and the children that they have from here on, get a core before others do. Needs root; the kernel compares processes of
/// different sessions by it only where `kernel.sched_autogroup_enabled` is 0.
pub fn serve_first(pids: &[u32]) {
    for (pid, _) in pids.iter().flat_map(|pid| family(*pid)) {
        let done = Command::new("renice").args(["-n", "-20", "-p", &pid.to_string()]).output();
        if !done.is_ok_and(|output| output.status.success()) {
            eprintln!("process {pid} gets no priority: that needs root");
        }
    }
}

/// PostgreSQL's processes, the ended ones included.
pub fn cpu_of_postgres(postmaster: u32) -> Duration {
    let all = family(postmaster);
    let ended = all.iter().filter(|(pid, _)| *pid == postmaster).map(|(_, stat)| ticks(stat, ENDED_CHILDREN));
    all.iter().map(|(_, stat)| ticks(stat, OWN)).chain(ended).sum()
}

/// What each of PostgreSQL's processes has for itself, and what they share, once.
pub fn resident_of_postgres(postmaster: u32) -> u64 {
    let all = family(postmaster);
    let own: u64 = all.iter().map(|(pid, _)| status(*pid, "RssAnon")).sum();
    own + all.iter().map(|(pid, _)| status(*pid, "RssShmem")).max().unwrap_or(0)
}

/// Bytes that this machine could still give, and bytes that it has swapped out.
pub fn memory() -> (u64, u64) {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let of = |name| kilobytes(&text, name);
    (of("MemAvailable"), of("SwapTotal") - of("SwapFree"))
}

/// What all processes and the kernel have used so far, over all cores.
pub fn busy() -> Duration {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let all: Vec<u64> =
        text.lines().next().unwrap().split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect();
    // User, nice, system; interrupts, soft ones. Neither idle nor stolen.
    Duration::from_millis(TICK_MS * [0, 1, 2, 5, 6].iter().map(|i| all[*i]).sum::<u64>())
}

/// As many files as we may.
pub fn raise_files() {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: files.maximum, ..files };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).unwrap();
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}
