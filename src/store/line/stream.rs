//! The stream of a line: one numbered entry for each call that changed it, read on a connection of its own.

use crate::store::{
    errors::StoreError,
    redis::{BLOCK, Own},
};
use redis::Value;
use serde::Deserialize;
use std::sync::Arc;
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus,
    ids::{GrantKey, Seq, VisitorId},
    journal::{Hash, InForce, Installed},
    line::Position,
    phase::Phase,
    place::LapseReason,
    plan::SeatIndex,
};

/// Entries read at once: of full batches of joins, 5 MB.
const ENTRIES_MAX: usize = 200;

/// Places that one entry may tell of: many times those that one call draws or brings back, and still gone through in no time.
const PLACES_MAX: usize = 65_536;

/// One entry: all that one call changed.
#[derive(Debug)]
pub struct Entry {
    /// Its place in the stream.
    pub position: Position,
    /// What happened; why not, if this program cannot read it.
    pub changes: Result<Changes, String>,
    /// As Redis has it.
    pub text: Arc<str>,
}

impl Entry {
    /// From its text, as Redis has it.
    ///
    /// A kind of change, or a field, that this program does not know is passed over; an entry that says something that it
    /// cannot read is handed on as such: the line must be read anew.
    pub fn read(position: Position, text: Arc<str>) -> Self {
        let changes = serde_json::from_str(&text).map_err(|error| error.to_string());
        let changes = changes.and_then(|changes: Changes| match changes.places() {
            0..=PLACES_MAX => Ok(changes),
            places => Err(format!("{places} places in one entry, of which there are {PLACES_MAX} at most")),
        });
        Self { position, changes, text }
    }

    /// Tells one entry of a number from another.
    pub fn source(&self) -> Hash {
        Hash::of(&self.text)
    }
}

/// What one call changed. Mirrors `changes` of `lua/prelude.lua`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Changes {
    /// When, in Redis' milliseconds.
    pub at: i64,
    /// Bytes of all entries of this epoch before it.
    pub written: u64,
    /// The instance whose tick it was.
    pub by: Option<String>,
    /// The line began a life.
    pub installed: Option<Installed>,
    /// First and last seq drawn.
    pub joined: Option<(Seq, Seq)>,
    /// Places restored from tokens.
    pub restored: Vec<Seq>,
    /// Places that came back and are served ahead of the line.
    pub returned: Vec<(VisitorId, Seq)>,
    /// Places passed over because nobody was there.
    pub away: Vec<(VisitorId, Seq)>,
    /// Grants given, in order.
    pub admitted: Vec<Admitted>,
    /// When those grants end.
    pub deadline: i64,
    /// When they count as missed.
    pub claim: i64,
    /// Turns used for the first time.
    pub claimed: Vec<(VisitorId, Seq)>,
    /// Grants that ended unspent.
    pub lapsed: Vec<(VisitorId, Seq, LapseReason)>,
    /// Places given up.
    pub left: Vec<(VisitorId, Seq)>,
    /// Visitors whom the operator removed, each with the seq of his place that ended by it, which is in `left` too, or 0.
    pub removed: Vec<(VisitorId, Seq)>,
    /// Bookings made, held or confirmed.
    pub booked: Vec<BookingChange>,
    /// Bookings released.
    pub freed: Vec<BookingChange>,
    /// Visitors whose newer socket is on another instance: visitor, instance, connection.
    pub moved: Vec<(VisitorId, String, String)>,
    /// The sale's new phase.
    pub phase: Option<Phase>,
    /// The version of the operator's settings now in force.
    pub settings: Option<u64>,
    /// Those settings, as far as they concern the line.
    pub in_force: Option<InForce>,
    /// Milliseconds that all deadlines were shifted by.
    pub shifted: Option<i64>,
    /// The line was restored; so many places came back.
    pub merged: Option<u64>,
}

impl Changes {
    /// How many places were drawn, or came back.
    pub fn places(&self) -> usize {
        let drawn = self.joined.map_or(0, |(first, last)| last.saturating_add(1).saturating_sub(first));
        usize::try_from(drawn).unwrap_or(usize::MAX).saturating_add(self.restored.len())
    }
}

/// Whose the places of an entry are: for the journal alone, since each instance reads each entry, and most need nobody's name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    /// Who drew one: visitor, seq, seats booked before, the seq of the visitor's place before it or 0.
    pub drawn: Vec<(VisitorId, Seq, u32, Seq)>,
    /// Who has which of the restored places that came back by a token.
    pub found: Vec<(VisitorId, Seq)>,
}

impl Named {
    /// How many places are named.
    pub fn places(&self) -> usize {
        self.drawn.len() + self.found.len()
    }
}

/// One grant: visitor, seq, turn, seats owned, 1 if it came from the returned places.
#[derive(Debug, Deserialize)]
pub struct Admitted(pub VisitorId, pub Seq, pub u8, pub u32, pub u8);

impl Admitted {
    /// The grant.
    pub fn grant(&self) -> GrantKey {
        GrantKey { seq: self.1, turn: self.2 }
    }
}

/// A booking that changed, or seats that were put right.
#[derive(Debug, Deserialize)]
pub struct BookingChange {
    /// Its visitor; nobody when only seats or a hold were put right.
    #[serde(default)]
    pub visitor: Option<VisitorId>,
    /// The place that it came from, when a grant was spent.
    #[serde(default)]
    pub seq: Option<Seq>,
    /// Which; nothing when only seats were put right.
    #[serde(default)]
    pub booking: Option<Uuid>,
    /// How it stands now.
    pub status: BookingStatus,
    /// Its seats.
    #[serde(deserialize_with = "list_or_empty_object")]
    pub seats: Vec<SeatIndex>,
}

/// Lua has one kind of table: cjson writes an empty list as `{}`.
fn list_or_empty_object<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<SeatIndex>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        List(Vec<SeatIndex>),
        Empty {},
    }
    Ok(match Either::deserialize(from)? {
        Either::List(list) => list,
        Either::Empty {} => Vec::new(),
    })
}

/// Reads a sale's stream from a position on.
pub struct EventReader {
    own: Own,
    key: String,
}

impl EventReader {
    pub(in crate::store) fn new(own: Own, key: &str) -> Self {
        Self { own, key: key.to_owned() }
    }

    /// Whether reading on is of use; a replica's stream goes on for ever and tells nothing.
    pub fn is_good(&self) -> bool {
        self.own.is_good()
    }

    /// The entries after `after`; waits about a second for the first, so it may be none. Where replicas are waited for, they
    /// have them.
    pub async fn read(&mut self, after: Position) -> Result<Vec<Entry>, StoreError> {
        let mut read = redis::cmd("XREAD");
        read.arg("COUNT").arg(ENTRIES_MAX).arg("BLOCK").arg(BLOCK.as_millis() as u64);
        read.arg("STREAMS").arg(&self.key).arg(format!("{}-{}", after.epoch, after.n));
        let reply: Option<Vec<(String, Listed)>> = understood(self.own.ask(&read).await?)?;
        let Some((_, listed)) = reply.and_then(|streams| streams.into_iter().next()) else {
            return Ok(Vec::new());
        };
        self.own.confirm().await?;
        Ok(entries(listed))
    }

    /// The entry at a position, if it is there, the next one, and the last one.
    pub async fn look(&mut self, at: Position) -> Result<[Option<Entry>; 3], StoreError> {
        let id = format!("{}-{}", at.epoch, at.n);
        let mut range = redis::cmd("XRANGE");
        let mut last = redis::cmd("XREVRANGE");
        let from = self.own.ask(range.arg(&self.key).arg(&id).arg("+").arg("COUNT").arg(2)).await?;
        let last = self.own.ask(last.arg(&self.key).arg("+").arg("-").arg("COUNT").arg(1)).await?;
        self.own.confirm().await?;
        let (from, last): (Listed, Listed) = (understood(from)?, understood(last)?);
        let (there, after): (Vec<_>, Vec<_>) =
            entries(from).into_iter().partition(|entry| entry.position == at);
        Ok([there.into_iter().next(), after.into_iter().next(), entries(last).pop()])
    }
}

/// What is no entry, by a foreign hand, is not Redis' failure.
fn understood<T: redis::FromRedisValue>(reply: Value) -> Result<T, StoreError> {
    redis::from_redis_value(reply).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// As Redis lists entries: each with its fields and what is in them, by turns. Each instance reads all of them, so they are not made
/// maps of first.
type Listed = Vec<(String, Vec<Value>)>;

/// Something without the field is by a foreign hand, and cannot be read.
fn entries(listed: Listed) -> Vec<Entry> {
    let entry = |(id, fields): (String, Vec<Value>)| {
        let text = fields.chunks_exact(2).find_map(|field| match field {
            [Value::BulkString(name), Value::BulkString(text)] if name == b"d" => str::from_utf8(text).ok(),
            _ => None,
        });
        Some(Entry::read(Position::parse(&id)?, text.unwrap_or_default().into()))
    };
    listed.into_iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Changes, String> {
        Entry::read(Position::default(), json.into()).changes
    }

    #[test]
    fn what_a_newer_program_adds_is_passed_over() {
        let changes = read(
            r#"{"at":7,"joined":[1,2],"lanes":[{"x":1}],"booked":[{"status":"held","seats":[],"extra":1}]}"#,
        );
        let changes = changes.unwrap();
        assert_eq!((changes.at, changes.joined, changes.booked.len()), (7, Some((1, 2)), 1));
    }

    #[test]
    fn what_a_foreign_hand_wrote_is_no_entry_that_can_be_read() {
        let bulk = |text: &[u8]| Value::BulkString(text.to_vec());
        let listed = [
            ("1-1", vec![bulk(b"x"), bulk(b"y"), bulk(b"d"), bulk(br#"{"at":7}"#)]),
            ("1-2", vec![bulk(b"x"), bulk(b"y")]),
            ("1-3", vec![bulk(b"d"), bulk(&[0xff])]),
            ("1-4", vec![bulk(b"d")]),
            ("one", vec![bulk(b"d"), bulk(b"{}")]),
        ];
        let read = entries(listed.map(|(id, fields)| (id.to_owned(), fields)).into());
        let at: Vec<_> =
            read.iter().map(|entry| (entry.position.n, entry.changes.as_ref().ok().map(|c| c.at))).collect();
        assert_eq!(at, [(1, Some(7)), (2, None), (3, None), (4, None)]);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for json in [r#"{"phase":"raffle"}"#, r#"{"lapsed":[["kim",1,"bored"]]}"#, r#"{"joined":"all"}"#, "{"]
        {
            assert!(read(json).is_err(), "{json}");
        }
        assert!(read("").is_err());
        // Who goes through the places of such a one is not seen again.
        for absurd in ["[1,4000000000]", "[0,18446744073709551615]"] {
            assert!(read(&format!(r#"{{"joined":{absurd}}}"#)).is_err(), "{absurd}");
        }
    }
}
