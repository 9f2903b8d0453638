//! A control group that holds a process to so many cores.

use rustix::process::Pid;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The cpu controller, of the second version of control groups or of the first.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/cpu"];

/// With one process in it, until this is dropped.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Nothing where this machine does not let us.
    pub fn hold(pid: Pid, cores: f64) -> Option<Self> {
        ROOTS.iter().find_map(|root| Self::below(Path::new(root), pid, cores))
    }

    /// A folder that is no control group has none of these files.
    fn below(root: &Path, pid: Pid, cores: f64) -> Option<Self> {
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
        let held = Self(group);
        set.ok().map(|()| held)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let group = &self.0;
        // Its processes go where they came from.
        if let (Some(root), Ok(pids)) = (group.parent(), fs::read_to_string(group.join("cgroup.procs"))) {
            pids.lines().for_each(|pid| drop(fs::write(root.join("cgroup.procs"), pid)));
        }
        let _ = fs::remove_dir(group);
    }
}
