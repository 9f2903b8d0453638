//! PostgreSQL's bookings, held against the journal's.

use super::{
    file::Sold,
    findings::{Findings, Rule},
    line::Line,
    seats::Booked,
};
use std::collections::HashMap;
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus::{self, Confirmed, Held, Released},
    phase::Phase,
    place::Stage,
    plan::SeatIndex,
};

/// What was told of this shortly before PostgreSQL was asked, or later, by another clock, may not be in its answer, in ms.
const SKEW_MS: i64 = 5000;

/// A booking of PostgreSQL's, in as few bytes as it takes.
struct Row {
    seq: Option<u64>,
    status: BookingStatus,
    seats: Box<[SeatIndex]>,
}

/// All bookings as PostgreSQL has them.
pub(super) struct Shop {
    asked: i64,
    rows: HashMap<Uuid, Row>,
}

impl Shop {
    /// PostgreSQL was asked then, by its clock in ms.
    pub fn new(asked: i64) -> Self {
        Self { asked, rows: HashMap::new() }
    }

    /// One more.
    pub fn add(&mut self, sold: Sold, findings: &mut Findings) {
        if sold.grant.is_none() {
            findings.add(Rule::Bookings, None, || {
                format!("booking {} spent no grant of this sale", sold.booking)
            });
        }
        let seq = sold.grant.map(|grant| grant.seq);
        self.rows.insert(sold.booking, Row { seq, status: sold.status, seats: sold.seats.into() });
    }

    /// Whether a booking that the journal tells of lives here.
    pub fn is_live(&self, id: Uuid) -> bool {
        self.rows.get(&id).is_none_or(|row| row.status != Released)
    }

    /// Compares. Answers how many bookings changed after the sale was closed, of which a journal need not hear.
    pub fn compare(&self, line: &Line, findings: &mut Findings) -> u64 {
        findings.over(Rule::Bookings, self.rows.len() as u64);
        self.alone(line, findings);
        if !line.is_judged() {
            return 0;
        }
        let mut later = 0;
        for (id, row) in &self.rows {
            match line.seats.find(*id) {
                Some(told) => later += u64::from(self.same(*id, row, told, line, findings)),
                None if row.status == Released => {}
                None => Self::unheard(*id, row, line, findings),
            }
        }
        for told in line.seats.bookings() {
            if !self.rows.contains_key(&told.id) && told.told.0 < self.asked - SKEW_MS {
                let id = told.id;
                findings.add(Rule::Bookings, None, || {
                    format!("PostgreSQL has no booking {id}, and the journal has")
                });
            }
        }
        later
    }

    /// What needs no journal: no seat and no grant is in two bookings.
    fn alone(&self, line: &Line, findings: &mut Findings) {
        let mut owners: Vec<Option<Uuid>> = vec![None; line.seats.count()];
        for (id, row) in self.rows.iter().filter(|(_, row)| row.status != Released) {
            for seat in &row.seats {
                let Some(owner) = owners.get_mut(*seat as usize) else {
                    findings.add(Rule::Seats, None, || {
                        format!("booking {id} has seat {seat}, which is none of the plan's")
                    });
                    continue;
                };
                if let Some(other) = owner.replace(*id) {
                    findings.add(Rule::Seats, None, || {
                        format!("seat {seat} was sold twice: bookings {other} and {id}")
                    });
                }
            }
        }
        let mut spent: Vec<(u64, Uuid)> =
            self.rows.iter().filter_map(|(id, row)| Some((row.seq?, *id))).collect();
        spent.sort_unstable();
        for pair in spent.windows(2).filter(|pair| pair[0].0 == pair[1].0) {
            let [(seq, one), (_, other)] = [pair[0], pair[1]];
            findings.add(Rule::Seats, None, || format!("place {seq} has two bookings, {one} and {other}"));
        }
        for (seq, id) in spent.iter().filter(|(seq, _)| line.is_judged() && line.places.stage(*seq).is_none())
        {
            findings
                .add(Rule::Bookings, None, || format!("booking {id} is of place {seq}, which nobody drew"));
        }
    }

    /// One that both have. Whether it changed since the sale was closed.
    fn same(&self, id: Uuid, row: &Row, told: &Booked, line: &Line, findings: &mut Findings) -> bool {
        let mut known = told.seats().to_vec();
        known.sort_unstable();
        if !known.is_empty() && *known != *row.seats {
            findings.add(Rule::Bookings, None, || {
                format!(
                    "booking {id} has the seats {:?} in PostgreSQL and {known:?} in the journal",
                    row.seats
                )
            });
        }
        if told.seq.is_some() && told.seq != row.seq {
            findings.add(Rule::Bookings, None, || format!("booking {id} is of another place in the journal"));
        }
        if row.status == told.status || told.told.1 >= self.asked - SKEW_MS {
            return false;
        }
        // A hold is confirmed or runs out, a booking is given back, or is paid late; none is ever held again.
        let may_follow = row.status != Held;
        if may_follow && line.phase == Some(Phase::Closed) {
            return true;
        }
        let is_put_right = told.is_live() && row.status == Released && line.seats.is_put_right(told)
            || told.status == Held && row.status == Confirmed && line.seats.held() == 0;
        if !is_put_right {
            let (here, there) = (row.status.as_str(), told.status.as_str());
            findings.add(Rule::Bookings, None, || {
                format!("booking {id} is {here} in PostgreSQL and {there} in the journal")
            });
        }
        false
    }

    /// A live one that the journal was not told of: its seats at least were found out.
    fn unheard(id: Uuid, row: &Row, line: &Line, findings: &mut Findings) {
        let is_found_out = row.seats.iter().all(|seat| line.seats.is_taken(*seat));
        let was_granted = row.seq.and_then(|seq| line.places.stage(seq));
        if !is_found_out || !matches!(was_granted, Some(Stage::Granted | Stage::Booked)) {
            findings.add(Rule::Bookings, None, || {
                format!("booking {id} is in PostgreSQL, and the journal has none such")
            });
        }
    }
}
