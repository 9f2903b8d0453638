//! What a visitor saw, in little memory: what the checks at the end need and no more.

use super::outcome::Outcome;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};
use uuid::Uuid;
use wire::domain::{ids::Seq, plan::SeatIndex};

/// Microseconds since the run began, on this process's monotonic clock. All facts of a run share that one
/// clock, so what they say about before and after needs no tolerance.
pub type Micros = u64;

/// A time that never comes.
pub const NEVER: Micros = Micros::MAX;

/// What one visitor saw.
#[derive(Clone, Debug, Default)]
pub struct VisitorFacts {
    /// Fingerprint of his visitor id, as his place token says it.
    pub visitor: Option<u64>,
    /// A place was acknowledged to him, ever.
    pub acknowledged: bool,
    /// A place token could not be read, so his place in the order is unknown.
    pub unreadable: bool,
    /// When the join was sent that is not yet answered by a place: the earliest such.
    pub join_sent: Option<Micros>,
    /// A join was sent that nobody has answered.
    pub asked: bool,
    /// His places, one after another.
    pub places: Vec<PlaceFacts>,
    /// His bookings.
    pub bookings: Vec<BookingFacts>,
    /// A redeem was sent whose answer never came: it may have booked.
    pub unsure: bool,
    /// Promises that he saw broken himself.
    pub breaches: Vec<Breach>,
    /// How it ended; none if it did not.
    pub outcome: Option<Outcome>,
}

impl VisitorFacts {
    /// A join is being sent. Until a place is acknowledged the first one counts: it may have drawn the place
    /// although its answer was lost.
    pub fn see_join(&mut self, sent: Micros) {
        if std::mem::replace(&mut self.asked, true)
            && let Some(place) = self.places.last_mut()
        {
            // What was never answered may have brought him back for a turn that he did not see either.
            place.granted_unseen |= place.granted.is_none();
        }
        if self.places.last().is_none_or(|place| place.ended) {
            self.join_sent.get_or_insert(sent);
        }
    }

    /// A place was acknowledged, or acknowledged again, to the join sent at `join_sent`. `granted_unseen`: with a turn.
    pub fn see_place(&mut self, token: &str, granted_unseen: bool, join_sent: Micros, now: Micros) {
        (self.acknowledged, self.asked) = (true, false);
        let join_sent = self.join_sent.take().unwrap_or(join_sent);
        let Some(claim) = PlaceClaim::read(token) else {
            self.unreadable = true;
            return;
        };
        self.visitor = Some(fingerprint(&claim.visitor));
        if let Some(place) = self.places.last_mut() {
            if place.seq == claim.seq {
                (place.waiting_from, place.heard) = (now, now);
                place.granted_unseen |= granted_unseen && place.granted.is_none();
                return;
            }
            // A place leaves the line through a grant, or because its owner gave it up.
            if !place.ended && place.granted.is_none() && !place.granted_unseen {
                self.breaches.push(Breach::PlaceLost(place.seq, claim.seq));
            }
            place.ended = true;
        }
        // Most have one place, and a vector would make room for four.
        self.places.reserve_exact(1);
        self.places.push(PlaceFacts {
            seq: claim.seq,
            join_sent,
            joined: now,
            waiting_from: now,
            heard: now,
            granted: None,
            granted_unseen,
            ended: false,
        });
    }

    /// A grant came, to a visitor who waited for it or to one who has just come back. How long his place had
    /// waited, in microseconds, if it is its first grant and he saw it come.
    pub fn see_grant(&mut self, waiting: bool, now: Micros) -> Option<Micros> {
        let place = self.places.last_mut().filter(|p| p.granted.is_none() && !p.granted_unseen)?;
        if !waiting {
            place.granted_unseen = true;
            return None;
        }
        place.granted = Some(now);
        Some(now.saturating_sub(place.joined))
    }

    /// A booking was answered, perhaps again.
    pub fn see_booking(&mut self, booking: BookingFacts) {
        match self.bookings.iter_mut().find(|known| known.booking == booking.booking) {
            Some(known) => known.live_until = booking.live_until,
            None => self.bookings.push(booking),
        }
    }

    /// The place is over.
    pub fn end_place(&mut self) {
        if let Some(place) = self.places.last_mut() {
            place.ended = true;
        }
    }
}

/// What a visitor saw of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceFacts {
    /// Its number in the line.
    pub seq: Seq,
    /// When the join that drew it was sent, or earlier.
    pub join_sent: Micros,
    /// When it was acknowledged.
    pub joined: Micros,
    /// Since when he waited on his latest connection.
    pub waiting_from: Micros,
    /// When he last heard anything from the server while he waited.
    pub heard: Micros,
    /// When its first `granted` came to him as he waited.
    pub granted: Option<Micros>,
    /// A grant came while he was not there to see it.
    pub granted_unseen: bool,
    /// It is over: booked, left, lapsed.
    pub ended: bool,
}

/// What a visitor was told of a booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingFacts {
    /// Its id.
    pub booking: Uuid,
    /// Its seats.
    pub seats: Vec<SeatIndex>,
    /// When he was told first.
    pub answered: Micros,
    /// Until when it holds its seats for certain: for a hold, its end; else [`NEVER`].
    pub live_until: Micros,
}

/// A promise of the contract that one visitor alone can see broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A rank rose within a connection.
    RankRose(u64, u64),
    /// A live place that had never been granted was gone when its visitor came back with its token.
    PlaceLost(Seq, Seq),
    /// `seats_changed` skipped or repeated a version.
    SeatVersion(u64, u64),
    /// A booking of other seats, or of another number of seats, than asked for.
    WrongSeats(Uuid),
    /// His own good token was called invalid.
    TokenRefused,
    /// A forged token, or another's, has booked.
    TrickBooked(Uuid),
    /// A spent token has booked again.
    BookedTwice(Uuid),
    /// The older tab was not closed when the newer took over.
    NotReplaced,
    /// A message that is not as the contract says.
    Garbled(String),
}

impl Breach {
    /// The kind's name in a report.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::RankRose(..) => "rank_rose",
            Self::PlaceLost(..) => "place_lost",
            Self::SeatVersion(..) => "seat_version",
            Self::WrongSeats(_) => "wrong_seats",
            Self::TokenRefused => "token_refused",
            Self::TrickBooked(_) => "trick_booked",
            Self::BookedTwice(_) => "booked_twice",
            Self::NotReplaced => "not_replaced",
            Self::Garbled(_) => "garbled",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RankRose(from, to) => write!(f, "the rank rose from {from} to {to} within a connection"),
            Self::PlaceLost(had, got) => write!(f, "came back to place {had} and was given {got}"),
            Self::SeatVersion(after, got) => write!(f, "seats_changed {got} came after version {after}"),
            Self::WrongSeats(booking) => write!(f, "booking {booking} is not of the seats asked for"),
            Self::TokenRefused => write!(f, "the visitor's own booking token was refused as invalid"),
            Self::TrickBooked(booking) => write!(f, "a token that was not the visitor's booked {booking}"),
            Self::BookedTwice(booking) => write!(f, "a spent token booked again: {booking}"),
            Self::NotReplaced => write!(f, "the older tab was not closed when a newer took over"),
            Self::Garbled(why) => write!(f, "a message is not as the contract says: {why}"),
        }
    }
}

/// What a place token says openly.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct PlaceClaim {
    k: String,
    /// The place's number in the line.
    pub seq: Seq,
    /// Whose it is.
    pub visitor: String,
}

impl PlaceClaim {
    /// Reads the token's payload; whether it is genuine is the server's affair.
    pub fn read(token: &str) -> Option<Self> {
        let payload = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        serde_json::from_slice(&payload).ok().filter(|claim: &Self| claim.k == "place")
    }
}

/// Eight bytes that stand for a visitor id: enough to find him in the export, too little to print him.
pub fn fingerprint(visitor: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    visitor.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::domain::{
        ids::{SaleId, VisitorId},
        token::{Key, Keyring, Token},
    };

    #[test]
    fn a_place_that_may_have_ended_unseen_is_not_called_lost() {
        let ring = Keyring::new(vec![Key { kid: "k1".into(), secret: vec![7; 32] }]).unwrap();
        let (sale, visitor) = (SaleId::parse("demo").unwrap(), VisitorId::parse("kim").unwrap());
        let token = |seq| {
            ring.sign(&Token::Place {
                sale: sale.clone(),
                visitor: visitor.clone(),
                seq,
                epoch: 1,
                until: None,
            })
        };
        let lost = |unanswered: usize| {
            let mut facts = VisitorFacts::default();
            for seq in [1, 2] {
                facts.see_join(0);
                facts.see_place(&token(seq), false, 0, 0);
                (0..unanswered).for_each(|_| facts.see_join(0));
            }
            !facts.breaches.is_empty()
        };
        assert!(lost(0));
        assert!(!lost(1), "what was not answered may have brought it back for a second turn");
    }

    #[test]
    fn a_place_token_is_read_and_another_is_not() {
        let ring = Keyring::new(vec![Key { kid: "k1".into(), secret: vec![7; 32] }]).unwrap();
        let sale = SaleId::parse("demo").unwrap();
        let visitor = VisitorId::parse("kim").unwrap();
        let place =
            Token::Place { sale: sale.clone(), visitor: visitor.clone(), seq: 12, epoch: 1, until: None };
        let claim = PlaceClaim::read(&ring.sign(&place)).unwrap();
        assert_eq!((claim.seq, claim.visitor.as_str()), (12, "kim"));
        assert_eq!(PlaceClaim::read(&ring.sign(&Token::Visitor { sale, visitor, until: None })), None);
        for junk in ["", "a.b.c", "...", "k1.e30.x"] {
            assert_eq!(PlaceClaim::read(junk), None, "{junk}");
        }
    }
}
