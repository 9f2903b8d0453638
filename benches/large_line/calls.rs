//! What each call costs Redis in a line of so many places.

use crate::server::{SEATS, Scripts, Server, join_args, joins, key};
use redis::Value;
use std::{thread::sleep, time::Duration};

const FILL: usize = 512;
const BATCH: usize = 512;
const ROUNDS: usize = 5;
/// Live grants, when their deadlines are moved and they lapse.
const GRANTS: u64 = 50_000;

struct Calls<'a> {
    server: &'a mut Server,
    scripts: &'a Scripts,
    visitors: Vec<String>,
    next: usize,
    version: u32,
}

impl Calls<'_> {
    /// Spread over the line.
    fn some(&mut self, count: usize) -> Vec<String> {
        let one =
            |i: usize| self.visitors[(self.next + i).wrapping_mul(0x9E37_79B1) % self.visitors.len()].clone();
        let some = (0..count).map(one).collect();
        self.next += count;
        some
    }

    fn call(&mut self, name: &str, args: &[&str]) -> Vec<Value> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        self.scripts.call(self.server, name, &args)
    }

    /// Prints the median and the most of some calls.
    fn show(&self, what: &str, mut ms: Vec<f64>) {
        ms.sort_by(f64::total_cmp);
        println!("| {what} | {:.2} | {:.2} |", ms[ms.len() / 2], ms[ms.len() - 1]);
    }

    fn measure(&mut self, what: &str, mut args: impl FnMut(&mut Self) -> (&'static str, Vec<String>)) {
        let round = |_| {
            let (name, args) = args(self);
            let scripts = self.scripts;
            self.server.cost(|server| scripts.call(server, name, &args)).0
        };
        let ms = (0..ROUNDS).map(round).collect();
        self.show(what, ms);
    }

    fn ask(&mut self, what: &str, words: &[&str]) {
        let ms = (0..ROUNDS).map(|_| self.server.cost(|server| server.ask::<Value>(words)).0).collect();
        self.show(what, ms);
    }

    fn command(&mut self, phase: &str, rate: u32) {
        self.version += 1;
        self.scripts.settings(self.server, self.version, phase, rate);
    }

    fn live(&mut self) -> u64 {
        self.server.ask(&["ZCARD", &key("grants")])
    }

    /// Ticks until `done`; what each call that did something cost.
    fn ticks(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let mut ms = Vec::new();
        while !done(self) {
            let scripts = self.scripts;
            let args = ["bench".to_owned(), "0".to_owned()];
            let (cost, answer) = self.server.cost(|server| scripts.call(server, "tick", &args));
            match answer.first() {
                Some(Value::Int(0)) => sleep(Duration::from_millis(5)),
                _ => ms.push(cost),
            }
        }
        self.show(&format!("{what}, {} calls", ms.len()), ms);
    }
}

pub fn measure(server: &mut Server, ours: &Scripts, scripts: &Scripts, places: usize) {
    ours.install(server);
    ours.settings(server, 1, "open", 100);
    ours.settings(server, 2, "paused", 100);
    let mut visitors = Vec::with_capacity(places);
    while visitors.len() < places {
        let (args, more) = joins(FILL);
        ours.call(server, "join", &args);
        visitors.extend(more);
    }
    println!("| one call in a line of {places} | ms of Redis' CPU | most |\n|---|---|---|");
    let mut calls = Calls { server, scripts, visitors, next: 0, version: 2 };
    visitors_calls(&mut calls);
    ticks(&mut calls);
    rare_calls(&mut calls);
}

fn visitors_calls(calls: &mut Calls<'_>) {
    calls.measure("512 joins", |_| ("join", joins(BATCH).0));
    calls.measure("512 joins of who is there", |calls| {
        ("join", join_args("bench", "recheck", &calls.some(BATCH)))
    });
    calls.measure("512 joins at another instance", |calls| {
        ("join", join_args("two", "recheck", &calls.some(BATCH)))
    });
    let timed = |calls: &mut Calls<'_>, with: &str| {
        let some = calls.some(BATCH).into_iter().flat_map(|visitor| [visitor, with.to_owned()]);
        std::iter::once("two".to_owned()).chain(some).collect()
    };
    calls.measure("512 polls", |calls| ("poll", timed(calls, "60000")));
    calls.measure("512 departures", |calls| ("gone", timed(calls, "12d687")));
    let leaves = if calls.scripts.one_by_one { 1 } else { BATCH / 2 };
    calls.measure(&format!("{leaves} leaves"), |calls| ("leave", calls.some(leaves)));
    calls.measure("remove", |calls| ("remove", vec![calls.some(1).remove(0), String::new()]));
}

fn ticks(calls: &mut Calls<'_>) {
    calls.command("open", 10_000);
    calls.ticks("ticks at 10,000 a second", |calls| calls.live() >= GRANTS);
    calls.command("paused", 10_000);
    let (s, _): (i64, i64) = calls.server.ask(&["TIME"]);
    calls.server.ask::<()>(&["HSET", &key("sale"), "bookable_at", &(1000 * (s - 20)).to_string()]);
    let shift = |calls: &mut Calls<'_>| {
        calls.server.ask::<Option<u64>>(&["HGET", &key("sale"), "shift"]).unwrap_or(0)
    };
    let before = shift(calls);
    calls.ticks(&format!("deadlines of {GRANTS} moved"), |calls| shift(calls) > before);
    // All are due at once.
    let due = "local m = redis.call('ZRANGE', KEYS[1], 0, -1) for _, v in ipairs(m) do redis.call('ZADD', KEYS[1], 1, v) end";
    calls.server.ask::<()>(&["EVAL", due, "1", &key("grants")]);
    calls.ticks(&format!("{GRANTS} lapses"), |calls| calls.live() == 0);
}

fn rare_calls(calls: &mut Calls<'_>) {
    calls.measure("settings, 60,000 seats", |calls| {
        calls.version += 1;
        let version = calls.version.to_string();
        let args = [&version, "paused", "1", "1", "1", "1", "1", &"\0".repeat(SEATS / 8)];
        ("settings", args.map(String::from).to_vec())
    });
    calls.measure("takeover", |_| ("takeover", ["run", "0", "0", "0", "0", "0"].map(String::from).to_vec()));
    calls.ask(
        "a page of a board that is read anew",
        &["ZRANGE", &key("line"), "500000", "509999", "WITHSCORES"],
    );
    calls.ask("200 entries of the stream", &["XREAD", "COUNT", "200", "STREAMS", &key("events"), "1-0"]);
    let n: u64 = calls.server.ask(&["HGET", &key("sale"), "n"]);
    let (ms, _) = calls.server.cost(|server| {
        calls.scripts.call(server, "journaled", &["1".to_owned(), "1".to_owned(), n.to_string()])
    });
    calls.show("all journaled entries trimmed", vec![ms]);
    let next = |epoch: &str, first: &str| {
        let args = [epoch, first, "0", "run", "0", "60000", "0", "paused", "", "0"];
        args.map(String::from).to_vec()
    };
    let (scripts, args) = (calls.scripts, next("5", "4"));
    let (ms, _) = calls.server.cost(|server| scripts.call(server, "install", &args));
    calls.show("install over what a deleted sale left", vec![ms]);
    calls.call("install", &next("9", "7").iter().map(String::as_str).collect::<Vec<_>>());
    let mut seq = 0;
    calls.measure("500 places restored", |_| {
        let (_, visitors) = joins(500);
        let place = |visitor| {
            seq += 1;
            [
                visitor,
                "w".to_owned(),
                seq.to_string(),
                "0".to_owned(),
                "0".to_owned(),
                "0".to_owned(),
                "0".to_owned(),
            ]
        };
        let places: Vec<String> = visitors.into_iter().flat_map(place).collect();
        ("restore", ["9".to_owned(), "0".to_owned()].into_iter().chain(places).collect())
    });
}
