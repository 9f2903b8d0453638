//! Small journals in memory, healthy and doctored.

mod doctored;
mod pages;
mod planted;
mod receipts;

use super::*;
use crate::checker::Status;
use wire::domain::{
    ids::{GrantKey, SaleId},
    journal::{Batch, Hash, Receipt, Tree, commitment},
};

pub const SALT: [u8; 16] = [7; 16];

pub fn sale() -> SaleId {
    SaleId::parse("spring").unwrap()
}

pub fn name(seq: u64) -> String {
    format!("visitor-{seq}")
}

pub fn header() -> Header {
    let seats = (1..=20).map(|seat| format!("A-{seat}")).collect();
    let bookings_at = "2026-11-22T12:00:00Z".parse().unwrap();
    Header { journal: FORMAT, sale: sale(), bookings_at, closed: false, seats }
}

pub fn booking(seq: u64) -> String {
    format!("0199aaaa-0000-7000-8000-{seq:012}")
}

pub const OPEN: i64 = 1_763_800_000_000;

/// A journal's entries, as texts, with the line's life of each; and what PostgreSQL has.
#[derive(Clone)]
pub struct Recorded {
    pub entries: Vec<(u64, String)>,
    pub sold: Vec<Sold>,
}

impl Recorded {
    /// Ten visitors: each second one is let in at a time, five book a seat each, the sixth misses his turn, the seventh is
    /// passed over, both come back; the eighth leaves, two are waiting still.
    pub fn healthy() -> Self {
        let mut recorded = Self { entries: Vec::new(), sold: Vec::new() };
        let settings = r#""settings":{"rate":10.0,"max_active":3,"grant_ttl_ms":20000,"claim_ms":5000,"away_ms":30000,"blocked":[19]}"#;
        recorded.say(-2000, r#""installed":{"seats":20,"booked":[],"held":0},"phase":"scheduled""#);
        recorded.say(-2000, settings);
        recorded.say(-1500, r#""drawn":[[1,4]]"#);
        recorded.say(-1400, r#""drawn":[[5,10]]"#);
        recorded.say(0, r#""phase":"open""#);
        for seq in 1..=5 {
            let at = seq as i64 * 1000;
            recorded.admit(at, seq, false, "");
            recorded.say(at + 300, &format!(r#""claimed":[{seq}]"#));
            recorded.book(at + 500, seq);
        }
        recorded.admit(6000, 6, false, "");
        recorded.say(11_600, r#""lapsed":[[6,"missed"]]"#);
        recorded.admit(12_000, 8, false, r#","away":[7]"#);
        recorded.say(12_500, r#""left":[8]"#);
        recorded.say(13_000, r#""returned":[6,7]"#);
        let returned = r#"{"seq":6,"turn":1,"returned":true},{"seq":7,"turn":0,"returned":true}"#;
        recorded.say(
            14_000,
            &format!(r#""admitted":[{returned}],"deadline":1763800034000,"claim":1763800019000"#),
        );
        recorded.say(15_000, r#""left":[7]"#);
        recorded.say(15_500, r#""drawn":[[11,11]],"again":[[11,7,0]]"#);
        recorded
    }

    pub fn say(&mut self, at: i64, what: &str) {
        self.entries.push((1, format!(r#"{{"at":{},{what}}}"#, OPEN + at)));
    }

    pub fn admit(&mut self, at: i64, seq: u64, returned: bool, more: &str) {
        let (deadline, claim) = (OPEN + at + 20_000, OPEN + at + 5000);
        let grant = format!(r#"{{"seq":{seq},"turn":0,"returned":{returned}}}"#);
        self.say(at, &format!(r#""admitted":[{grant}],"deadline":{deadline},"claim":{claim}{more}"#));
    }

    pub fn book(&mut self, at: i64, seq: u64) {
        let id = booking(seq);
        let change = format!(r#"{{"seq":{seq},"booking":"{id}","status":"confirmed","seats":[{seq}]}}"#);
        self.say(at, &format!(r#""booked":[{change}]"#));
        self.sold.push(Sold {
            booking: id.parse().unwrap(),
            grant: Some(GrantKey { seq, turn: 0 }),
            seats: vec![seq as u32],
            status: wire::domain::booking::BookingStatus::Confirmed,
            created_at: "2025-11-22T08:00:00Z".parse().unwrap(),
        });
    }

    /// Where the first entry is that has this text.
    pub fn position(&self, text: &str) -> usize {
        self.entries.iter().position(|(_, entry)| entry.contains(text)).unwrap()
    }

    /// In the first entry that has the text, puts another in its place.
    pub fn change(&mut self, text: &str, other: &str) {
        let at = self.position(text);
        self.entries[at].1 = self.entries[at].1.replacen(text, other, 1);
    }

    /// Chained, three entries a batch.
    pub fn batches(&self) -> Vec<(Batch, Vec<Written>)> {
        chained(&self.entries)
    }

    pub fn items(&self) -> Vec<Item> {
        let batches = self.batches();
        let head = batches.last().map(|(batch, _)| batch.head(&sale()));
        let sold = self.sold.iter().cloned().map(Item::Sold);
        let batches = batches.into_iter().map(|(batch, written)| Item::Batch(batch, written));
        sold.chain(batches).chain([Item::Head(head)]).collect()
    }

    pub fn report(&self) -> Report {
        report(self.items(), Vec::new())
    }

    /// The rules that are violated.
    pub fn violated(&self) -> Vec<Rule> {
        violated(&self.report())
    }
}

pub fn report(items: Vec<Item>, noted: Vec<Noted>) -> Report {
    let mut proof = Proof::new(&header(), noted);
    items.into_iter().for_each(|item| proof.take(item));
    proof.finish()
}

pub fn violated(report: &Report) -> Vec<Rule> {
    let violated = report.verdicts.iter().filter(|verdict| verdict.status == Status::Violated);
    violated.map(|verdict| verdict.invariant).collect()
}

/// What the store makes of entries, three to a batch, but of one life each.
pub fn chained(entries: &[(u64, String)]) -> Vec<(Batch, Vec<Written>)> {
    let mut batches: Vec<(Batch, Vec<Written>)> = Vec::new();
    let mut n = 0;
    let mut last_epoch = 0;
    for (epoch, text) in entries {
        n = if *epoch == last_epoch { n + 1 } else { 1 };
        let begins = batches.last().is_none_or(|(_, written)| written.len() == 3) || *epoch != last_epoch;
        last_epoch = *epoch;
        let entry: Entry = serde_json::from_str(text).unwrap_or_default();
        let commitments = entry.places().map(|seq| commitment(&SALT, seq, &name(seq))).collect();
        let written = Written { n, text: text.clone(), commitments };
        if begins {
            let batch = Batch {
                batch: batches.len() as u64 + 1,
                previous: Hash::default(),
                epoch: *epoch,
                first: n,
                last: n,
                leaves: 0,
                root: Hash::default(),
                at: OPEN,
            };
            batches.push((batch, vec![written]));
        } else if let Some((_, all)) = batches.last_mut() {
            all.push(written);
        }
    }
    let mut previous = Hash::default();
    for (batch, written) in &mut batches {
        let leaves = chain::leaves(batch.epoch, written, &chain::read(written)).unwrap();
        batch.last = written.last().unwrap().n;
        (batch.previous, batch.leaves, batch.root) =
            (previous, leaves.len() as u64, Tree::new(leaves).root());
        previous = batch.hash(&sale());
    }
    batches
}

pub fn receipt(batches: &[(Batch, Vec<Written>)], seq: u64) -> Receipt {
    for (batch, written) in batches {
        let leaves = chain::leaves(batch.epoch, written, &chain::read(written)).unwrap();
        let mut leaf = 0;
        for (written, entry) in written.iter().zip(chain::read(written)) {
            leaf += 1;
            for place in entry.unwrap_or_default().places() {
                if place == seq {
                    return Receipt {
                        sale: sale(),
                        visitor: name(seq).try_into().unwrap(),
                        seq,
                        epoch: batch.epoch,
                        entry: written.n,
                        salt: Receipt::salt_text(&SALT),
                        batch: batch.clone(),
                        leaf,
                        path: Tree::new(leaves).path(leaf as usize),
                        head: batch.hash(&sale()),
                    };
                }
                leaf += 1;
            }
        }
    }
    panic!("place {seq} is in no batch")
}
