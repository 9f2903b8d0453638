//! Child processes that never outlive this one.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};

use super::EmbeddedError;

/// How long a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(10);
/// How often a waiting loop looks.
pub(super) const GLANCE: Duration = Duration::from_millis(3);

type Job = Box<dyn FnOnce() + Send>;

/// The thread that starts all children. The parent-death signal follows the thread that forked, not the process:
/// a child started by a worker thread would be killed as soon as that worker ends.
static KEEPER: LazyLock<Mutex<mpsc::Sender<Job>>> = LazyLock::new(|| {
    let (sender, jobs) = mpsc::channel::<Job>();
    // If the thread cannot start, the channel is closed and every spawn says so.
    let _ = std::thread::Builder::new()
        .name("embedded-keeper".to_owned())
        .spawn(move || jobs.into_iter().for_each(|job| job()));
    Mutex::new(sender)
});

/// Starts `command` in a process group of its own (a terminal's Ctrl-C is for us, not for it), without our
/// environment (which may hold secrets). When this process ends, however it ends, the child gets `on_death`.
pub(super) fn spawn(mut command: Command, on_death: Signal) -> io::Result<Child> {
    let parent = getpid();
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
    command.current_dir("/").process_group(0);
    let before_exec = move || {
        // std has changed the user by now, which would have cleared the signal.
        set_parent_process_death_signal(Some(on_death))?;
        // If the parent died before the line above, no signal will come.
        if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    #[allow(unsafe_code, reason = "nothing safe ties a child's life to its parent's")]
    // SAFETY: between fork and exec only system calls are made; nothing allocates, locks or touches shared state.
    unsafe {
        command.pre_exec(before_exec)
    };
    let (answer, child) = mpsc::channel();
    let job = Box::new(move || {
        // The caller waits on the other end; if it is gone, so is the need for an answer.
        let _ = answer.send(command.spawn());
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    KEEPER.lock().unwrap_or_else(PoisonError::into_inner).send(job).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

/// A running server.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Asks it to end with everything written.
    stop_signal: Signal,
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    pub(super) fn start(
        mut command: Command,
        log: &Path,
        stop_signal: Signal,
    ) -> Result<Self, EmbeddedError> {
        let open = || File::options().create(true).append(true).mode(0o600).open(log);
        let program = PathBuf::from(command.get_program());
        let out = open().map_err(EmbeddedError::file("write", log))?;
        let err = out.try_clone().map_err(EmbeddedError::file("write", log))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = spawn(command, stop_signal).map_err(EmbeddedError::file("run", &program))?;
        Ok(Self { child, stop_signal })
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `Some` with what to tell once it has ended.
    pub(super) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("it ended with {status}")),
            Err(error) => Some(format!("it cannot be waited for: {error}")),
        }
    }

    /// Sends a signal, if it still runs. (Not yet waited for, so its id cannot be another's.)
    pub(super) fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Asks it to end, also when it is frozen, without waiting.
    pub(super) fn ask_to_stop(&self) {
        self.signal(self.stop_signal);
        self.signal(Signal::CONT);
    }

    /// Ends it: asks, waits, insists.
    pub(super) fn stop(&mut self) {
        if self.ended().is_some() {
            return;
        }
        self.ask_to_stop();
        let deadline = Instant::now() + GRACE;
        while self.ended().is_none() {
            if Instant::now() > deadline {
                self.kill();
                return;
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Ends it as a crash would, and waits until it is gone.
    pub(super) fn kill(&mut self) {
        self.signal(Signal::KILL);
        // An error means that it is gone already.
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Sends a signal to a process that may be gone.
pub(super) fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // The only errors are "gone" and "not ours", and both mean that there is nothing to do.
        let _ = kill_process(pid, signal);
    }
}

/// The processes of a program (by the start of its name) that work in `folder`: told by their arguments, or, for
/// helpers that rewrite those, by their working folder. Zombies have neither and are left out.
pub(super) fn running_in(folder: &Path, programs: &[&str]) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|pid| works_in(*pid, folder, programs)).collect()
}

fn works_in(pid: u32, folder: &Path, programs: &[&str]) -> bool {
    let Ok(line) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let mut words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let name = words.next().unwrap_or_default();
    let name = name.rsplit_once('/').map_or(&*name, |(_, name)| name);
    if !programs.iter().any(|program| name.starts_with(program)) {
        return false;
    }
    let there = std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    there || words.any(|word| Path::new(&*word).starts_with(folder))
}

/// Ends what a killed run left in `folder`, and waits until it is gone: two servers on one folder destroy it.
pub(super) fn end_leftovers(folder: &Path, programs: &[&str], signal: Signal) -> Result<(), EmbeddedError> {
    let asked = Instant::now();
    let mut left = running_in(folder, programs);
    for pid in &left {
        send(*pid, signal);
        send(*pid, Signal::CONT);
    }
    while !left.is_empty() {
        std::thread::sleep(GLANCE);
        left = running_in(folder, programs);
        if asked.elapsed() > GRACE {
            left.iter().for_each(|pid| send(*pid, Signal::KILL));
        }
        if asked.elapsed() > GRACE * 2 {
            return Err(EmbeddedError::Folder {
                folder: folder.to_owned(),
                problem: format!("is still used by the processes {left:?} of an earlier run; end them"),
            });
        }
    }
    Ok(())
}

/// The end of a log, for an error.
pub(super) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}
