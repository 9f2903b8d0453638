//! SIGHUP: the terminal that a program was started from has gone.

use rustix::process::Signal as Number;
use std::{fs, io};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Caught from here on, within a runtime; nothing if it is ignored, as `nohup` has it for programs that are to go on then.
pub fn hangup() -> io::Result<Option<Signal>> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if is_ignored(&status) { Ok(None) } else { signal(SignalKind::hangup()).map(Some) }
}

fn is_ignored(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    // The first bit is signal 1's.
    mask >> (Number::HUP.as_raw() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nohup_says() {
        assert!(is_ignored("Name:\twaitroom\nSigIgn:\t0000000000001001\n"));
        assert!(!is_ignored("Name:\twaitroom\nSigIgn:\t0000000000001000\n") && !is_ignored(""));
    }
}
