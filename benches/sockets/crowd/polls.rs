//! Visitors without a socket: each draws a place over a connection that he keeps, and asks again and again how he stands.

use super::{
    Crowded,
    frames::{after, number, whole},
    visitor::Stage,
};

impl Crowded {
    /// Draws his place, or just asks where there are none to be drawn.
    pub(super) fn draw(&self, n: u32) -> rustix::io::Result<()> {
        let Some(fd) = &self.visitors[n as usize].fd else { return Ok(()) };
        let path = &self.manners.paths[n as usize % self.manners.paths.len()];
        let draw = match self.manners.joins {
            true => format!("POST {path}/places HTTP/1.1\r\nHost: bench\r\nContent-Length: 0\r\n\r\n"),
            false => format!("GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n"),
        };
        whole(fd, draw.as_bytes())
    }

    /// Those whose time it is ask.
    pub(super) fn poll(&mut self) {
        let now = self.now();
        while self.polls.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, n)) = self.polls.pop_front() else { return };
            let visitor = &self.visitors[n as usize];
            let Some(fd) = &visitor.fd else { continue };
            let (path, place) = (
                &self.manners.paths[n as usize % self.manners.paths.len()],
                String::from_utf8_lossy(&visitor.place),
            );
            let asked = match self.manners.joins {
                true => format!(
                    "GET {path}/places/me HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\
                     Authorization: Bearer {place}\r\n\r\n"
                ),
                false => format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAccept: application/json\r\n\r\n"),
            };
            match whole(fd, asked.as_bytes()) {
                Ok(()) => self.polls.push_back((now + self.manners.polls_ms, n)),
                Err(error) => self.broke(n, &format!("poll: {error}")),
            }
        }
    }

    /// Takes an answer, if it is here as a whole.
    pub(super) fn answered(&mut self, n: u32, came: &[u8]) {
        let head = came.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        let length = head.and_then(|head| number(&came[..head], b"content-length: "));
        let body = head.zip(length).and_then(|(head, length)| came.get(head..head + length as usize));
        let Some(body) = body else {
            self.tails.insert(n, came.to_vec());
            return;
        };
        if !came.starts_with(b"HTTP/1.1 20") {
            let status = String::from_utf8_lossy(came.get(9..12).unwrap_or_default()).into_owned();
            return self.broke(n, &format!("answered {status}"));
        }
        if self.visitors[n as usize].stage == Stage::Waits {
            return self.ranked(n, body);
        }
        self.visitors[n as usize].place = after(body, b"\"place\":\"", b'"').unwrap_or_default().into();
        self.comes_in(n);
        self.polls.push_back((self.now() + self.manners.polls_ms, n));
    }
}
