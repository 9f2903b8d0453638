//! How long the proof of a sale's journal takes and how much memory: `cargo bench --bench journal [-- VISITORS]`.
//!
//! Writes the journal of a healthy sale (a million visitors who come within 100 s, 1,000 admissions a second, each uses his
//! turn at the next tick and books a second later, every fiftieth is not there), reads it as the command does, proves it, and
//! holds a receipt against it.
#![allow(clippy::unwrap_used, reason = "a benchmark has nobody to tell")]

use load::{
    checker::Status,
    journal::{FORMAT, Header, JournalError, Proof, Reader, Sold, Writer, hold},
};
use std::{
    fs::{self, File},
    io::BufWriter,
    path::Path,
    time::Instant,
};
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus,
    ids::{GrantKey, SaleId, Seq},
    journal::{
        Admitted, Batch, Change, Entry, Hash, Head, InForce, Installed, Receipt, Tree, Written, commitment,
        entry_leaf, place_leaf,
    },
    line::Position,
    phase::Phase,
};

const TICK: i64 = 100;
const RATE: u64 = 1000;
const OPENS: i64 = 120_000;
const START: i64 = 1_763_800_000_000;
const LEAVES_MAX: usize = 20_000;

fn salt(seq: Seq) -> [u8; 16] {
    u128::from(seq).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835).to_be_bytes()
}

fn name(seq: Seq) -> String {
    format!("{:032x}", u128::from_be_bytes(salt(seq)))
}

fn is_absent(seq: Seq) -> bool {
    seq.is_multiple_of(50)
}

fn booking(seq: Seq) -> Uuid {
    Uuid::from_u128(u128::from(seq))
}

/// Chains entries as the server does.
struct Chain<W: std::io::Write> {
    sale: SaleId,
    writer: Writer<W>,
    entries: Vec<Written>,
    leaves: Vec<Hash>,
    n: u64,
    last: Option<Head>,
    /// The receipt of this place is wanted.
    wanted: Seq,
    leaf: Option<(u64, usize)>,
    receipt: Option<Receipt>,
}

impl<W: std::io::Write> Chain<W> {
    fn put(&mut self, entry: &Entry) {
        self.n += 1;
        let position = Position { epoch: 1, n: self.n };
        let text = serde_json::to_string(entry).unwrap();
        self.leaves.push(entry_leaf(position, &text));
        let mut commitments = Vec::new();
        for seq in entry.places() {
            let hash = commitment(&salt(seq), seq, &name(seq));
            if seq == self.wanted {
                self.leaf = Some((self.n, self.leaves.len()));
            }
            self.leaves.push(place_leaf(position, seq, &hash));
            commitments.push(hash);
        }
        self.entries.push(Written { n: self.n, text, commitments });
        if self.leaves.len() >= LEAVES_MAX {
            self.link(entry.at);
        }
    }

    fn link(&mut self, at: i64) {
        let Some(first) = self.entries.first().map(|written| written.n) else { return };
        let (number, previous) =
            self.last.as_ref().map_or((1, Hash::default()), |last| (last.batch + 1, last.hash));
        let leaves = std::mem::take(&mut self.leaves);
        let (count, tree) = (leaves.len() as u64, Tree::new(leaves));
        let root = tree.root();
        let batch = Batch { batch: number, previous, epoch: 1, first, last: self.n, leaves: count, root, at };
        self.writer.batch(batch.clone(), &self.entries).unwrap();
        self.entries.clear();
        self.last = Some(batch.head(&self.sale));
        if let Some((entry, leaf)) = self.leaf.take() {
            self.receipt = Some(Receipt {
                sale: self.sale.clone(),
                visitor: name(self.wanted).try_into().unwrap(),
                seq: self.wanted,
                epoch: 1,
                entry,
                salt: Receipt::salt_text(&salt(self.wanted)),
                head: batch.hash(&self.sale),
                path: tree.path(leaf),
                leaf: leaf as u64,
                batch,
            });
        }
    }
}

/// Writes the journal; the receipt of the place in the middle.
fn write(path: &Path, visitors: u64) -> Receipt {
    let sale = SaleId::parse("bench").unwrap();
    let seats = (0..visitors).map(|seat| format!("B-3-{seat}")).collect();
    let header = Header {
        journal: FORMAT,
        sale: sale.clone(),
        bookings_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        seats,
        closed: false,
    };
    let file = BufWriter::with_capacity(1 << 20, File::create_new(path).unwrap());
    let mut writer = Writer::new(file, &header).unwrap();
    drop(header);
    for seq in (1..=visitors).filter(|seq| !is_absent(*seq)) {
        let (grant, seats) = (Some(GrantKey { seq, turn: 0 }), vec![(seq - 1) as u32]);
        let (status, created_at) = (BookingStatus::Confirmed, "2025-11-22T10:00:00Z".parse().unwrap());
        writer.sold(Sold { booking: booking(seq), grant, seats, status, created_at }).unwrap();
    }
    let (entries, leaves) = Default::default();
    let wanted = visitors / 2 + 1;
    let mut chain =
        Chain { sale, writer, entries, leaves, n: 0, last: None, wanted, leaf: None, receipt: None };
    sell(&mut chain, visitors);
    chain.link(START);
    let last = chain.last.take();
    chain.writer.finish(last).unwrap();
    chain.receipt.unwrap()
}

fn sell<W: std::io::Write>(chain: &mut Chain<W>, visitors: u64) {
    let installed = Installed { seats: visitors, booked: Vec::new(), held: 0 };
    chain.put(&Entry { at: START, installed: Some(installed), ..Entry::default() });
    let settings = InForce {
        rate: RATE as f64,
        max_active: 10_000,
        grant_ttl_ms: 300_000,
        claim_ms: 60_000,
        ..InForce::default()
    };
    chain.put(&Entry { at: START, settings: Some(settings), ..Entry::default() });
    let mut drawn = 0;
    // Who was admitted at which tick: (first, last).
    let mut ticks: Vec<(Seq, Seq)> = Vec::new();
    let mut next = 1;
    for at in (0..).step_by(TICK as usize).map(|ms: i64| START + ms) {
        if drawn < visitors {
            let last = visitors.min(drawn + visitors / 1000);
            for first in (drawn + 1..=last).step_by(512) {
                chain.put(&Entry { at, drawn: vec![(first, last.min(first + 511))], ..Entry::default() });
            }
            drawn = last;
        }
        if at == START + OPENS {
            chain.put(&Entry { at, phase: Some(Phase::Open), ..Entry::default() });
        }
        if at < START + OPENS {
            continue;
        }
        let last = visitors.min(next + RATE / 10 - 1);
        let (away, served): (Vec<_>, Vec<_>) = (next..=last).partition(|seq| is_absent(*seq));
        if !served.is_empty() {
            let admitted =
                served.iter().map(|seq| Admitted { seq: *seq, turn: 0, returned: false }).collect();
            let (deadline, claim) = (at + 300_000, at + 60_000);
            chain.put(&Entry { at, admitted, away, deadline, claim, ..Entry::default() });
        }
        ticks.push((next, last));
        next = last + 1;
        act(chain, at, &ticks);
        if next > visitors && ticks.iter().rev().take(12).all(|(first, last)| first > last) {
            return;
        }
    }
}

/// Turns are used one by one, and bookings told in batches.
fn act<W: std::io::Write>(chain: &mut Chain<W>, at: i64, ticks: &[(Seq, Seq)]) {
    let who = |ago: usize| {
        let (first, last) = ticks.len().checked_sub(ago + 1).map_or((1, 0), |tick| ticks[tick]);
        (first..=last).filter(|seq| !is_absent(*seq))
    };
    for seq in who(1) {
        chain.put(&Entry { at, claimed: vec![seq], ..Entry::default() });
    }
    let change = |seq| Change {
        seq: Some(seq),
        booking: Some(booking(seq)),
        status: BookingStatus::Confirmed,
        seats: vec![(seq - 1) as u32],
    };
    let booked: Vec<_> = who(10).map(change).collect();
    if !booked.is_empty() {
        chain.put(&Entry { at, booked, ..Entry::default() });
    }
}

fn peak_mb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn main() {
    let visitors = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    let receipt = write(&path, visitors);
    let mb = fs::metadata(&path).unwrap().len() >> 20;
    println!("{visitors} places, {mb} MB; peak so far {} MB", peak_mb());
    let started = Instant::now();
    let mut reader = Reader::open(&path).unwrap().without_bookings();
    let sale = reader.header().sale.clone();
    let held = hold::<JournalError>(&receipt, &sale, || reader.next_item()).unwrap();
    println!("a receipt held after {:.1} s; peak so far {} MB", started.elapsed().as_secs_f64(), peak_mb());
    assert!(held.events.len() > 1, "{held}");
    let started = Instant::now();
    let mut reader = Reader::open(&path).unwrap();
    let mut proof = Proof::new(reader.header(), Vec::new());
    while let Some(item) = reader.next_item().unwrap() {
        proof.take(item);
    }
    let report = proof.finish();
    println!("proved after {:.1} s; peak {} MB", started.elapsed().as_secs_f64(), peak_mb());
    println!("{report}");
    assert_eq!(report.status, Status::Proved);
}
