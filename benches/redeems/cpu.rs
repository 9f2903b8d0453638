//! CPU time of processes, which a noisy neighbour changes less than the clock on the wall.

use std::fs;

/// Clock ticks a second in /proc (USER_HZ).
const TICKS: f64 = 100.0;

/// Seconds of CPU that the process and the children of its main thread have used, the ended ones included. Servers
/// that a thread of this process has started are not among them.
pub fn seconds(pid: u32) -> f64 {
    own(pid) + children(pid).into_iter().map(own).sum::<f64>()
}

/// Fields 14 to 17 of `stat` (proc(5)): user and system time, its own and of the children that were waited for.
fn own(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
