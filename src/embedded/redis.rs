//! A private redis-server that loses nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::folder::User;
use super::process::{GLANCE, Process, end_leftovers, tail};
use super::{EmbeddedError, folder};

const SOCKET: &str = "redis.sock";
const NAMES: [&str; 2] = ["redis-server", "valkey-server"];
/// Redis reads its whole file before it answers.
const READY: Duration = Duration::from_secs(60);

/// A running redis-server of our own. Dropping it stops it.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    folder: PathBuf,
    sockets: PathBuf,
    /// Whom to run as, when we are root in another user's folder: that user must be able to go on later.
    user: Option<User>,
    extra: Vec<String>,
    _lock: File,
}

impl Redis {
    /// Starts Redis in `dir`, with the data that is there.
    pub fn start_at(dir: &Path) -> Result<Self, EmbeddedError> {
        Self::start_with(dir, &[])
    }

    /// The same with further arguments (`--appendonly no`), which win over ours.
    pub fn start_with(dir: &Path, extra: &[&str]) -> Result<Self, EmbeddedError> {
        let dir = folder::prepare_closed(dir)?;
        let lock = folder::lock(&dir)?;
        end_leftovers(&dir, &NAMES, Signal::TERM)?;
        let user = folder::owner(&dir)?.filter(|owner| folder::am_root() && owner.uid != 0);
        let sockets = folder::for_socket(&dir.join("socket"), SOCKET, &dir, user)?;
        let extra: Vec<_> = extra.iter().map(ToString::to_string).collect();
        let process = launch(&dir, &sockets, user, &extra)?;
        Ok(Self { process, folder: dir, sockets, user, extra, _lock: lock })
    }

    /// Ends it if it runs, and starts it again on the same data and at the same address.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.process.stop();
        self.process = launch(&self.folder, &self.sockets, self.user, &self.extra)?;
        Ok(())
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", folder::in_url(&self.sockets.join(SOCKET)))
    }

    /// Where its data are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops its clock: connections stay, answers do not come.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    pub(super) fn ask_to_stop(&self) {
        self.process.ask_to_stop();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.stop();
        // Best effort; the next start accepts what is left.
        let _ = std::fs::remove_file(self.sockets.join(SOCKET));
        let _ = std::fs::remove_dir(&self.sockets);
    }
}

fn launch(
    dir: &Path,
    sockets: &Path,
    user: Option<User>,
    extra: &[String],
) -> Result<Process, EmbeddedError> {
    let socket = sockets.join(SOCKET);
    // A stale socket would be there before the server is.
    let _ = std::fs::remove_file(&socket);
    let mut command = Command::new(program()?);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command.args(["--port", "0", "--unixsocketperm", "700", "--daemonize", "no", "--databases", "1"]);
    command.args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
    // The AOF is the record; snapshots beside it would only cost. The plain title keeps our arguments readable,
    // by which the next run tells a leftover.
    command.args(["--save", "", "--set-proc-title", "no", "--logfile", ""]);
    command.arg("--dir").arg(dir).arg("--unixsocket").arg(&socket).args(extra);
    let log = dir.join("redis.log");
    let mut process = Process::start(command, &log, Signal::TERM)?;
    let started = Instant::now();
    loop {
        let problem = match process.ended() {
            Some(ended) => ended,
            None if answers(&socket) => return Ok(process),
            None if started.elapsed() > READY => format!("no answer for {READY:?}"),
            None => {
                std::thread::sleep(GLANCE);
                continue;
            }
        };
        return Err(EmbeddedError::Failed { server: "redis-server", problem, log: tail(&log) });
    }
}

/// Whether Redis takes commands; while it loads its file it answers an error.
fn answers(socket: &Path) -> bool {
    let ask = || {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"PING\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(&answer == b"+PONG")
    };
    ask().unwrap_or(false)
}

fn program() -> Result<PathBuf, EmbeddedError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> =
        std::env::split_paths(&path).chain(["/usr/bin".into(), "/usr/local/bin".into()]).collect();
    let mut found = NAMES.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    found
        .find(|path| path.is_file())
        .ok_or_else(|| EmbeddedError::Missing { program: NAMES[0].to_owned(), package: NAMES[0].to_owned() })
}
