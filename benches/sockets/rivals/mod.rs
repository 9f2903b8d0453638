//! Others that hold the same sockets and send each its own number: processes of their own, like the server.

mod axum;
mod bare;

use serde::{Deserialize, Serialize};
use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Between two slices of pushes: at 40,000 a second as many in one as the server sends one line at a time, a hundred.
const SLICE: Duration = Duration::from_micros(2_500);
const BUN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/sockets/rivals/bun.js");

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// One epoll, no task, no framework: what the kernel costs.
    Bare,
    /// axum, small buffers, one task a socket, mimalloc.
    Axum,
    /// Bun, which serves WebSockets by uWebSockets.
    Bun,
}

/// What it does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Work {
    pub port: u16,
    /// So many pushes a second, in turn to each of the first `watchers` sockets, from when they are there.
    pub pushes_per_s: f64,
    pub watchers: usize,
    /// Bytes of a pushed message, at least.
    pub bytes: usize,
    /// Each socket is pinged so often; 0: never.
    pub ping_s: u64,
}

impl Work {
    /// Holds sockets, and sends nothing.
    pub fn nothing() -> Self {
        Self { port: 0, pushes_per_s: 0.0, watchers: usize::MAX, bytes: 0, ping_s: 0 }
    }
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare epoll loop",
            Self::Axum => "axum, tuned",
            Self::Bun => "Bun",
        }
    }

    /// Those that this machine has: `BUN=…` names the program, otherwise it is looked for by its name.
    pub fn all() -> Vec<Self> {
        let bun = Command::new(bun()).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let bun = bun.is_ok_and(|status| status.success()).then_some(Self::Bun);
        [Self::Bare, Self::Axum].into_iter().chain(bun).collect()
    }
}

fn bun() -> String {
    std::env::var("BUN").unwrap_or_else(|_| "bun".to_owned())
}

/// It ends with its owner.
pub struct Rival {
    process: Child,
    pub port: u16,
}

impl Rival {
    pub fn start(kind: Kind, work: Work) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let work = serde_json::to_string(&Work { port, ..work }).unwrap();
        let mut command = match kind {
            Kind::Bun => Command::new(bun()),
            _ => Command::new(std::env::current_exe().unwrap()),
        };
        match kind {
            Kind::Bun => command.args([BUN, &work]),
            _ => command.args(["rival", &serde_json::to_string(&kind).unwrap(), &work]),
        };
        let rival = Self { process: command.spawn().unwrap(), port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            sleep(Duration::from_millis(20));
        }
        rival
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Plays one, until it is killed.
pub fn play(kind: &str, work: &str) {
    let work: Work = serde_json::from_str(work).unwrap();
    match serde_json::from_str(kind).unwrap() {
        Kind::Bare => bare::serve(work),
        Kind::Axum => axum::serve(work),
        Kind::Bun => unreachable!("it is a program of its own"),
    }
}

/// How many pushes are due.
struct Pace {
    per_s: f64,
    began: Instant,
    sent: u64,
}

impl Pace {
    fn new(per_s: f64) -> Self {
        Self { per_s, began: Instant::now(), sent: 0 }
    }

    /// Since the last call; what was not possible in time is not made up for.
    fn due(&mut self) -> u64 {
        let all = (self.began.elapsed().as_secs_f64() * self.per_s) as u64;
        let due = all.saturating_sub(self.sent);
        self.sent = all;
        due.min((self.per_s / 4.0) as u64)
    }
}

impl Work {
    /// A rank as the server sends it, as long as its are; on each socket one lower than the last.
    fn rank(&self, number: u64) -> String {
        let rank = 999u64.saturating_sub(number / self.watchers.max(1) as u64);
        let text = format!(r#"{{"type":"rank","rank":{rank},"total":999,"eta_s":[9,9]"#);
        format!("{text:0$}}}", self.bytes.saturating_sub(1))
    }
}
