//! What a waiting socket costs, beside others that hold the same and send the same, in one run and by turns; medians.
//!
//! `cargo bench --bench sockets -- memory | pushes | rest | opens | confirmed | scale | polls [--rounds N] [--sockets N] [--json FILE]`, and
//! `-- million` and `-- cut` (see `million.rs`, `cut.rs`). docs/million.md quotes it.
//!
//! The server is the program that people run, with a Redis and a PostgreSQL of its own; it, the rivals and the crowd are
//! processes of their own. `MEASURED_BIN=…` measures another program than this one; `BUN=…` says where Bun is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark has nobody to tell")]

mod cgroup;
mod crowd;
mod cut;
mod fleet;
mod machine;
mod memory;
mod million;
mod opens;
mod plot;
mod polls;
mod pushes;
mod rest;
mod rivals;
mod sample;
mod scale;
mod stage;
mod subject;
mod table;

use std::{fs, str::FromStr};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What was said on the command line: `--name value`.
pub struct Words(Vec<String>);

impl Words {
    /// The value of that flag, or what it is without it.
    pub fn get<T: FromStr>(&self, flag: &str, default: T) -> T {
        self.text(flag).map_or(default, |value| {
            value.parse().unwrap_or_else(|_| panic!("{flag} takes a number, not {value}"))
        })
    }

    /// As it was said.
    pub fn text(&self, flag: &str) -> Option<&str> {
        let at = self.0.iter().position(|word| word == flag)?;
        self.0.get(at + 1).map(String::as_str)
    }

    /// Writes it to where it was to go.
    pub fn write(&self, flag: &str, text: &str) {
        if let Some(path) = self.text(flag) {
            fs::write(path, text).unwrap();
        }
    }
}

fn main() {
    machine::raise_files();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["crowd", manners] => return crowd::play(manners),
        ["rival", kind, work] => return rivals::play(kind, work),
        _ => {}
    }
    let what = words.first().cloned().unwrap_or_default();
    let words = Words(words);
    match what.as_str() {
        "memory" => memory::run(&words),
        "pushes" => pushes::run(&words),
        "rest" => rest::run(&words),
        "polls" => polls::run(&words),
        "opens" => opens::run(&words),
        "confirmed" => opens::confirmed(&words),
        "scale" => scale::run(&words),
        "million" => million::run(&words),
        "cut" => cut::run(&words),
        _ => eprintln!("memory, pushes, rest, opens, confirmed, scale, polls, million or cut"),
    }
}
