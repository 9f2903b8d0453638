//! Every parser of the program, and what must hold of it whatever bytes it is given: that it answers at all, and that what it
//! answers is true. `tests/mutated.rs` tries seeds and what they turn into when they are damaged, for seconds in `make test`;
//! `make fuzz` tries for as long as one likes, led by the code that each input reaches.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "what does not hold is a panic here")]

mod files;
mod server;
mod visitors;

/// A parser, and what must hold of it.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its folder in `seeds/`.
    pub name: &'static str,
    /// Panics where it does not hold.
    pub holds: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 18] = [
    Target { name: "client", holds: visitors::client },
    Target { name: "token", holds: visitors::token },
    Target { name: "identity", holds: visitors::identity },
    Target { name: "proof", holds: visitors::proof },
    Target { name: "ids", holds: visitors::ids },
    Target { name: "frames", holds: server::frames },
    Target { name: "forwarded", holds: server::forwarded },
    Target { name: "origin", holds: server::origin },
    Target { name: "cookie", holds: server::cookie },
    Target { name: "settings", holds: server::settings },
    Target { name: "keys", holds: server::keys },
    Target { name: "redis_url", holds: server::redis_url },
    Target { name: "plan", holds: files::plan },
    Target { name: "scenario", holds: files::scenario },
    Target { name: "trace", holds: files::trace },
    Target { name: "history", holds: files::history },
    Target { name: "journal", holds: files::journal },
    Target { name: "receipt", holds: files::receipt },
];

/// Bytes as text, where a parser takes nothing else.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
