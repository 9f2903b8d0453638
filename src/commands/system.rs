//! The limits that the machine sets: what they are, and raising the one that we may raise.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process open as many files as it may at most: a socket is a file, and the usual soft limit of 1,024
/// is only there for programs that use `select`. Returns the limit.
pub(super) fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// A number of the kernel's settings, such as `net/core/somaxconn`; all of them if there are several.
pub(super) fn kernel(name: &str) -> Option<Vec<u64>> {
    let text = std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
    text.split_whitespace().map(|number| number.parse().ok()).collect()
}
