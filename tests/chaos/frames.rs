//! What the two sides of a PostgreSQL connection say, message by message: one read may hold many, or half of one.

use bytes::{Buf, Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};

/// Cuts a stream into messages.
pub struct Frames {
    buffer: BytesMut,
    /// The client's first message has no type.
    typed: bool,
}

impl Frames {
    pub fn of_client() -> Self {
        Self { buffer: BytesMut::new(), typed: false }
    }

    pub fn of_server() -> Self {
        Self { buffer: BytesMut::new(), typed: true }
    }

    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message, with its head.
    pub fn next(&mut self) -> Option<Bytes> {
        let head = usize::from(self.typed);
        let mut length = self.buffer.get(head..head + 4)?;
        let whole = head + length.get_u32() as usize;
        if self.buffer.len() < whole {
            return None;
        }
        self.typed = true;
        Some(self.buffer.split_to(whole).freeze())
    }
}

/// What was asked on one connection, and what of it is answered.
#[derive(Default)]
pub struct Talk {
    prepared: HashMap<String, String>,
    unanswered: VecDeque<Asked>,
    /// Whether the transaction that is open has written bookings.
    writes: bool,
}

/// A statement that the server is to run.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub sql: String,
    /// Whether it belongs to a transaction that writes bookings.
    pub writes: bool,
}

impl Talk {
    /// The statement that this message of the client runs, if it runs one.
    pub fn hear_client(&mut self, frame: &[u8]) -> Option<Asked> {
        let mut texts = frame.get(5..)?.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut sql = match frame[0] {
            b'Q' => texts.next()?.into_owned(),
            b'P' => {
                self.prepared.insert(texts.next()?.into_owned(), texts.next()?.into_owned());
                return None;
            }
            b'B' => self.prepared.get(&*texts.nth(1)?).cloned().unwrap_or_default(),
            _ => return None,
        };
        if sql.starts_with("BEGIN") || sql.starts_with("START TRANSACTION") {
            self.writes = false;
            sql.replace_range(.., "BEGIN");
        }
        self.writes |=
            ["COPY bookings", "INSERT INTO bookings", "UPDATE bookings"].iter().any(|s| sql.contains(s));
        let asked = Asked { sql, writes: self.writes };
        self.unanswered.push_back(asked.clone());
        Some(asked)
    }

    /// The statement that this message of the server ends well, if it does.
    pub fn hear_server(&mut self, frame: &[u8]) -> Option<Asked> {
        match frame[0] {
            b'C' => {
                let tag = String::from_utf8_lossy(&frame[5..]);
                let tag = tag.split([' ', '\0']).next()?;
                // What stands before it was passed over, since something before that had failed.
                let index = self.unanswered.iter().position(|asked| asked.may_end_as(tag))?;
                let ended = self.unanswered.drain(..=index).next_back();
                // A COMMIT of what has failed is a rollback.
                ended.filter(|asked| tag != "ROLLBACK" || asked.sql.starts_with(tag))
            }
            b'E' | b'I' | b's' => {
                self.unanswered.pop_front();
                None
            }
            _ => None,
        }
    }
}

impl Asked {
    fn may_end_as(&self, tag: &str) -> bool {
        let verb = self.sql.split_whitespace().next().unwrap_or_default();
        verb == tag || verb == "WITH" || (verb, tag) == ("COMMIT", "ROLLBACK")
    }
}

#[test]
fn messages_are_told_apart_however_they_are_read() {
    let message = |kind: &[u8], body: &[u8]| [kind, &(body.len() as u32 + 4).to_be_bytes(), body].concat();
    let stream = [
        message(b"", b"\0\x03\0\0user\0w\0\0"),
        message(b"P", b"s1\0COMMIT\0\0\0"),
        message(b"Q", b"COPY bookings FROM STDIN\0"),
        message(b"d", b"COMMIT"),
        message(b"B", b"\0s1\0\0\0\0\0\0\0"),
    ]
    .concat();
    for step in [1, 7, stream.len()] {
        let (mut frames, mut talk, mut heard) = (Frames::of_client(), Talk::default(), Vec::new());
        for piece in stream.chunks(step) {
            frames.buffer().extend_from_slice(piece);
            while let Some(frame) = frames.next() {
                heard.extend(talk.hear_client(&frame).map(|asked| (asked.sql, asked.writes)));
            }
        }
        assert_eq!(heard, [("COPY bookings FROM STDIN".to_owned(), true), ("COMMIT".to_owned(), true)]);
        let mut answer =
            |kind: &[u8], body: &[u8]| talk.hear_server(&message(kind, body)).map(|asked| asked.sql);
        assert_eq!(answer(b"T", b""), None);
        assert_eq!(answer(b"C", b"COPY 1\0").as_deref(), Some("COPY bookings FROM STDIN"));
        assert_eq!(answer(b"C", b"COMMIT\0").as_deref(), Some("COMMIT"));
    }
}

#[test]
fn what_failed_is_not_taken_for_what_came_after_it() {
    let message =
        |kind: u8, body: &[u8]| [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat();
    let mut talk = Talk::default();
    for sql in ["BEGIN", "COPY bookings", "COPY booked_seats", "COMMIT", "START TRANSACTION"] {
        talk.hear_client(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()));
    }
    let mut answer = |kind: u8, body: &[u8]| talk.hear_server(&message(kind, body)).map(|asked| asked.sql);
    assert_eq!(answer(b'C', b"BEGIN\0").as_deref(), Some("BEGIN"));
    assert_eq!(answer(b'E', b""), None);
    assert_eq!(answer(b'C', b"ROLLBACK\0"), None, "the COMMIT of a failed transaction");
    assert_eq!(answer(b'C', b"BEGIN\0").as_deref(), Some("BEGIN"));
}
