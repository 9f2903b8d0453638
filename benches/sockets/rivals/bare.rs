//! One thread, one epoll, a table of sockets: no framework, nothing kept of a socket but its file.

use super::{Pace, SLICE, Work};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
    fd::OwnedFd,
    net::{
        AddressFamily, Ipv4Addr, RecvFlags, SendFlags, SocketAddrV4, SocketFlags, SocketType, accept_with,
        bind, listen, recv, send, socket_with, sockopt::set_socket_reuseaddr,
    },
};
use std::time::Instant;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const LISTENER: u64 = u64::MAX;
const PING: [u8; 2] = [0x89, 0];

pub fn serve(work: Work) {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    set_socket_reuseaddr(&listener, true).unwrap();
    bind(&listener, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, work.port)).unwrap();
    listen(&listener, 4_096).unwrap();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&poll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN).unwrap();
    let mut loop_ = Bare { poll, sockets: Vec::new(), free: Vec::new(), open: 0, next: 0, pinged: 0 };
    let mut events = Vec::with_capacity(1_024);
    let (mut pushes, mut began) = (Pace::new(work.pushes_per_s), false);
    let mut pings = Pace::new(0.0);
    let wait = Timespec { tv_sec: 0, tv_nsec: SLICE.as_nanos() as i64 };
    let mut pushed = Instant::now();
    loop {
        epoll::wait(&loop_.poll, spare_capacity(&mut events), Some(&wait)).unwrap();
        for event in events.drain(..) {
            match event.data.u64() {
                LISTENER => loop_.accept(&listener),
                n => loop_.read(n as usize),
            }
        }
        if !began && loop_.open >= work.watchers {
            (pushes, began) = (Pace::new(work.pushes_per_s), true);
        }
        // Not after each event: a slice is a slice.
        if began && pushed.elapsed() >= SLICE {
            pushed = Instant::now();
            loop_.push(pushes.due(), &work, pushes.sent);
        }
        if work.ping_s > 0 {
            pings.per_s = loop_.sockets.len() as f64 / work.ping_s as f64;
            let due = pings.due();
            loop_.ping(due);
        }
    }
}

struct Bare {
    poll: OwnedFd,
    sockets: Vec<Option<OwnedFd>>,
    free: Vec<usize>,
    open: usize,
    /// Whose push and whose ping are next.
    next: usize,
    pinged: usize,
}

impl Bare {
    fn accept(&mut self, listener: &OwnedFd) {
        while let Ok(socket) = accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
            let n = self.free.pop().unwrap_or(self.sockets.len());
            let data = epoll::EventData::new_u64(n as u64);
            epoll::add(&self.poll, &socket, data, epoll::EventFlags::IN).unwrap();
            if n == self.sockets.len() {
                self.sockets.push(None);
            }
            self.sockets[n] = Some(socket);
        }
    }

    /// A request is answered with the upgrade; frames are pongs, and need nothing.
    fn read(&mut self, n: usize) {
        let mut buffer = [0; 1_024];
        let Some(socket) = &self.sockets[n] else { return };
        let length = match recv(socket, &mut buffer, RecvFlags::DONTWAIT) {
            Ok((length, _)) if length > 0 => length,
            _ => {
                self.sockets[n] = None;
                self.free.push(n);
                return;
            }
        };
        if !buffer.starts_with(b"GET ") {
            return;
        }
        let head = str::from_utf8(&buffer[..length]).unwrap();
        let key = head.split("Sec-WebSocket-Key: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let accept = derive_accept_key(key.unwrap().as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {accept}\r\nsec-websocket-protocol: waitroom.v1\r\n\r\n"
        );
        let _ = send(socket, answer.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        self.open += 1;
    }

    fn push(&mut self, due: u64, work: &Work, number: u64) {
        let mut frame = Vec::with_capacity(128);
        for i in 0..due {
            self.next = (self.next + 1) % work.watchers.min(self.sockets.len());
            let Some(socket) = &self.sockets[self.next] else { continue };
            let text = work.rank(number - due + i);
            frame.clear();
            frame.extend([0x81, text.len() as u8]);
            frame.extend_from_slice(text.as_bytes());
            let _ = send(socket, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }

    fn ping(&mut self, due: u64) {
        for _ in 0..due {
            self.pinged = (self.pinged + 1) % self.sockets.len();
            let Some(socket) = &self.sockets[self.pinged] else { continue };
            let _ = send(socket, &PING, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        }
    }
}
