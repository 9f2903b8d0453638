//! One `waitroom serve`, which can be killed, stopped, starved and started again at the same addresses.

use crate::{
    clock::Clock,
    door::Door,
    nodes::{free_port, until},
    proxy::Proxy,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::{
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

pub const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
/// What `KEYS` sign with.
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const KEYS: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// The program under test.
pub fn waitroom(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.args(words).env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN).stdin(Stdio::null());
    command
}

/// What an instance is started with.
pub struct Wiring {
    /// Where its Redis is: behind a proxy of its own, if there is one.
    pub redis_url: String,
    pub redis: Option<Proxy>,
    pub postgres_url: String,
    pub postgres: Proxy,
    pub clock: Option<Clock>,
    /// How many replicas must have what is told.
    pub replicas: u32,
    /// The network namespace that it lives in, and its address there.
    pub host: Option<(String, String)>,
}

pub struct Instance {
    pub admin: String,
    pub door: Door,
    pub wiring: Wiring,
    pub public: String,
    child: Option<Child>,
}

impl Instance {
    /// At an address of its own, or beside others at theirs. Where a store is broken it may refuse to.
    pub async fn start(wiring: Wiring, beside: Option<String>) -> Self {
        let host = wiring.host.as_ref().map_or("127.0.0.1", |(_, address)| address.as_str());
        let public = beside.unwrap_or_else(|| format!("{host}:{}", free_port()));
        let admin = format!("{host}:{}", free_port());
        let door = Door::before(public.clone()).await;
        let mut instance = Self { admin, door, wiring, public, child: None };
        instance.launch();
        until("the server starts, or refuses to", || instance.is_up() || instance.has_ended());
        instance
    }

    /// Starts it, and does not wait.
    pub fn launch(&mut self) {
        let Wiring { redis_url, postgres_url, clock, replicas, host, .. } = &self.wiring;
        let log = std::env::var("FAULTS_LOG").unwrap_or("off".into());
        let mut command = match host {
            Some((namespace, _)) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_waitroom")]);
                command.env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN);
                command
            }
            None => waitroom(&[]),
        };
        command
            .args(["serve", "--drain-s=2", "--postgres-pool=4", "--reuse-port", "--address-places=0"])
            .arg(format!("--log={log}"));
        command.arg(format!("--signing-keys={KEYS}")).arg(format!("--listen={}", self.public));
        command.arg(format!("--admin-listen={}", self.admin)).arg(format!("--redis-url={redis_url}"));
        command.arg(format!("--postgres-url={postgres_url}"));
        if *replicas > 0 {
            command.arg(format!("--redis-replicas={replicas}"));
        }
        if let Some(clock) = clock {
            command.envs(clock.environment());
        }
        self.child = Some(command.stdout(Stdio::null()).spawn().unwrap());
    }

    pub fn is_up(&self) -> bool {
        let address = self.admin.parse().unwrap();
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    }

    /// Kept alive by whoever keeps servers alive: started until it stays, as a supervisor would.
    pub fn see_to_it(&mut self) {
        if self.child.as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
            self.launch();
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits for its end, after SIGTERM.
    pub fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    fn pid(&self) -> Option<Pid> {
        Some(Pid::from_child(self.child.as_ref()?))
    }

    /// It may open no more files than it has; or as many as it could before.
    pub fn limit_files(&self, limited: bool) {
        let Some(pid) = self.pid() else { return };
        let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).map_or(0, Iterator::count);
        let current = if limited { open as u64 } else { 4096 };
        let _ = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(current), maximum: Some(4096) });
    }

    pub fn set_clock(&self, offset: i64) {
        self.wiring.clock.as_ref().expect("its clock can be moved").set(offset);
    }

    /// Where visitors find it.
    pub fn url(&self) -> String {
        format!("http://{}", self.door.address)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.kill();
    }
}
