//! A visitor's proof of his place, which he can hold against the journal himself.

use super::chain::{Batch, Hash, SALT_BYTES, Salt, commitment, place_leaf};
use super::merkle::root_of;
use crate::domain::{
    ids::{SaleId, Seq, VisitorId},
    line::Position,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The proof of one's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Of which sale.
    pub sale: SaleId,
    /// Whose place: nobody else can prove it without knowing this and the salt.
    pub visitor: VisitorId,
    /// Its number in the line.
    pub seq: Seq,
    /// The line's life in which it was drawn …
    pub epoch: u64,
    /// … and the entry that drew it.
    pub entry: u64,
    /// What keeps the commitment from being guessed.
    pub salt: String,
    /// The link of the chain in which that entry is.
    pub batch: Batch,
    /// The place's leaf in the batch's tree, from 0.
    pub leaf: u64,
    /// The hashes from there to the batch's root.
    pub path: Vec<Hash>,
    /// The chain's head as this batch left it.
    pub head: Hash,
}

/// What is wrong with a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptFault {
    /// It contradicts itself.
    #[error("the receipt contradicts itself: it was changed, or is not whole")]
    Broken,
    /// Its visitor, seq and salt do not make the leaf that its path leads from.
    #[error(
        "the receipt's visitor, seq and salt do not lead to its root: they were changed, or are another's"
    )]
    Foreign,
}

impl Receipt {
    /// A salt as it stands in a receipt.
    pub fn salt_text(salt: &Salt) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(salt)
    }

    fn salt(&self) -> Option<Salt> {
        let salt = BASE64_URL_SAFE_NO_PAD.decode(&self.salt).ok()?;
        <[u8; SALT_BYTES]>::try_from(salt).ok()
    }

    /// What stands for its place in the journal.
    ///
    /// # Errors
    /// The salt is none.
    pub fn commitment(&self) -> Result<Hash, ReceiptFault> {
        let salt = self.salt().ok_or(ReceiptFault::Broken)?;
        Ok(commitment(&salt, self.seq, self.visitor.as_str()))
    }

    /// Whether it holds together by itself: the place leads to the root, the root to the head.
    ///
    /// # Errors
    /// It does not.
    pub fn verify(&self) -> Result<(), ReceiptFault> {
        let batch = &self.batch;
        if batch.hash(&self.sale) != self.head
            || self.epoch != batch.epoch
            || !(batch.first..=batch.last).contains(&self.entry)
        {
            return Err(ReceiptFault::Broken);
        }
        let at = Position { epoch: self.epoch, n: self.entry };
        let leaf = place_leaf(at, self.seq, &self.commitment()?);
        let index = usize::try_from(self.leaf).map_err(|_| ReceiptFault::Broken)?;
        let leaves = usize::try_from(batch.leaves).map_err(|_| ReceiptFault::Broken)?;
        let root = root_of(leaf, index, leaves, &self.path).ok_or(ReceiptFault::Broken)?;
        if root == batch.root { Ok(()) } else { Err(ReceiptFault::Foreign) }
    }
}
