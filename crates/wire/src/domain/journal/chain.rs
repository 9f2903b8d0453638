//! The chain: a batch of entries is a Merkle tree, and each batch's hash counts in the next one's. Who knows the newest
//! hash, the *head*, knows that nothing before it was changed, left out or put in.

use super::merkle;
use crate::domain::{
    ids::{SaleId, Seq},
    line::Position,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::Error as _};
use sha2::{Digest, Sha256};
use std::fmt;

/// What a batch's hash begins with; leaves and nodes of the tree begin otherwise.
const BATCH: u8 = 2;
const COMMITMENT: &[u8] = b"waitroom place";
const ENTRY: &[u8] = b"entry";
const PLACE: &[u8] = b"place";
/// Bytes of a salt: too many to try.
pub const SALT_BYTES: usize = 16;

/// What keeps a commitment from being guessed.
pub type Salt = [u8; SALT_BYTES];

/// A SHA-256; in text 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Of a text, as it is.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(hash))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("a hash has 64 hexadecimal digits"))
    }
}

/// What stands in the journal for who drew a place.
pub fn commitment(salt: &Salt, seq: Seq, visitor: &str) -> Hash {
    let hasher = Sha256::new_with_prefix(COMMITMENT).chain_update(salt).chain_update(seq.to_be_bytes());
    Hash(hasher.chain_update(visitor).finalize().into())
}

/// The leaf of an entry, as its text is in the journal.
pub fn entry_leaf(position: Position, text: &str) -> Hash {
    merkle::leaf(&[ENTRY, &position.epoch.to_be_bytes(), &position.n.to_be_bytes(), text.as_bytes()])
}

/// The leaf of one place that an entry drew.
pub fn place_leaf(position: Position, seq: Seq, commitment: &Hash) -> Hash {
    let (epoch, n) = (position.epoch.to_be_bytes(), position.n.to_be_bytes());
    merkle::leaf(&[PLACE, &epoch, &n, &seq.to_be_bytes(), &commitment.0])
}

/// An entry as it stands in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its number.
    pub n: u64,
    /// Its text, as it was hashed.
    pub text: String,
    /// One for each place that it drew, in order.
    pub commitments: Vec<Hash>,
}

/// One link of the chain: entries that were journaled together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its number, from 1.
    pub batch: u64,
    /// The hash of the batch before it; zeros before the first.
    pub previous: Hash,
    /// The line's life in which its entries are.
    pub epoch: u64,
    /// The first entry's number.
    pub first: u64,
    /// The last one's.
    pub last: u64,
    /// Leaves of its tree: each entry, and after it the places that it drew.
    pub leaves: u64,
    /// Their root.
    pub root: Hash,
    /// When it was journaled, by PostgreSQL's clock in milliseconds.
    pub at: i64,
}

impl Batch {
    /// What the next batch and everyone outside remember of it and of all before it.
    pub fn hash(&self, sale: &SaleId) -> Hash {
        let mut hasher = Sha256::new_with_prefix([BATCH]);
        hasher.update(self.previous.0);
        for number in [self.batch, self.epoch, self.first, self.last, self.leaves, self.at.cast_unsigned()] {
            hasher.update(number.to_be_bytes());
        }
        hasher.update(self.root.0);
        hasher.update(sale.as_str());
        Hash(hasher.finalize().into())
    }

    /// The head of the chain that ends with it.
    pub fn head(&self, sale: &SaleId) -> Head {
        let time = Timestamp::from_millisecond(self.at).unwrap_or_default();
        Head { epoch: self.epoch, n: self.last, hash: self.hash(sale), time, batch: self.batch }
    }
}

/// The newest end of a sale's chain. Made public, so that nobody can rewrite the journal unnoticed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The line's life.
    pub epoch: u64,
    /// The last entry that is journaled.
    pub n: u64,
    /// The hash of the last batch.
    pub hash: Hash,
    /// When that was written.
    pub time: Timestamp,
    /// That batch's number.
    pub batch: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_of_a_batch_counts() {
        let sale = SaleId::parse("spring").unwrap();
        let batch = Batch {
            batch: 1,
            previous: Hash::default(),
            epoch: 1,
            first: 1,
            last: 5,
            leaves: 7,
            root: Hash([3; 32]),
            at: 9,
        };
        let others = [
            Batch { batch: 2, ..batch.clone() },
            Batch { previous: Hash([1; 32]), ..batch.clone() },
            Batch { epoch: 2, ..batch.clone() },
            Batch { first: 2, ..batch.clone() },
            Batch { last: 6, ..batch.clone() },
            Batch { leaves: 8, ..batch.clone() },
            Batch { root: Hash([4; 32]), ..batch.clone() },
            Batch { at: 10, ..batch.clone() },
        ];
        for other in others {
            assert_ne!(other.hash(&sale), batch.hash(&sale), "{other:?}");
        }
        assert_ne!(batch.hash(&SaleId::parse("autumn").unwrap()), batch.hash(&sale));
    }

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let hash = commitment(&[7; SALT_BYTES], 12, "kim");
        assert_eq!(Hash::parse(&hash.to_string()), Some(hash));
        for text in ["", "ab", &"+1".repeat(32), &"zz".repeat(32)] {
            assert_eq!(Hash::parse(text), None, "{text}");
        }
        assert_ne!(commitment(&[8; SALT_BYTES], 12, "kim"), hash);
        assert_ne!(commitment(&[7; SALT_BYTES], 13, "kim"), hash);
        assert_ne!(commitment(&[7; SALT_BYTES], 12, "lee"), hash);
    }
}
