//! A Redis of its own, and the scripts as the server sends them.

use redis::{Connection, Value};
use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use waitroom::{embedded, store::redis::redis_client};
use wire::domain::ids::VisitorId;

const KEYS: [&str; 17] = [
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
    "strangers",
    "sale",
    "banned",
];

/// What each script stands behind.
const SCRIPTS: [&[&str]; 14] = [
    &["guard", "standing", "join"],
    &["guard", "standing", "poll"],
    &["guard", "tick"],
    &["guard", "leave"],
    &["guard", "claim"],
    &["guard", "remove"],
    &["gone"],
    &["install"],
    &["settings"],
    &["takeover"],
    &["restore"],
    &["restored"],
    &["renew"],
    &["journaled"],
];

/// Seats of the hall.
pub const SEATS: usize = 60_000;

pub fn key(name: &str) -> String {
    format!("waitroom:{{bench}}:{name}")
}

/// Redis, and a connection to it.
pub struct Server {
    pub redis: Connection,
    server: embedded::Redis,
    _folder: tempfile::TempDir,
}

impl Server {
    pub fn start(fsync: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server =
            embedded::Redis::start_with(&folder.path().join("redis"), &["--appendfsync", fsync]).unwrap();
        let redis = redis_client(&server.url()).unwrap().get_connection().unwrap();
        Self { redis, server, _folder: folder }
    }

    /// What its main thread has used.
    pub fn cpu(&self) -> Duration {
        let pid = self.server.pid();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat")).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }

    pub fn ask<T: redis::FromRedisValue>(&mut self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        words[1..].iter().for_each(|word| _ = command.arg(word));
        command.query(&mut self.redis).unwrap()
    }

    /// What a call costs, in ms.
    pub fn cost<T>(&mut self, call: impl FnOnce(&mut Self) -> T) -> (f64, T) {
        let before = self.cpu();
        let answer = call(self);
        ((self.cpu() - before).as_secs_f64() * 1e3, answer)
    }
}

/// The scripts of one build, known to a server by their hashes.
pub struct Scripts {
    hashes: HashMap<&'static str, String>,
    /// Whether a leave is of one visitor.
    pub one_by_one: bool,
}

impl Scripts {
    pub fn ours() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/line/lua")
    }

    pub fn load(server: &mut Server, folder: &Path) -> Self {
        let read = |name: &str| fs::read_to_string(folder.join(name).with_extension("lua")).unwrap();
        let hashes = SCRIPTS.map(|files| {
            let text: Vec<String> = ["prelude"].iter().chain(files).map(|name| read(name)).collect();
            (files[files.len() - 1], server.ask(&["SCRIPT", "LOAD", &text.join("\n")]))
        });
        Self { hashes: hashes.into(), one_by_one: read("leave").contains("ARGV: visitor.") }
    }

    pub fn call(&self, server: &mut Server, name: &str, args: &[String]) -> Vec<Value> {
        let mut call = redis::cmd("EVALSHA");
        call.arg(&self.hashes[name]).arg(KEYS.len());
        KEYS.iter().for_each(|name| _ = call.arg(key(name)));
        match call.arg(args).query(&mut server.redis).unwrap() {
            Value::Array(values) => values,
            value => vec![value],
        }
    }

    pub fn install(&self, server: &mut Server) {
        let args = ["1", "0", "0", "run", "0", &SEATS.to_string(), "0", "scheduled", "", "0"];
        self.call(server, "install", &args.map(String::from));
    }

    pub fn settings(&self, server: &mut Server, version: u32, phase: &str, rate: u32) {
        let (version, rate) = (version.to_string(), rate.to_string());
        let args = [&version, phase, &rate, "1000000", "600000", "600000", "300000", &"\0".repeat(SEATS / 8)];
        self.call(server, "settings", &args.map(String::from));
    }
}

/// So many joins of new visitors over sockets; and who they are.
pub fn joins(count: usize) -> (Vec<String>, Vec<String>) {
    let visitors: Vec<String> = (0..count).map(|_| VisitorId::anonymous().as_str().to_owned()).collect();
    (join_args("bench", "join", &visitors), visitors)
}

pub fn join_args(instance: &str, mode: &str, visitors: &[String]) -> Vec<String> {
    let args = |visitor: &String| [visitor, "12d687", "60000", mode, "0", "", "", "0"].map(String::from);
    std::iter::once(instance.to_owned()).chain(visitors.iter().flat_map(args)).collect()
}
