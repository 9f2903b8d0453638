//! A sale's whole journal as one file, JSON lines (docs/check.md): a header, the shop's bookings without names, the chain
//! batch by batch with its entries as they were hashed, and its head. It names nobody.

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
};
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus,
    ids::{GrantKey, SaleId},
    journal::{Batch, Hash, Head, Written},
    plan::SeatIndex,
};

/// The format that this program writes, and the only one that it reads.
pub const FORMAT: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The format; what tells the file from a history.
    pub journal: u32,
    /// Whose journal it is.
    pub sale: SaleId,
    /// When PostgreSQL was asked for the bookings, by its clock; what is told of bookings later it cannot know.
    pub bookings_at: Timestamp,
    /// Whether the sale was closed then: its journal tells of that when it is whole.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
    /// The seats' ids in plan order: a seat's number is its place in this list.
    pub seats: Vec<String>,
}

/// A booking as PostgreSQL has it, without whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sold {
    /// Its id.
    pub booking: Uuid,
    /// The grant that it spent, if it is one of this sale.
    pub grant: Option<GrantKey>,
    /// Its seats.
    pub seats: Vec<SeatIndex>,
    /// How it stands.
    pub status: BookingStatus,
    /// When it was made.
    pub created_at: Timestamp,
}

/// One thing after the header.
#[derive(Debug)]
pub enum Item {
    /// A booking.
    Sold(Sold),
    /// A link of the chain, and its entries.
    Batch(Batch, Vec<Written>),
    /// The chain's end as it was exported; nothing follows.
    Head(Option<Head>),
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read.
    #[error("cannot read {0}: {1}")]
    File(PathBuf, io::Error),
    /// A line is none of a journal's.
    #[error("{0}, line {1}: {2}; export the journal again with `waitroom journal export`")]
    Line(PathBuf, u64, String),
    /// It has no end.
    #[error("{0}: the journal was cut off after line {1}; export it again with `waitroom journal export`")]
    Cut(PathBuf, u64),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Sold(Sold),
    Batch(Batch),
    Head(Option<Head>),
}

#[derive(Serialize, Deserialize)]
struct EntryLine<'a> {
    n: u64,
    #[serde(borrow)]
    entry: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    places: Cow<'a, str>,
}

/// Writes a journal; the caller sees to the order: header, bookings, batches, head.
pub struct Writer<W: Write>(W);

impl<W: Write> Writer<W> {
    /// Begins with the header.
    ///
    /// # Errors
    /// It cannot be written; so with all that follows.
    pub fn new(to: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self(to);
        writer.line(header)?;
        Ok(writer)
    }

    /// A booking.
    #[allow(missing_docs)]
    pub fn sold(&mut self, sold: Sold) -> io::Result<()> {
        self.line(&Line::Sold(sold))
    }

    /// A link of the chain, and its entries.
    pub fn batch(&mut self, batch: Batch, entries: &[Written]) -> io::Result<()> {
        self.line(&Line::Batch(batch))?;
        for Written { n, text, commitments } in entries {
            let places: Vec<u8> = commitments.iter().flat_map(|hash| hash.0).collect();
            let places = BASE64_STANDARD.encode(places).into();
            self.line(&EntryLine { n: *n, entry: text.into(), places })?;
        }
        Ok(())
    }

    /// The end.
    pub fn finish(mut self, head: Option<Head>) -> io::Result<()> {
        self.line(&Line::Head(head))?;
        self.0.flush()
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.write_all(b"\n")
    }
}

/// Whether a file calls itself a journal, whatever follows. What cannot be read is none; the reader says why.
pub fn is_journal(path: &Path) -> bool {
    let mut start = [0; 12];
    let read = File::open(path).and_then(|mut file| io::Read::read(&mut file, &mut start));
    read.is_ok_and(|count| start[..count].starts_with(b"{\"journal\":"))
}

/// Reads a journal, one batch in memory at a time.
pub struct Reader {
    path: PathBuf,
    header: Header,
    lines: BufReader<File>,
    text: String,
    line: u64,
    /// The line that follows a batch's entries.
    ahead: Option<Line>,
    skips_bookings: bool,
    ended: bool,
}

impl Reader {
    /// Reads the header.
    ///
    /// # Errors
    /// The file cannot be read, or is no journal of this format.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let file = File::open(path).map_err(|error| JournalError::File(path.into(), error))?;
        let mut lines = BufReader::with_capacity(1 << 20, file);
        let mut text = String::new();
        lines.read_line(&mut text).map_err(|error| JournalError::File(path.into(), error))?;
        let fault = |why: String| JournalError::Line(path.into(), 1, why);
        #[derive(Deserialize)]
        struct Format {
            journal: u32,
        }
        let format: Format =
            serde_json::from_str(&text).map_err(|_| fault("is not the beginning of a journal".into()))?;
        if format.journal != FORMAT {
            let why = format!("format {}, and this program reads {FORMAT}", format.journal);
            return Err(fault(why));
        }
        let header = serde_json::from_str(&text).map_err(|error| fault(error.to_string()))?;
        Ok(Self {
            path: path.into(),
            header,
            lines,
            text,
            line: 1,
            ahead: None,
            skips_bookings: false,
            ended: false,
        })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Passes over the bookings, for who proves one place.
    pub fn without_bookings(self) -> Self {
        Self { skips_bookings: true, ..self }
    }

    /// What follows; nothing after the head.
    ///
    /// # Errors
    /// The file cannot be read, is garbled, or ends before its head.
    pub fn next_item(&mut self) -> Result<Option<Item>, JournalError> {
        let line = match self.ahead.take() {
            Some(line) => line,
            None => loop {
                if !self.read_line()? {
                    let cut = || JournalError::Cut(self.path.clone(), self.line);
                    return if self.ended { Ok(None) } else { Err(cut()) };
                }
                if self.ended {
                    return Err(self.fault("something follows the head"));
                }
                if !self.skips_bookings || !self.text.starts_with("{\"sold\":") {
                    break serde_json::from_str(&self.text).map_err(|error| self.fault(error))?;
                }
            },
        };
        Ok(Some(match line {
            Line::Sold(sold) => Item::Sold(sold),
            Line::Batch(batch) => Item::Batch(batch, self.entries()?),
            Line::Head(head) => {
                self.ended = true;
                Item::Head(head)
            }
        }))
    }

    /// The entries up to the next line that is none.
    fn entries(&mut self) -> Result<Vec<Written>, JournalError> {
        let mut entries = Vec::new();
        loop {
            if !self.read_line()? {
                return Err(JournalError::Cut(self.path.clone(), self.line));
            }
            if !self.text.starts_with("{\"n\":") {
                self.ahead = Some(serde_json::from_str(&self.text).map_err(|error| self.fault(error))?);
                return Ok(entries);
            }
            let entry: EntryLine<'_> = serde_json::from_str(&self.text).map_err(|error| self.fault(error))?;
            let places = BASE64_STANDARD.decode(&*entry.places).map_err(|error| self.fault(error))?;
            let (hashes, rest) = places.as_chunks();
            if !rest.is_empty() {
                return Err(self.fault("places are hashes of 32 bytes"));
            }
            let commitments = hashes.iter().map(|hash| Hash(*hash)).collect();
            entries.push(Written { n: entry.n, text: entry.entry.into_owned(), commitments });
        }
    }

    /// Whether there was another line.
    fn read_line(&mut self) -> Result<bool, JournalError> {
        self.text.clear();
        let read = self.lines.read_line(&mut self.text);
        let read = read.map_err(|error| JournalError::File(self.path.clone(), error))?;
        // A line without its end was cut.
        let is_whole = self.text.ends_with('\n');
        self.line += u64::from(is_whole);
        if read > 0 && !is_whole {
            return Err(JournalError::Cut(self.path.clone(), self.line));
        }
        Ok(read > 0)
    }

    fn fault(&self, why: impl ToString) -> JournalError {
        JournalError::Line(self.path.clone(), self.line, why.to_string())
    }
}
