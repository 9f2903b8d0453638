//! The journal of a sale: every change of its line, in order, in a form that anyone may read. It names nobody: a place is
//! its seq, and who drew it is a *commitment*, a hash of the visitor and a salt. Who has both finds himself in the
//! journal; once the salt is gone nobody can, and what the journal proves stays proven.

mod chain;
mod entry;
mod ledger;
mod merkle;
mod receipt;
mod story;

pub use chain::{Batch, Hash, Head, SALT_BYTES, Salt, Written, commitment, entry_leaf, place_leaf};
pub use entry::{Admitted, Change, Entry, InForce, Installed};
pub use ledger::{Ledger, LiveGrant, Place};
pub use merkle::{Tree, root_of};
pub use receipt::{Receipt, ReceiptFault};
pub use story::{Event, Story};
