//! New connections. Each is bound to an address and port that it chooses itself: the kernel's own search for a free port gets
//! slow beyond 18,000, and ends at 28,000.

use super::orders::Manners;
use rustix::{
    fd::OwnedFd,
    io::{Errno, Result},
    net::{
        AddressFamily, Ipv4Addr, SocketAddrV4, SocketFlags, SocketType, bind, connect, socket_with,
        sockopt::{set_socket_linger, set_socket_reuseaddr},
    },
};
use std::time::Duration;

/// Below those that the kernel gives to others.
const PORTS: std::ops::Range<u16> = 2_000..32_000;
/// Ports that may be in use by others on this machine.
const TRIES: usize = 50;

pub struct Door {
    to: SocketAddrV4,
    from: [u8; 3],
    last: u8,
    port: u16,
}

impl Door {
    pub fn new(manners: &Manners) -> Self {
        let to = SocketAddrV4::new(Ipv4Addr::LOCALHOST, manners.port);
        Self { to, from: manners.from, last: 1, port: PORTS.start }
    }

    /// A connection that is on its way.
    pub fn open(&mut self) -> Result<OwnedFd> {
        let mut tried = Err(Errno::ADDRINUSE);
        for _ in 0..TRIES {
            tried = self.next_one();
            if !matches!(tried, Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL)) {
                break;
            }
        }
        tried
    }

    fn next_one(&mut self) -> Result<OwnedFd> {
        self.port += 1;
        if self.port == PORTS.end {
            self.port = PORTS.start;
            self.last = self.last % 250 + 1;
        }
        let [a, b, c] = self.from;
        let from = SocketAddrV4::new(Ipv4Addr::new(a, b, c, self.last), self.port);
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let fd = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        set_socket_reuseaddr(&fd, true)?;
        bind(&fd, &from)?;
        match connect(&fd, &self.to) {
            Ok(()) | Err(Errno::INPROGRESS) => Ok(fd),
            Err(error) => Err(error),
        }
    }
}

/// Ends a connection as a machine does that goes down: without a word.
pub fn cut(fd: OwnedFd) {
    let _ = set_socket_linger(&fd, Some(Duration::ZERO));
}
