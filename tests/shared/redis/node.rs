//! One Redis: on a port and on a socket, in a folder of its own.

use super::{TLS, ports::free_port};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// For everything that takes a while on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// What it is started with.
#[derive(Clone, Default)]
pub struct Nature {
    /// Further arguments. `BUS` becomes the port at which nodes of a cluster talk.
    pub words: Vec<String>,
    pub environment: Vec<(&'static str, OsString)>,
    /// Others reach it by TLS, at a second port; the test itself by the first.
    pub tls: bool,
}

impl Nature {
    pub fn of(words: &[&str]) -> Self {
        Self { words: words.iter().map(ToString::to_string).collect(), ..Self::default() }
    }

    pub fn by_tls() -> Self {
        Self { tls: true, ..Self::default() }
    }
}

pub struct Node {
    pub port: u16,
    pub bus: u16,
    tls_port: Option<u16>,
    nature: Nature,
    login: String,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Node {
    pub fn start(nature: Nature) -> Self {
        let (port, bus) = (free_port(), free_port());
        let tls_port = nature.tls.then(free_port);
        let folder = tempfile::tempdir().unwrap();
        let mut node = Self { port, bus, tls_port, nature, login: String::new(), child: None, folder };
        node.restart();
        node
    }

    pub fn replica_of(primary: &Node) -> Self {
        let node = Self::start(Nature { tls: primary.nature.tls, ..Nature::default() });
        node.follow(primary);
        until("the replica is connected", || node.info("master_link_status") == "up");
        node
    }

    /// It becomes the other's replica.
    pub fn follow(&self, primary: &Node) {
        self.say::<()>(&["REPLICAOF", "127.0.0.1", &primary.reached_at().to_string()]);
    }

    /// The port at which others reach it.
    pub fn reached_at(&self) -> u16 {
        self.tls_port.unwrap_or(self.port)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.reached_at())
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub fn log_in(&mut self, user: &str, password: &str) {
        self.login = format!("{user}:{password}@");
    }

    /// Starts it, unless it runs, on the data that are there.
    pub fn restart(&mut self) {
        until("Redis answers", || {
            // Its port may be another's for a moment, while it is down.
            if self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
                self.launch();
            }
            self.try_say::<String>(&["PING"]).is_ok()
        });
    }

    fn launch(&mut self) {
        let mut command = Command::new("redis-server");
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]);
        command.args(["--save", "", "--protected-mode", "no", "--loglevel", "warning"]);
        command.args(["--repl-diskless-sync-delay", "0", "--port", &self.port.to_string()]);
        command.arg("--dir").arg(self.folder.path()).arg("--unixsocket").arg(self.socket());
        if let Some(port) = self.tls_port {
            command.args(["--tls-port", &port.to_string()]).args(TLS);
        }
        let Nature { words, environment, .. } = &self.nature;
        command.args(words.iter().map(|word| word.replace("BUS", &self.bus.to_string())));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is installed"));
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    pub fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// Where its data are.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("appendonlydir")
    }

    /// The data as they are now. Its end may be torn, as after a power cut.
    pub fn snapshot(&self) -> PathBuf {
        let kept = self.folder.path().join("kept");
        copy(&self.data(), &kept);
        kept
    }

    /// Its data become those of before. Not while it runs.
    pub fn go_back_to(&self, kept: &Path) {
        copy(kept, &self.data());
    }

    /// It hears nothing of its primary any more, and cannot ask for it: the link to it is cut.
    pub fn cut_off(&self) {
        self.say::<()>(&["CONFIG", "SET", "masterauth", "nobody-knows-this"]);
        let _: redis::Value = self.say(&["CLIENT", "KILL", "TYPE", "master"]);
        // One that has become a primary has none.
        until("the link is cut", || self.info("master_link_status") != "up");
    }

    pub fn mend(&self) {
        // Unless it is dead.
        let _ = self.try_say::<()>(&["CONFIG", "SET", "masterauth", ""]);
    }

    /// Says it, and hears the answer or why there is none.
    pub fn try_say<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let client = redis::Client::open(format!("redis://{}127.0.0.1:{}", self.login, self.port))?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query(&mut connection)
    }

    pub fn say<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_say(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A field of INFO; empty if there is none.
    pub fn info(&self, field: &str) -> String {
        let info: String = self.try_say(&["INFO"]).unwrap_or_default();
        let value = info.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_default().trim().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}
