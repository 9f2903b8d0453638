//! What a sale's `away_s` costs whom: `cargo bench --bench ghosts`. docs/decisions/0022-roles-and-visitors.md quotes it.
//!
//! The real scripts against a real Redis, by a clock that the simulation sets, so that minutes take a moment: ghosts who join and
//! never return, a lift, a locked phone, and a balancer that cuts everyone at once.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use redis::{Connection, FromRedisValue, Script, ScriptInvocation};
use serde_json::Value;
use std::{cell::RefCell, collections::HashMap};
use waitroom::embedded::Redis;

/// Milliseconds between two ticks.
const TICK_MS: u64 = 100;
/// Uses his turn for the first time after so long …
const CLAIMS_MS: u64 = 2_000;
/// … and is done after so long, on average: some take a quarter of it, others seven.
const TURN_MS: u64 = 40_000;
const CLAIM_S: u64 = 60;

const PRELUDE: &str = include_str!("../src/store/line/lua/prelude.lua");
const STANDING: &str = include_str!("../src/store/line/lua/standing.lua");
const KEYS: [&str; 16] = [
    "line",
    "returned",
    "away",
    "places",
    "grants",
    "claims",
    "fences",
    "presence",
    "instances",
    "booked",
    "blocked",
    "taken",
    "held",
    "events",
    "sale",
    "banned",
];

fn script(parts: &[&str]) -> Script {
    let text = std::iter::once(PRELUDE).chain(parts.iter().copied()).collect::<Vec<_>>().join("\n");
    let told = "redis.call('TIME')";
    assert_eq!(text.matches(told).count(), 1);
    Script::new(&text.replace(told, "redis.call('HMGET', sale, 'clock_s', 'clock_us')"))
}

struct Line<'a> {
    redis: &'a RefCell<Connection>,
    name: String,
    now: u64,
    tick: Script,
    join: Script,
    claim: Script,
    leave: Script,
    gone: Script,
    granted: HashMap<String, u64>,
    order: Vec<String>,
    /// What honest visitors do next, and when.
    due: Vec<(u64, bool, String)>,
    /// Who uses his turn.
    honest: Box<dyn Fn(&str) -> bool>,
    turn_ms: u64,
}

impl<'a> Line<'a> {
    fn new(redis: &'a RefCell<Connection>, name: &str, rate: u32, max_active: u32, away_s: u64) -> Self {
        let mut line = Self {
            redis,
            name: name.to_owned(),
            now: 1_000_000_000,
            tick: script(&[include_str!("../src/store/line/lua/tick.lua")]),
            join: script(&[STANDING, include_str!("../src/store/line/lua/join.lua")]),
            claim: script(&[include_str!("../src/store/line/lua/claim.lua")]),
            leave: script(&[include_str!("../src/store/line/lua/leave.lua")]),
            gone: script(&[include_str!("../src/store/line/lua/gone.lua")]),
            granted: HashMap::new(),
            order: Vec::new(),
            due: Vec::new(),
            honest: Box::new(|_| true),
            turn_ms: TURN_MS,
        };
        let fields: [(&str, u64); 13] = [
            ("epoch", 1),
            ("n", 0),
            ("seq", 0),
            ("seats", 1_000_000),
            ("free", 1_000_000),
            ("bucket", 0),
            ("written", 0),
            ("version", 1),
            ("rate", rate.into()),
            ("max_active", max_active.into()),
            ("grant_ttl_ms", 300_000),
            ("claim_ms", CLAIM_S * 1000),
            ("away_ms", away_s * 1000),
        ];
        for (field, value) in fields {
            line.set(field, &value.to_string());
        }
        line.phase("scheduled");
        line
    }

    fn key(&self, name: &str) -> String {
        format!("waitroom:{{{}}}:{name}", self.name)
    }

    fn set(&self, field: &str, value: &str) {
        let key = self.key("sale");
        redis::cmd("HSET").arg(key).arg(field).arg(value).exec(&mut self.redis.borrow_mut()).unwrap();
    }

    fn phase(&mut self, phase: &str) {
        self.set("command", phase);
        self.set("phase", phase);
    }

    fn call<T: FromRedisValue>(&self, script: &Script, say: impl FnOnce(&mut ScriptInvocation<'_>)) -> T {
        let clock = [
            "clock_s".to_owned(),
            (self.now / 1000).to_string(),
            "clock_us".to_owned(),
            (self.now % 1000 * 1000).to_string(),
        ];
        redis::cmd("HSET").arg(self.key("sale")).arg(&clock).exec(&mut self.redis.borrow_mut()).unwrap();
        let mut call = script.prepare_invoke();
        KEYS.iter().for_each(|key| {
            call.key(self.key(key));
        });
        say(&mut call);
        call.invoke(&mut *self.redis.borrow_mut()).unwrap()
    }

    fn join(&self, visitor: &str) {
        let _: redis::Value = self.call(&self.join, |call| {
            call.arg(&["one", visitor, "1", "0", "join", "0", ""]);
        });
    }

    fn leaves_the_page(&self, visitor: &str) {
        let _: u64 = self.call(&self.gone, |call| {
            call.arg(&["one", visitor, "1"]);
        });
    }

    /// Goes on for so long; who is granted and honest takes his turn.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms / TICK_MS {
            self.now += TICK_MS;
            let (due, later) = self.due.drain(..).partition(|(at, ..)| *at <= self.now);
            self.due = later;
            let due: Vec<(u64, bool, String)> = due;
            for (_, leaves, visitor) in due {
                let script = if leaves { &self.leave } else { &self.claim };
                let _: u64 = self.call(script, |call| {
                    call.arg(visitor);
                });
            }
            let reply: Vec<redis::Value> = self.call(&self.tick, |call| {
                call.arg("one").arg(0);
            });
            if matches!(reply[4], redis::Value::Int(count) if count > 0) {
                self.hear();
            }
        }
    }

    fn hear(&mut self) {
        type Entries = Vec<(String, HashMap<String, String>)>;
        let mut last = redis::cmd("XREVRANGE");
        let last: Entries = last
            .arg(self.key("events"))
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(1)
            .query(&mut self.redis.borrow_mut())
            .unwrap();
        let entry: Value = serde_json::from_str(&last[0].1["d"]).unwrap();
        for admitted in entry["admitted"].as_array().unwrap() {
            let visitor = admitted[0].as_str().unwrap().to_owned();
            if (self.honest)(&visitor) {
                self.due.push((self.now + CLAIMS_MS, false, visitor.clone()));
                let share =
                    visitor.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()))
                        % 1_000;
                self.due.push((
                    self.now + self.turn_ms * (250 + share * 3 / 2) / 1_000,
                    true,
                    visitor.clone(),
                ));
            }
            self.granted.entry(visitor.clone()).or_insert(self.now);
            self.order.push(visitor);
        }
    }

    /// Until the visitor is granted, ten minutes at most; ms.
    fn until_granted(&mut self, visitor: &str) -> u64 {
        let began = self.now;
        while !self.granted.contains_key(visitor) && self.now - began < 600_000 {
            self.run(TICK_MS);
        }
        self.now - began
    }
}

/// How long an honest visitor waits who comes behind `ahead` others and so many ghosts: who joined `lead` before the opening.
fn ghosts(redis: &RefCell<Connection>, away_s: u64, ahead: usize, ghosts: usize, lead_ms: u64) -> u64 {
    let mut line = Line::new(redis, &format!("g-{away_s}-{ahead}-{ghosts}-{lead_ms}"), 10, 50, away_s);
    line.honest = Box::new(|visitor| !visitor.starts_with('g'));
    (0..ahead).for_each(|i| line.join(&format!("h{i}")));
    (0..ghosts).for_each(|i| line.join(&format!("g{i}")));
    line.run(1_000);
    (0..ghosts).for_each(|i| line.leaves_the_page(&format!("g{i}")));
    line.join("kim");
    line.run(lead_ms);
    line.phase("open");
    line.until_granted("kim")
}

/// Someone in the middle of a line is gone from `before` his turn until `after` it: how long he waits once he is back, and whether
/// a turn of his was given to nobody meanwhile.
fn absent(redis: &RefCell<Connection>, away_s: u64, before_ms: u64, after_ms: u64) -> (u64, bool) {
    let fill = |line: &mut Line| {
        (0..200).for_each(|i| line.join(&format!("h{i}")));
        line.phase("open");
    };
    let mut line = Line::new(redis, &format!("t-{away_s}-{before_ms}-{after_ms}"), 10, 50, 3600);
    fill(&mut line);
    let turn = line.until_granted("h120");
    let mut line = Line::new(redis, &format!("a-{away_s}-{before_ms}-{after_ms}"), 10, 50, away_s);
    line.honest = Box::new(|visitor| visitor != "h120");
    fill(&mut line);
    line.run(turn - before_ms);
    line.leaves_the_page("h120");
    line.run(before_ms + after_ms);
    let wasted = line.granted.contains_key("h120");
    let back = line.now;
    line.join("h120");
    if wasted && line.now < line.granted["h120"] + CLAIM_S * 1000 {
        return (0, false); // In time for the turn that he was given.
    }
    line.granted.remove("h120");
    line.until_granted("h120");
    (line.now - back, wasted)
}

/// A balancer cuts 2,000 visitors at once, who come back as the page does, the last after `slow` times as long. How many turns
/// went to somebody before whom another waited who came back later, and by how many places the boldest jumped.
fn herd(redis: &RefCell<Connection>, away_s: u64, slow: f64) -> (usize, usize) {
    const CROWD: usize = 2_000;
    let mut line = Line::new(redis, &format!("b-{away_s}-{slow}"), 20, 1_000, away_s);
    line.turn_ms = 20_000;
    (0..CROWD).for_each(|i| line.join(&format!("{i}")));
    line.phase("open");
    line.run(5_000);
    let served: Vec<usize> = line.order.iter().map(|visitor| visitor.parse().unwrap()).collect();
    line.order.clear();
    (0..CROWD).for_each(|i| line.leaves_the_page(&format!("{i}")));
    // 250 ms + up to 2 s, spread as by a good hash.
    let back = |i: usize| ((250.0 + 2_000.0 * ((i * 7_919) % 1_000) as f64 / 1_000.0) * slow) as u64;
    let began = line.now;
    let mut out: Vec<usize> = (0..CROWD).collect();
    while !out.is_empty() {
        line.run(TICK_MS);
        let (now, later): (Vec<_>, Vec<_>) = out.into_iter().partition(|i| began + back(*i) <= line.now);
        now.iter().for_each(|i| line.join(&format!("{i}")));
        out = later;
    }
    line.run(30_000);
    let order: Vec<usize> = line.order.iter().map(|visitor| visitor.parse().unwrap()).collect();
    let first = served.len();
    let ahead =
        |at: usize| order[at + 1..].iter().filter(|other| **other < order[at] && **other >= first).count();
    let jumps: Vec<usize> = (0..order.len()).map(ahead).filter(|count| *count > 0).collect();
    (jumps.len(), jumps.iter().copied().max().unwrap_or(0))
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let server = Redis::start_at(folder.path()).unwrap();
    let connection = RefCell::new(redis::Client::open(server.url()).unwrap().get_connection().unwrap());
    // Nothing here needs to be kept.
    redis::cmd("CONFIG").arg("SET").arg("appendonly").arg("no").exec(&mut connection.borrow_mut()).unwrap();
    let seconds = |ms: u64| format!("{:.1}", ms as f64 / 1000.0);
    println!("rate 10/s, max_active 50, claim_s {CLAIM_S}, a turn takes 10 to 70 s; seconds\n");
    println!(
        "| away_s | opening 1 s later | 10 s later | 60 s later | open sale, 60 ahead | open sale, 150 ahead | lift | lift at the turn | phone | cut: jumps, farthest | slow cut |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    for away_s in [0, 2, 3, 5, 10, 15, 20, 30, 60, 120, 300] {
        let pair = |ahead, lead| {
            let (with, without) =
                (ghosts(&connection, away_s, ahead, 100, lead), ghosts(&connection, away_s, ahead, 0, lead));
            format!("{} ({})", seconds(with), seconds(without))
        };
        let absent = |before, after| {
            let (waits, wasted) = absent(&connection, away_s, before, after);
            format!("{}{}", seconds(waits), if wasted { ", a turn missed" } else { "" })
        };
        let cut = |slow| {
            let (jumps, farthest) = herd(&connection, away_s, slow);
            format!("{jumps}, {farthest}")
        };
        println!(
            "| {away_s} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            pair(0, 1_000),
            pair(0, 10_000),
            pair(0, 60_000),
            pair(60, 0),
            pair(150, 0),
            absent(40_000, 5_000),
            absent(3_000, 42_000),
            absent(30_000, 300_000),
            cut(1.0),
            cut(5.0)
        );
    }
}
