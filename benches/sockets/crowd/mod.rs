//! A crowd that costs next to nothing, as a process of its own: one thread, one epoll, a few dozen bytes a visitor. It is told
//! what to do by lines on its standard input, and answers each with what it has seen.
//!
//! It looks at its sockets every few milliseconds instead of sleeping until one is ready: who is woken for each message makes
//! the sender pay for the waking, and a server would be measured by how sleepy its visitors are.

mod door;
mod frames;
mod orders;
mod polls;
mod seen;
mod visitor;

pub use orders::{Crowd, Manners, Order, ask_all};
pub use seen::Seen;

use door::Door;
use frames::Frame;
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::OwnedFd,
    io::Errno,
    net::{RecvFlags, recv},
};
use seen::Notes;
use std::{
    collections::{HashMap, VecDeque},
    io::{BufRead, Write},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use visitor::{Stage, Visitor};

/// Events that are taken from the kernel at once.
const EVENTS: usize = 4_096;
/// What is read at once.
const BUFFER: usize = 32 << 10;

/// All of it.
struct Crowded {
    manners: Manners,
    door: Door,
    epoll: OwnedFd,
    visitors: Vec<Visitor>,
    /// Parts of frames of which the rest has not come yet: rare.
    tails: HashMap<u32, Vec<u8>>,
    /// Who comes back, and when.
    due: VecDeque<(u32, u32)>,
    /// Who asks next how he stands, and when.
    polls: VecDeque<(u32, u32)>,
    /// Who is on his way in.
    underway: usize,
    /// How many shall be here, so many more a second.
    wanted: usize,
    per_s: f64,
    came_at: Instant,
    came_from: usize,
    /// Who goes and comes back, a second, and how many of a hundred come back to their places.
    churn_per_s: f64,
    returning: u32,
    churn_at: Instant,
    churned: u64,
    random: u64,
    began: Instant,
    notes: Notes,
}

/// Plays the crowd until its input ends.
pub fn play(manners: &str) {
    let manners: Manners = serde_json::from_str(manners).unwrap();
    let (orders, ordered) = mpsc::channel();
    // The orders' own thread sleeps for nearly all of its life.
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let _ = orders.send(serde_json::from_str::<Order>(&line.unwrap()).unwrap());
        }
    });
    let pause = Duration::from_micros(manners.look_us);
    let mut crowd = Crowded::new(manners);
    let (mut events, mut buffer) = (Vec::with_capacity(EVENTS), vec![0; BUFFER]);
    loop {
        match ordered.try_recv() {
            Ok(order) => {
                crowd.obey(&order);
                let seen = crowd.seen();
                println!("{}", serde_json::to_string(&seen).unwrap());
                std::io::stdout().flush().unwrap();
            }
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return,
        }
        crowd.let_go();
        crowd.let_come();
        crowd.poll();
        loop {
            let at_once = Some(&Timespec { tv_sec: 0, tv_nsec: 0 });
            epoll::wait(&crowd.epoll, spare_capacity(&mut events), at_once).unwrap();
            let all = events.len() < EVENTS;
            for event in events.drain(..) {
                crowd.look_at(event.data.u64(), event.flags, &mut buffer);
            }
            if all {
                break;
            }
        }
        thread::sleep(pause);
    }
}

impl Crowded {
    fn new(manners: Manners) -> Self {
        let now = Instant::now();
        Self {
            door: Door::new(&manners),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).unwrap(),
            visitors: Vec::new(),
            tails: HashMap::new(),
            due: VecDeque::new(),
            polls: VecDeque::new(),
            underway: 0,
            wanted: 0,
            per_s: 0.0,
            came_at: now,
            came_from: 0,
            churn_per_s: 0.0,
            returning: 0,
            churn_at: now,
            churned: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            began: now,
            notes: Notes::default(),
            manners,
        }
    }

    fn obey(&mut self, order: &Order) {
        let now = Instant::now();
        match *order {
            Order::Come { count, per_s } => {
                (self.came_at, self.came_from, self.per_s) = (now, self.visitors.len(), per_s);
                self.wanted = self.visitors.len() + count;
                self.visitors.reserve_exact(count);
                self.notes.begin_coming(self.now(), false);
            }
            Order::Churn { per_s, returning } => {
                (self.churn_at, self.churned) = (now, 0);
                (self.churn_per_s, self.returning) = (per_s, returning);
            }
            Order::Cut => self.cut(),
            Order::Watch => {
                let now = self.now();
                self.visitors.iter_mut().for_each(|visitor| visitor.told_ms = now);
                self.notes.watch();
            }
            Order::Tell => {}
        }
    }

    /// Milliseconds since it began.
    fn now(&self) -> u32 {
        self.began.elapsed().as_millis() as u32
    }

    fn random(&mut self, below: u32) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % u64::from(below.max(1))) as u32
    }

    /// Some go, at the churn's pace: most come back to their places, the others are followed by new ones.
    fn let_go(&mut self) {
        let owed = (self.churn_at.elapsed().as_secs_f64() * self.churn_per_s) as u64;
        // After a hold-up not all at once.
        for _ in self.churned..owed.min(self.churned + 200) {
            let n = self.random(self.visitors.len() as u32);
            let forgets = self.random(100) >= self.returning;
            let visitor = &mut self.visitors[n as usize];
            if visitor.stage == Stage::Waits {
                if forgets {
                    visitor.place = Box::default();
                }
                self.close(n);
                self.come_at(self.now() + self.manners.away_ms, n);
                self.notes.churned += 1;
            }
            self.churned += 1;
        }
    }

    /// New ones, and those whose time it is to come back.
    fn let_come(&mut self) {
        let (now, owed) = (self.now(), (self.came_at.elapsed().as_secs_f64() * self.per_s) as usize);
        while self.underway < self.manners.at_once {
            if self.due.front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, n)) = self.due.pop_front() else { return };
                self.open(n);
            } else if self.visitors.len() < self.wanted && self.visitors.len() - self.came_from < owed {
                self.visitors.push(Visitor::default());
                self.open(self.visitors.len() as u32 - 1);
            } else {
                return;
            }
        }
    }

    fn open(&mut self, n: u32) {
        let (now, opened) = (self.now(), self.door.open());
        let visitor = &mut self.visitors[n as usize];
        visitor.turn = visitor.turn.wrapping_add(1);
        visitor.told_ms = now;
        match opened {
            Ok(fd) => {
                (visitor.fd, visitor.stage) = (Some(fd), Stage::Connects);
                self.underway += 1;
                // On this machine's own addresses he is connected at once, as a rule.
                self.ask_in(n, true);
            }
            Err(error) => {
                self.notes.trouble(&format!("connect: {error}"));
                self.come_later(n);
            }
        }
    }

    /// He asks for a WebSocket as soon as the connection takes it.
    fn ask_in(&mut self, n: u32, is_new: bool) {
        let path = &self.manners.paths[n as usize % self.manners.paths.len()];
        let Some(fd) = &self.visitors[n as usize].fd else { return };
        let asked = if self.manners.polls_ms > 0 { self.draw(n) } else { frames::send_upgrade(fd, path) };
        let visitor = &mut self.visitors[n as usize];
        let Some(fd) = &visitor.fd else { return };
        let data = epoll::EventData::new_u64(u64::from(visitor.turn) << 32 | u64::from(n));
        let watched = match asked {
            Err(Errno::AGAIN | Errno::NOTCONN) if is_new => {
                epoll::add(&self.epoll, fd, data, epoll::EventFlags::OUT | epoll::EventFlags::ET)
            }
            Err(Errno::AGAIN | Errno::NOTCONN) => Ok(()),
            Err(error) => return self.broke(n, &format!("upgrade: {error}")),
            Ok(()) => {
                visitor.stage = Stage::Upgrades;
                let watch = if is_new { epoll::add } else { epoll::modify };
                watch(&self.epoll, fd, data, epoll::EventFlags::IN)
            }
        };
        watched.unwrap();
    }

    fn look_at(&mut self, data: u64, flags: epoll::EventFlags, buffer: &mut [u8]) {
        let (n, turn) = (data as u32, (data >> 32) as u32);
        let visitor = &self.visitors[n as usize];
        if visitor.turn != turn {
            return;
        }
        if visitor.stage == Stage::Connects && !flags.contains(epoll::EventFlags::IN) {
            return self.ask_in(n, false);
        }
        let Some(fd) = &visitor.fd else { return };
        match recv(fd, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.broke(n, "it hung up"),
            Ok((length, _)) => self.hear(n, &buffer[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => self.broke(n, &error.to_string()),
        }
    }

    /// Takes what came, and keeps the part of a frame at its end.
    fn hear(&mut self, n: u32, came: &[u8]) {
        let tail = if self.tails.is_empty() { None } else { self.tails.remove(&n) };
        let joined = tail.map(|mut tail| {
            tail.extend_from_slice(came);
            tail
        });
        let mut rest = joined.as_deref().unwrap_or(came);
        if self.manners.polls_ms > 0 {
            return self.answered(n, rest);
        }
        let turn = self.visitors[n as usize].turn;
        if self.visitors[n as usize].stage == Stage::Upgrades {
            let Some(end) = rest.windows(4).position(|end| end == b"\r\n\r\n") else {
                self.tails.insert(n, rest.to_vec());
                return;
            };
            let (head, frames) = rest.split_at(end + 4);
            rest = frames;
            self.upgraded(n, head);
        }
        while self.visitors[n as usize].turn == turn && self.visitors[n as usize].fd.is_some() {
            let Some((frame, length)) = Frame::first(rest) else {
                if !rest.is_empty() {
                    self.tails.insert(n, rest.to_vec());
                }
                return;
            };
            self.take(n, frame);
            rest = &rest[length..];
        }
    }
}
