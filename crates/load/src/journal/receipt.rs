//! A visitor's receipt, held against a journal: his place is in it, and what became of it.

use super::{
    chain::{self, Chain},
    file::Item,
    findings::{Findings, Rule},
};
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use wire::domain::{
    ids::SaleId,
    journal::{Head, Receipt, ReceiptFault, Story},
    line::Position,
};

/// Why a journal and a receipt cannot be held against each other, or one of them is not what it says.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError<E> {
    /// Of different sales.
    #[error("the receipt is for sale {0}, and the journal is that of sale {1}: give that sale's journal")]
    AnotherSale(SaleId, SaleId),
    /// The receipt does not hold together by itself.
    #[error("{0}: it proves nothing; fetch it again from …/places/me/receipt")]
    Forged(#[from] ReceiptFault),
    /// The journal ends before it.
    #[error(
        "the receipt is of batch {0}, and the journal ends with batch {1}: it is older than the receipt; export it again"
    )]
    TooOld(u64, u64),
    /// The journal has another batch there.
    #[error(
        "the receipt's batch {0} is not the journal's batch {0}: the journal went another way after the receipt was given, or \
         was written anew. One of the two is not the sale's"
    )]
    Forked(u64),
    /// The journal is not whole.
    #[error("the journal itself is not whole: {0}")]
    Broken(String),
    /// Not all of it could be judged.
    #[error("{0}")]
    Unreadable(String),
    /// It cannot be read.
    #[error("{0}")]
    Journal(E),
}

impl<E> ReceiptError<E> {
    /// What is wrong with the chain, the one thing that was looked at.
    fn of_chain(findings: Findings) -> Option<Self> {
        let chain = findings.finish().into_iter().find(|verdict| verdict.invariant == Rule::Chain)?;
        let text = || chain.examples.first().map(|example| example.text.clone()).unwrap_or_default();
        match chain.lacking.first() {
            _ if chain.violations > 0 => Some(Self::Broken(text())),
            Some(why) => Some(Self::Unreadable(why.clone())),
            None => None,
        }
    }
}

/// A receipt that holds.
#[derive(Debug, Serialize)]
pub struct Held {
    /// The sale.
    pub sale: SaleId,
    /// The place.
    pub seq: u64,
    /// Where it was drawn: the line's life …
    pub epoch: u64,
    /// … the entry in it …
    pub entry: u64,
    /// … and the batch.
    pub batch: u64,
    /// The end of the journal's chain.
    pub head: Head,
    /// How the place stood there.
    pub stage: &'static str,
    /// What happened to it.
    pub events: Vec<wire::domain::journal::Event>,
}

/// Holds a receipt against a journal of a sale: `next` gives what it has, in order. Proves the chain and the place, and
/// nothing else.
///
/// # Errors
/// The two do not belong together, or one of them is not what it says.
pub fn hold<E>(
    receipt: &Receipt,
    sale: &SaleId,
    mut next: impl FnMut() -> Result<Option<Item>, E>,
) -> Result<Held, ReceiptError<E>> {
    if receipt.sale != *sale {
        return Err(ReceiptError::AnotherSale(receipt.sale.clone(), sale.clone()));
    }
    receipt.verify()?;
    let wanted = receipt.batch.batch;
    let mut findings = Findings::new();
    let mut chain = Chain::new(sale.clone(), Vec::new());
    let mut story = Story::new(receipt.seq);
    let seq = receipt.seq.to_string();
    let mut said = None;
    while let Some(item) = next().map_err(ReceiptError::Journal)? {
        let (batch, written) = match item {
            Item::Batch(batch, written) => (batch, written),
            Item::Head(head) => {
                said = head;
                continue;
            }
            Item::Sold(_) => continue,
        };
        let drew = chain::read_drawn(&written);
        chain.follow(&batch, &written, &drew, &mut findings);
        // Verified by itself the receipt leads to its batch's root; so the batch must be this one.
        if batch.batch == wanted && batch != receipt.batch {
            return Err(ReceiptError::Forked(wanted));
        }
        for (written, entry) in written.iter().zip(drew) {
            // Most entries are of others; which are of his bookings, the entries before tell.
            let text = &written.text;
            let is_wanted = text.contains(&seq)
                || text.contains("\"shifted\"")
                || story.bookings.iter().any(|booking| text.contains(&booking.to_string()));
            let Some(entry) = entry.or_else(|| is_wanted.then(|| chain::entry(text)).flatten()) else {
                continue;
            };
            story.hear(Position { epoch: batch.epoch, n: written.n }, &entry);
        }
    }
    chain.finish(said.as_ref(), &mut findings);
    if let Some(error) = ReceiptError::of_chain(findings) {
        return Err(error);
    }
    let head = chain.head().filter(|head| head.batch >= wanted).cloned();
    let head = head.ok_or_else(|| ReceiptError::TooOld(wanted, chain.head().map_or(0, |head| head.batch)))?;
    Ok(Held {
        sale: sale.clone(),
        seq: receipt.seq,
        epoch: receipt.epoch,
        entry: receipt.entry,
        batch: wanted,
        head,
        stage: super::line::word(story.stage),
        events: story.events,
    })
}

impl Display for Held {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "place {} of sale {} is in this journal: epoch {}, entry {}, batch {} of {}",
            self.seq, self.sale, self.epoch, self.entry, self.batch, self.head.batch
        )?;
        writeln!(f, "the chain is whole up to its head {}", self.head.hash)?;
        for event in &self.events {
            writeln!(f, "{:.3}  {}", event.at, event.words)?;
        }
        write!(f, "at the journal's end the place was {}", self.stage)
    }
}
