//! Writes a history while the run goes on: visitors put lines into a buffer, a thread of its own puts buffers on disk.

use super::{Entry, Event, Footer, Header};
use crate::{facts::Micros, meters::lock};
use rustix::time::{ClockId, clock_gettime};
use std::{
    io::{self, Write},
    sync::{
        Mutex,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};
use tokio::time::Instant;

/// Bytes that are handed to the disk at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Buffers that may wait for the disk; beyond, the run waits too, and says so by its own lag.
const BUFFERS_WAITING_MAX: usize = 64;

/// Turns the runtime's moments into microseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    at: Instant,
    us: Micros,
}

impl Clock {
    /// Read now.
    pub fn new() -> Self {
        let time = clock_gettime(ClockId::Monotonic);
        let us = time.tv_sec as Micros * 1_000_000 + time.tv_nsec as Micros / 1000;
        Self { at: Instant::now(), us }
    }

    /// The moment, on the clock that all processes of this machine share.
    pub fn us(&self, at: Instant) -> Micros {
        let micros = |d: std::time::Duration| d.as_micros() as Micros;
        match at.checked_duration_since(self.at) {
            Some(after) => self.us + micros(after),
            None => self.us.saturating_sub(micros(self.at - at)),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A history that is being written.
pub struct Recorder {
    clock: Clock,
    ranks_of_every: u32,
    buffer: Mutex<Buffer>,
    writer: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

struct Buffer {
    bytes: Vec<u8>,
    entries: u64,
    /// None once the history has ended.
    to_disk: Option<SyncSender<Vec<u8>>>,
}

impl Recorder {
    /// Begins a history in that file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn start(mut file: impl Write + Send + 'static, clock: Clock, header: &Header) -> io::Result<Self> {
        let mut first = serde_json::to_vec(header)?;
        first.push(b'\n');
        file.write_all(&first)?;
        let (to_disk, buffers) = sync_channel::<Vec<u8>>(BUFFERS_WAITING_MAX);
        let writer = thread::spawn(move || {
            // After a fault nobody takes the rest, so that nobody waits for a full disk.
            buffers.into_iter().try_for_each(|buffer| file.write_all(&buffer))
        });
        let buffer =
            Buffer { bytes: Vec::with_capacity(BUFFER_BYTES * 2), entries: 0, to_disk: Some(to_disk) };
        Ok(Self {
            clock,
            ranks_of_every: header.ranks_of_every.max(1),
            buffer: Mutex::new(buffer),
            writer: Mutex::new(Some(writer)),
        })
    }

    /// The clock of the entries.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Writes down what happened to a visitor on one of his connections.
    pub fn record(&self, at: Instant, visitor: u32, connection: u32, event: Event) {
        if matches!(event, Event::Rank(_)) && !visitor.is_multiple_of(self.ranks_of_every) {
            return;
        }
        let entry = Entry(self.clock.us(at), visitor, connection, event);
        let mut buffer = lock(&self.buffer);
        let Buffer { bytes, entries, to_disk: Some(to_disk) } = &mut *buffer else { return };
        // Plain strings and numbers into memory: this cannot fail.
        let _ = serde_json::to_writer(&mut *bytes, &entry);
        bytes.push(b'\n');
        *entries += 1;
        if bytes.len() >= BUFFER_BYTES {
            let full = std::mem::replace(bytes, Vec::with_capacity(BUFFER_BYTES * 2));
            // Fails only if the writer is gone, which tells its fault at the end.
            let _ = to_disk.send(full);
        }
    }

    /// Ends the history. By reference, because whole is what it must be whoever still holds the run: to wait until
    /// the last one lets go would be to guess when that is.
    ///
    /// # Errors
    /// Something could not be written, what was written before is there; or it had ended before.
    pub fn finish(&self, now: Instant, lag_us: Micros) -> io::Result<()> {
        let ended = || io::Error::other("the history has ended before");
        let (to_disk, mut bytes, entries) = {
            let mut buffer = lock(&self.buffer);
            let to_disk = buffer.to_disk.take().ok_or_else(ended)?;
            (to_disk, std::mem::take(&mut buffer.bytes), buffer.entries)
        };
        serde_json::to_writer(&mut bytes, &Footer { ended_us: self.clock.us(now), entries, lag_us })?;
        bytes.push(b'\n');
        // Fails only if the writer is gone, which tells its fault now.
        let _ = to_disk.send(bytes);
        drop(to_disk);
        let writer = lock(&self.writer).take().ok_or_else(ended)?;
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the history's writer panicked")))
    }
}
