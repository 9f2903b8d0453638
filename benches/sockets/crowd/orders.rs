//! A crowd as the bench has it: a process that is told what to do.

use super::Seen;
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// How its visitors behave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manners {
    /// Where to: a port of this machine, and paths, one visitor after another at the next.
    pub port: u16,
    pub paths: Vec<String>,
    /// Their network: its 250 addresses, with 30,000 ports each.
    pub from: [u8; 3],
    /// Whether they join, or are content with a WebSocket.
    pub joins: bool,
    /// Whether they keep their place tokens (about 200 bytes each), to come back with them.
    pub keeps_places: bool,
    /// Whether they leave at their turn. Otherwise they keep it.
    pub leaves: bool,
    /// Without a socket, each asks how he stands so often; 0: over a socket.
    pub polls_ms: u32,
    /// How many may be on their way in at once.
    pub at_once: usize,
    /// How long one who went by himself stays away.
    pub away_ms: u32,
    /// Between two looks at the sockets.
    pub look_us: u64,
}

impl Manners {
    /// Of visitors who wait, at this port and these paths.
    pub fn waiting(port: u16, paths: Vec<String>) -> Self {
        Self {
            port,
            paths,
            from: [127, 41, 1],
            joins: true,
            keeps_places: false,
            leaves: false,
            polls_ms: 0,
            at_once: 500,
            away_ms: 500,
            look_us: 5_000,
        }
    }
}

/// A pace that nobody reaches.
const AS_FAST_AS_CAN_BE: f64 = 1e9;

/// What it is told. It answers each order with what it has seen.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Order {
    /// So many more shall come, so many a second.
    Come {
        count: usize,
        per_s: f64,
    },
    /// From now on so many a second go, and come back after a moment: so many of a hundred to their places.
    Churn {
        per_s: f64,
        returning: u32,
    },
    /// All connections break at once, and everyone comes back.
    Cut,
    /// From now on ranks age.
    Watch,
    Tell,
}

/// It ends with its owner.
pub struct Crowd {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Crowd {
    pub fn start(manners: &Manners) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["crowd", &serde_json::to_string(manners).unwrap()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { orders: process.stdin.take(), answers, process }
    }

    /// Ends all at once; they are waited for by whoever drops them.
    pub fn end(crowds: &mut [Self]) {
        crowds.iter_mut().for_each(|crowd| _ = crowd.process.kill());
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    pub fn ask(&mut self, order: Order) -> Seen {
        self.order(order);
        self.answer()
    }

    fn order(&mut self, order: Order) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{}", serde_json::to_string(&order).unwrap()).unwrap();
    }

    fn answer(&mut self) -> Seen {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).expect("the crowd ended")
    }

    /// So many more come, as fast as they are let in; returns when all are there.
    pub fn come(&mut self, count: usize) -> Seen {
        let there = self.ask(Order::Tell).came;
        self.ask(Order::Come { count, per_s: AS_FAST_AS_CAN_BE });
        self.until(Duration::from_secs(180), |seen| seen.came >= there + count as u64)
    }

    /// Asks until it is so.
    pub fn until(&mut self, patience: Duration, enough: impl Fn(&Seen) -> bool) -> Seen {
        let began = Instant::now();
        loop {
            let seen = self.ask(Order::Tell);
            if enough(&seen) {
                return seen;
            }
            assert!(began.elapsed() < patience, "it did not come to that: {seen:?}");
            sleep(Duration::from_millis(100));
        }
    }
}

/// Asks several, all at once; what each has seen.
pub fn ask_all(crowds: &mut [Crowd], order: impl Fn(usize) -> Order) -> Vec<Seen> {
    crowds.iter_mut().enumerate().for_each(|(i, crowd)| crowd.order(order(i)));
    crowds.iter_mut().map(Crowd::answer).collect()
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // It ends with its input.
        self.orders.take();
        let _ = self.process.wait();
    }
}
