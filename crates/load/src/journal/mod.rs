//! Proves on a sale's journal that the sale was fair: plain values in, a report out; one batch in memory at a time.
//!
//! What is proved, from what and how surely: docs/check.md. The journal is one chain over all lives of a line. Each entry
//! is held against how everything stood before it, a byte a place; so a million places take seconds. Whoever could rewrite the
//! whole journal could make another one that is as sound: that it is still the same is what a head proves that somebody noted
//! meanwhile, or any visitor's receipt.

mod admit;
mod chain;
mod file;
mod findings;
mod html;
mod line;
mod numbers;
mod pace;
mod places;
mod possible;
mod receipt;
mod report;
mod seats;
mod shop;
#[cfg(test)]
mod tests;

pub use chain::Noted;
pub use file::{FORMAT, Header, Item, JournalError, Reader, Sold, Writer, is_journal};
pub use findings::Rule;
pub use numbers::{Bucket, Numbers, Series};
pub use receipt::{Held, ReceiptError, hold};
pub use report::Report;

use chain::Chain;
use findings::Findings;
use line::Line;
use numbers::Counter;
use shop::Shop;
use wire::domain::{
    ids::SaleId,
    journal::{Batch, Entry, Head, Written},
    line::Position,
};

/// A journal that is being proved.
pub struct Proof {
    sale: SaleId,
    chain: Chain,
    line: Line,
    shop: Shop,
    counter: Counter,
    findings: Findings,
    /// What the journal says of its end.
    head: Option<Head>,
    /// The sale was closed when the journal was read.
    closed: bool,
}

impl Proof {
    /// Of this journal; `noted` are heads that somebody noted while the sale ran.
    pub fn new(header: &Header, noted: Vec<Noted>) -> Self {
        Self {
            sale: header.sale.clone(),
            chain: Chain::new(header.sale.clone(), noted),
            line: Line::new(header.seats.len()),
            shop: Shop::new(header.bookings_at.as_millisecond()),
            counter: Counter::new(header.seats.len()),
            findings: Findings::new(),
            head: None,
            closed: header.closed,
        }
    }

    /// What comes next: bookings first, then the batches in order.
    pub fn take(&mut self, item: Item) {
        match item {
            Item::Sold(sold) => self.shop.add(sold, &mut self.findings),
            Item::Batch(batch, written) => self.batch(&batch, &written),
            Item::Head(head) => self.head = head,
        }
    }

    fn batch(&mut self, batch: &Batch, written: &[Written]) {
        let mut entries = chain::read(written);
        if !possible::batch(batch) {
            entries.fill(None);
        }
        self.chain.follow(batch, written, &entries, &mut self.findings);
        for (written, entry) in written.iter().zip(&entries) {
            let Some(entry) = entry else {
                // What it changed nobody here knows.
                self.line.is_blind = true;
                Rule::ALL.iter().for_each(|rule| self.findings.lack(*rule, chain::UNREADABLE));
                continue;
            };
            let position = Position { epoch: batch.epoch, n: written.n };
            self.findings.at = format!("epoch {}, entry {}", batch.epoch, written.n);
            if places(entry) != Some(written.commitments.len() as u64) {
                let text = || "an entry has not one commitment for each of its places".into();
                self.findings.add(Rule::Chain, None, text);
                continue;
            }
            self.line.apply(position, entry, &mut self.findings);
            self.counter.count(entry, &self.line);
        }
        self.findings.at.clear();
    }

    /// The end: all that there is to say.
    pub fn finish(mut self) -> Report {
        let findings = &mut self.findings;
        self.chain.finish(self.head.as_ref(), findings);
        self.line.seats.finish(|booked| self.shop.is_live(booked.id), findings);
        let later = self.shop.compare(&self.line, findings);
        if self.line.began_before {
            let why = "the line began before there was a journal of it: this one begins in the middle";
            Rule::ALL[1..].iter().for_each(|rule| findings.lack(*rule, why));
        }
        if self.chain.head().is_none() {
            Rule::ALL.iter().for_each(|rule| findings.lack(*rule, "the journal is empty"));
        } else if self.closed && self.line.is_judged() && !self.line.closed {
            let why = "the sale is closed and its journal does not tell of that: what came last is not in it, or not yet";
            Rule::ALL.iter().for_each(|rule| findings.lack(*rule, why));
        } else if self.counter.numbers.admitted == 0 {
            let rules = [Rule::Order, Rule::Admission, Rule::Turns];
            rules.iter().for_each(|rule| findings.lack(*rule, "nobody was admitted"));
        }
        let (mut numbers, series) = self.counter.finish(&self.line);
        numbers.changed_later = later;
        let settings = self.line.settings;
        let (head, noted) = (self.chain.head().cloned(), self.chain.noted());
        Report::new(self.sale, head, noted, numbers, series, settings, self.findings.finish())
    }
}

/// How many places an entry has; nothing if its ranges are none.
fn places(entry: &Entry) -> Option<u64> {
    let drawn = entry.drawn.iter().map(|(first, last)| last.checked_sub(*first)?.checked_add(1));
    drawn.chain([Some(entry.found.len() as u64)]).try_fold(0_u64, |sum, count| sum.checked_add(count?))
}
