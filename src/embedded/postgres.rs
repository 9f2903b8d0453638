//! A private PostgreSQL on a Unix socket.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::folder::{self, User};
use super::process::{GLANCE, Process, end_leftovers, running_in, send, spawn, tail};
use super::{EmbeddedError, postgres_programs as programs};

const SOCKET: &str = ".s.PGSQL.5432";
/// PostgreSQL refuses to run as root; these run it then, the first that exists.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Where a cluster goes when its user cannot enter the data folder.
const ELSEWHERE: &str = "/var/lib/waitroom";
/// After a crash PostgreSQL replays its log before it answers.
const READY: Duration = Duration::from_secs(60);
const OWN: [&str; 3] = ["postgres", "initdb", "postmaster"];

/// A running PostgreSQL of our own. Dropping it stops it.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    place: Place,
    _lock: File,
}

/// Where everything is, and as whom it runs.
#[derive(Debug)]
struct Place {
    /// Log, lock and notes: ours.
    folder: PathBuf,
    /// The data: the user's.
    cluster: PathBuf,
    /// The socket's folder: the user's.
    sockets: PathBuf,
    /// Whom to run as, when we are root.
    user: Option<User>,
    /// Settings that win over ours.
    extra: Vec<String>,
}

impl Postgres {
    /// Starts PostgreSQL in `dir`, with the data that is there; makes the cluster the first time.
    pub fn start_at(dir: &Path) -> Result<Self, EmbeddedError> {
        Self::start_with(dir, &[])
    }

    /// The same with further settings (`max_connections=500`), which win over ours.
    pub fn start_with(dir: &Path, extra: &[&str]) -> Result<Self, EmbeddedError> {
        let dir = folder::prepare(dir)?;
        let lock = folder::lock(&dir)?;
        let mut place = Place::find(dir)?;
        place.extra = extra.iter().map(ToString::to_string).collect();
        end_leftovers(&place.cluster, &OWN, Signal::INT)?;
        if !place.cluster.exists() {
            place.make_cluster()?;
        }
        let process = place.launch()?;
        Ok(Self { process, place, _lock: lock })
    }

    /// Ends it if it runs, and starts it again on the same data and at the same address.
    pub fn restart(&mut self) -> Result<(), EmbeddedError> {
        self.process.stop();
        end_leftovers(&self.place.cluster, &OWN, Signal::INT)?;
        self.process = self.place.launch()?;
        Ok(())
    }

    /// Where it is, for tokio-postgres and for psql.
    pub fn url(&self) -> String {
        format!("postgres:///waitroom?host={}&user=waitroom", folder::in_url(&self.place.sockets))
    }

    /// The postmaster's process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Ends all its processes as a crash would.
    pub fn kill(&mut self) {
        let all = running_in(&self.place.cluster, &OWN);
        all.iter().for_each(|pid| send(*pid, Signal::KILL));
        self.process.kill();
    }

    /// Stops the clock of all its processes: connections stay, answers do not come.
    pub fn freeze(&self) {
        // Twice, for what forked meanwhile.
        self.process.signal(Signal::STOP);
        running_in(&self.place.cluster, &OWN).iter().for_each(|pid| send(*pid, Signal::STOP));
        running_in(&self.place.cluster, &OWN).iter().for_each(|pid| send(*pid, Signal::STOP));
    }

    /// Lets them go on.
    pub fn thaw(&self) {
        running_in(&self.place.cluster, &OWN).iter().for_each(|pid| send(*pid, Signal::CONT));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Frozen helpers would keep the postmaster from ending.
        self.process.ask_to_stop();
        self.thaw();
        self.process.stop();
        // Best effort; the next start accepts what is left.
        let _ = std::fs::remove_dir(&self.place.sockets);
    }
}

impl Place {
    fn find(folder: PathBuf) -> Result<Self, EmbeddedError> {
        let user = match folder::am_root() {
            true => Some(folder::user_named(&USERS).ok_or_else(|| EmbeddedError::Folder {
                folder: folder.clone(),
                problem: "cannot be served as root: PostgreSQL needs a user postgres or nobody".to_owned(),
            })?),
            false => None,
        };
        let (home, user) = home(&folder, user)?;
        let sockets = folder::for_socket(&home.join("socket"), SOCKET, &folder, user)?;
        Ok(Self { cluster: home.join("cluster"), folder, sockets, user, extra: Vec::new() })
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        if let Some(user) = self.user {
            command.uid(user.uid).gid(user.gid);
        }
        command
    }

    /// initdb and an empty database, under another name until both are done: a run killed halfway leaves
    /// nothing that looks like a cluster.
    fn make_cluster(&self) -> Result<(), EmbeddedError> {
        let fresh = self.cluster.with_file_name("cluster.new");
        end_leftovers(&fresh, &OWN, Signal::KILL)?;
        if fresh.exists() {
            std::fs::remove_dir_all(&fresh).map_err(EmbeddedError::file("remove", &fresh))?;
        }
        folder::make_private(&fresh, self.user).map_err(EmbeddedError::file("make", &fresh))?;
        let bin = programs::newest()?;
        let mut initdb = self.command(bin.join("initdb"));
        initdb.args(["--username=waitroom", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        initdb.arg("-D").arg(&fresh);
        self.run_once(initdb, "")?;
        // A lone backend, without a server around it.
        let mut single = self.command(bin.join("postgres"));
        single.args(["--single", "-c", "fsync=off", "-D"]).arg(&fresh).arg("postgres");
        self.run_once(single, "CREATE DATABASE waitroom;\n")?;
        std::fs::rename(&fresh, &self.cluster).map_err(EmbeddedError::file("make", &self.cluster))
    }

    fn run_once(&self, mut command: Command, input: &str) -> Result<(), EmbeddedError> {
        let log = self.folder.join("initdb.log");
        let program = PathBuf::from(command.get_program());
        let prepare = || {
            let out = File::options().create(true).truncate(true).write(true).mode(0o600).open(&log)?;
            // A file and not a pipe: nobody has to feed it while the program runs.
            let path = self.folder.join("initdb.sql");
            let mut file = File::options().create(true).truncate(true).read(true).write(true).open(&path)?;
            file.write_all(input.as_bytes())?;
            file.rewind()?;
            std::fs::remove_file(path)?;
            std::io::Result::Ok((file, out.try_clone()?, out))
        };
        let (input, out, err) = prepare().map_err(EmbeddedError::file("write", &log))?;
        command.stdin(Stdio::from(input)).stdout(out).stderr(err);
        let status = spawn(command, Signal::TERM).and_then(|mut child| child.wait());
        let status = status.map_err(EmbeddedError::file("run", &program))?;
        if status.success() {
            return Ok(());
        }
        let problem = format!("{} ended with {status}", program.display());
        Err(EmbeddedError::Failed { server: "PostgreSQL", problem, log: tail(&log) })
    }

    fn launch(&self) -> Result<Process, EmbeddedError> {
        // Whoever wrote these is gone: we hold the lock and ended the leftovers. PostgreSQL itself would refuse to
        // start if the old process id had come to belong to another process of its user, as happens in containers.
        let notice = self.cluster.join("postmaster.pid");
        for stale in [&notice, &self.sockets.join(SOCKET), &self.sockets.join(format!("{SOCKET}.lock"))] {
            let _ = std::fs::remove_file(stale);
        }
        let bin = programs::matching(&self.cluster)?;
        let mut command = self.command(bin.join("postgres"));
        command.arg("-D").arg(&self.cluster).arg("-k").arg(&self.sockets);
        for setting in [
            "listen_addresses=",
            "port=5432",
            "unix_socket_permissions=0700",
            "fsync=on",
            "synchronous_commit=on",
            "max_connections=100",
            "timezone=UTC",
            "log_timezone=UTC",
            "log_checkpoints=off",
            "jit=off",
        ] {
            command.arg("-c").arg(setting);
        }
        self.extra.iter().for_each(|setting| _ = command.arg("-c").arg(setting));
        let log = self.folder.join("postgres.log");
        let mut process = Process::start(command, &log, Signal::INT)?;
        let started = Instant::now();
        loop {
            let problem = match process.ended() {
                Some(ended) => ended,
                None if is_ready(&notice, process.id()) => return Ok(process),
                None if started.elapsed() > READY => format!("not ready after {READY:?}"),
                None => {
                    std::thread::sleep(GLANCE);
                    continue;
                }
            };
            return Err(EmbeddedError::Failed { server: "PostgreSQL", problem, log: tail(&log) });
        }
    }
}

/// Where the cluster lives and as whom it runs. An existing one stays where it is and whose it is.
fn home(folder: &Path, user: Option<User>) -> Result<(PathBuf, Option<User>), EmbeddedError> {
    let note = folder.join("home");
    let known = std::fs::read_to_string(&note).ok().map(PathBuf::from).filter(|home| home.is_dir());
    let home = known.clone().unwrap_or_else(|| folder.to_owned());
    let refuse = |problem: String| Err(EmbeddedError::Folder { folder: home.clone(), problem });
    let owner = folder::owner(&home.join("cluster"))?;
    let Some(user) = user else {
        return match owner {
            Some(owner) if owner.uid != rustix::process::geteuid().as_raw() => refuse(format!(
                "belongs to user {}; run as that user or as root, or choose another --data-dir",
                owner.uid
            )),
            _ => Ok((home, None)),
        };
    };
    // As root: a cluster that a plain user made earlier goes on as that user's.
    let user = owner.filter(|owner| owner.uid != 0).unwrap_or(user);
    if known.is_some() || folder::can_enter(&home, user) {
        return Ok((home, Some(user)));
    }
    if owner.is_some() {
        return refuse(format!(
            "cannot be entered by user {}, who owns the cluster in it; open its parents to it",
            user.uid
        ));
    }
    let home = Path::new(ELSEWHERE).join(folder::random_name());
    folder::prepare(&home)?;
    if !folder::can_enter(&home, user) {
        return Err(EmbeddedError::Folder {
            folder: home,
            problem: format!("cannot be entered by user {}", user.uid),
        });
    }
    std::fs::write(&note, home.as_os_str().as_encoded_bytes())
        .map_err(EmbeddedError::file("write", &note))?;
    tracing::info!(home = %home.display(), "PostgreSQL's user cannot enter the data folder; its cluster is kept here");
    Ok((home, Some(user)))
}

/// PostgreSQL's own word, as pg_ctl reads it: the eighth line of its notice.
fn is_ready(notice: &Path, pid: u32) -> bool {
    let Ok(text) = std::fs::read_to_string(notice) else { return false };
    let mut lines = text.lines();
    lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|line| line.trim() == "ready")
}
