//! Names of things: sale, visitor, place in line, grant.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};
use uuid::Uuid;

/// Longest visitor id in bytes: an e-mail address or a UUID fits, a page of text does not.
pub const VISITOR_BYTES_MAX: usize = 256;

/// A sale's id, `[a-z0-9-]{1,64}`; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SaleId(Arc<str>);

impl SaleId {
    /// The id, or nothing if the text is not of the form `[a-z0-9-]{1,64}`.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        fits.then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SaleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SaleId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a sale's id is 1 to 64 of a-z, 0-9 and -")
    }
}

impl From<SaleId> for String {
    fn from(id: SaleId) -> Self {
        id.0.as_ref().into()
    }
}

/// What the ids begin with that this server draws for visitors without an identity; an identity's may not …
const ANONYMOUS: &str = "anon:";
/// … nor with this, which is followed by a place's seq or a booking's id.
const FORGOTTEN: &str = "forgotten:";

/// A person, by the identity that the shop or the sale gave; cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VisitorId(Arc<str>);

impl VisitorId {
    /// The id, or nothing if it is empty, too long or holds control characters.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=VISITOR_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| Self(text.into()))
    }

    /// A new anonymous visitor.
    pub fn anonymous() -> Self {
        Self(format!("{ANONYMOUS}{}", Uuid::new_v4().simple()).into())
    }

    /// Whoever drew a place and has been forgotten; the scripts and PostgreSQL make the same.
    pub fn forgotten(seq: Seq) -> Self {
        Self(format!("{FORGOTTEN}{seq}").into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the id is one that this server makes: nobody else may be called so.
    pub fn is_ours(&self) -> bool {
        self.is_anonymous() || self.is_forgotten()
    }

    /// Whether the server drew it for somebody who has no identity.
    pub fn is_anonymous(&self) -> bool {
        self.0.starts_with(ANONYMOUS)
    }

    /// Whether it stands for somebody who has been forgotten.
    pub fn is_forgotten(&self) -> bool {
        self.0.starts_with(FORGOTTEN)
    }

    /// For operators: who has been forgotten has no name.
    pub fn shown(&self) -> &str {
        if self.is_forgotten() { "" } else { &self.0 }
    }
}

/// Visitors are people: a stray `{:?}` must not write them into a log.
impl fmt::Debug for VisitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorId(…)")
    }
}

impl TryFrom<String> for VisitorId {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a visitor's id is 1 to 256 bytes without control characters")
    }
}

impl From<VisitorId> for String {
    fn from(id: VisitorId) -> Self {
        id.0.as_ref().into()
    }
}

/// The number drawn at the end of the line: smaller is earlier. The only order there is; time is none.
pub type Seq = u64;

/// So many seqs are left out when another process of Redis takes a line over: the one before may have drawn some of them
/// without anybody knowing.
pub const SEQS_LEFT_OUT: Seq = 100_000;

/// Which turn of which place a grant is: a place that missed its turn once is granted a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrantKey {
    /// The place.
    pub seq: Seq,
    /// 0 for the first turn, 1 after a missed one.
    pub turn: u8,
}

impl GrantKey {
    /// The grant's id in PostgreSQL, where it is unique and so fences a second booking. It is derived, not
    /// drawn, so that every instance knows it without asking; and never derived differently, or a grant could book
    /// once under each of its ids.
    ///
    /// A UUIDv8: 60 bits of the sale's hash, then 54 bits of seq and 8 of turn. So a sale's grants stand together
    /// in the index, in order, and a new sale's bookings never touch the pages of the old ones. Seqs are scores
    /// in Redis, which are exact below 2^53.
    pub fn grant_id(self, sale: &SaleId) -> Uuid {
        let hash = Sha256::digest(sale.as_str());
        let order = (self.seq << 8) | u64::from(self.turn);
        let mut bytes = [0u8; 16];
        bytes[..8].copy_from_slice(&hash[..8]);
        bytes[8..].copy_from_slice(&order.to_be_bytes());
        Uuid::new_v8(bytes)
    }

    /// The grant whose id in PostgreSQL this is; nothing if it is none of the sale's.
    pub fn of_grant_id(id: Uuid, sale: &SaleId) -> Option<Self> {
        // The two highest bits are the UUID's variant.
        let order = id.as_u64_pair().1 & (u64::MAX >> 2);
        let grant = Self { seq: order >> 8, turn: order as u8 };
        (grant.grant_id(sale) == id).then_some(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sale_ids_are_checked() {
        for good in ["a", "demo-2026", &"x".repeat(64)] {
            assert!(SaleId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "Demo", "a_b", "a/b", "ä", &"x".repeat(65)] {
            assert!(SaleId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn visitor_ids_are_checked_and_hidden() {
        assert!(VisitorId::parse("").is_none());
        assert!(VisitorId::parse("a\0b").is_none());
        assert!(VisitorId::parse(&"x".repeat(257)).is_none());
        let visitor = VisitorId::parse("kim@example.org").unwrap();
        assert!(!format!("{visitor:?}").contains("kim"));
    }

    #[test]
    fn grant_ids_differ_by_sale_seq_and_turn() {
        let (a, b) = (SaleId::parse("a").unwrap(), SaleId::parse("b").unwrap());
        let id = GrantKey { seq: 7, turn: 0 }.grant_id(&a);
        assert_eq!(id, GrantKey { seq: 7, turn: 0 }.grant_id(&a));
        assert_ne!(id, GrantKey { seq: 7, turn: 1 }.grant_id(&a));
        assert_ne!(id, GrantKey { seq: 8, turn: 0 }.grant_id(&a));
        assert_ne!(id, GrantKey { seq: 7, turn: 0 }.grant_id(&b));
    }

    /// A database is full of them: a program that derives them otherwise lets each grant book again.
    #[test]
    fn grant_ids_stay_as_they_are() {
        let sale = SaleId::parse("spring").unwrap();
        let id = |seq, turn| GrantKey { seq, turn }.grant_id(&sale).to_string();
        assert_eq!(id(7, 0), "622a494d-3ea8-87ba-8000-000000000700");
        assert_eq!(id(3_000_000_007, 1), "622a494d-3ea8-87ba-8000-00b2d05e0701");
    }

    #[test]
    fn a_sales_grants_stand_together_and_in_order() {
        let sale = SaleId::parse("spring").unwrap();
        let keys = [(0, 0), (0, 1), (1, 0), (255, 1), (256, 0), (1_000_000_000, 0), (1 << 53, 1)];
        let ids: Vec<_> =
            keys.iter().map(|(seq, turn)| GrantKey { seq: *seq, turn: *turn }.grant_id(&sale)).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        assert!(ids.iter().all(|id| id.as_bytes()[..8] == ids[0].as_bytes()[..8]), "{ids:?}");
        assert!(ids.iter().all(|id| id.get_version_num() == 8));
        for ((seq, turn), id) in keys.iter().zip(&ids) {
            let known = GrantKey::of_grant_id(*id, &sale);
            assert_eq!(known, Some(GrantKey { seq: *seq, turn: *turn }));
            assert_eq!(GrantKey::of_grant_id(*id, &SaleId::parse("autumn").unwrap()), None);
        }
    }
}
