//! Ports for programs that are started, killed and started again on the same one.

use std::{
    net::TcpListener,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below those that the kernel gives to whoever connects: while its program is down, a port must not be taken by a
/// passing connection of anyone on the machine.
const FIRST: u32 = 10_000;
const COUNT: u32 = 22_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port on which nobody listens; each asked for is another, in other processes most likely too.
pub fn free_port() -> u16 {
    loop {
        let drawn = process::id().wrapping_mul(379).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (FIRST + drawn % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
