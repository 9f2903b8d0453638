//! How long Redis is held by one call in a large line, what a join costs it, and what the rank board costs an instance:
//! `cargo bench --bench large_line [-- PLACES (1000000) | -- joins | -- board [PLACES]] [-- OTHER SCRIPTS' FOLDER]`.
//! docs/large-lines.md quotes it.
//!
//! All times are CPU of Redis' main thread, by the scheduler's count: what else the machine does falls on no call. Scripts of another
//! build are measured from the folder that they are in (`git worktree`, `src/store/line/lua`); `joins` takes turns with them.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

mod board;
mod calls;
mod joins;
mod server;

use server::{Scripts, Server};
use std::path::PathBuf;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let folder = words.iter().find(|word| word.contains('/')).map(PathBuf::from);
    let number = words.iter().find_map(|word| word.parse().ok()).unwrap_or(1_000_000);
    match words.first().map(String::as_str) {
        Some("joins") => joins::compare(folder),
        Some("board") => board::measure(number),
        _ => {
            let mut server = Server::start("everysec");
            let ours = Scripts::load(&mut server, &Scripts::ours());
            let theirs = folder.map(|folder| Scripts::load(&mut server, &folder));
            calls::measure(&mut server, &ours, theirs.as_ref().unwrap_or(&ours), number as usize);
        }
    }
}
