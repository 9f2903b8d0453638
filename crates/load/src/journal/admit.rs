//! What a tick admitted, held against how the line stood: order, rate, turns at once.

use super::{
    findings::{Findings, Rule},
    line::{Grant, Line},
};
use wire::domain::{journal::Entry, phase::Phase, place::Stage};

impl Line {
    /// A tick that went through the head of the line.
    pub(super) fn admit(&mut self, entry: &Entry, findings: &mut Findings) {
        self.order(entry, findings);
        let count = entry.admitted.len();
        findings.over(Rule::Admission, count as u64);
        findings.over(Rule::Turns, count as u64);
        if count > 0 {
            if let Some(phase) = self.phase.filter(|phase| *phase != Phase::Open) {
                findings.add(Rule::Admission, None, || {
                    format!("{count} were admitted while the sale was {phase}")
                });
            }
            self.within(entry, findings);
        }
        for grant in &entry.admitted {
            if self.places.turn(grant.seq) != grant.turn {
                findings.add(Rule::Places, None, || {
                    format!("place {} got turn {} out of turn", grant.seq, grant.turn)
                });
            }
            self.places.set(grant.seq, Stage::Granted);
            let (deadline, claim) = (entry.deadline - self.shifted, entry.claim - self.shifted);
            self.grants.insert(grant.seq, Grant { deadline, claim: Some(claim) });
        }
        entry.away.iter().for_each(|seq| self.places.set(*seq, Stage::Away));
    }

    /// Whoever was served, or passed over, stood first: of those that returned, and then of the line.
    fn order(&mut self, entry: &Entry, findings: &mut Findings) {
        let served = entry.admitted.iter().map(|grant| grant.seq);
        findings.over(Rule::Order, (entry.admitted.len() + entry.away.len()) as u64);
        if !entry.admitted.is_sorted_by_key(|grant| (!grant.returned, grant.seq)) {
            findings.add(Rule::Order, None, || "turns were not given in the order of places".into());
        }
        let (mut ahead, mut line) = (Vec::new(), Vec::new());
        for seq in served.chain(entry.away.iter().copied()) {
            match self.places.stage(seq) {
                Some(Stage::Returned) => ahead.push(seq),
                Some(Stage::Waiting) => line.push(seq),
                _ => findings.add(Rule::Places, None, || format!("it was served, and {}", self.stands(seq))),
            }
        }
        for grant in &entry.admitted {
            let returned = self.places.stage(grant.seq) == Some(Stage::Returned);
            if returned != grant.returned {
                findings.add(Rule::Order, None, || {
                    format!("place {} was served from the wrong queue", grant.seq)
                });
            }
        }
        ahead.sort_unstable();
        line.sort_unstable();
        let first = self.places.returned.iter().copied();
        let passed = first.take(if line.is_empty() { ahead.len() } else { usize::MAX });
        if let Some(seq) = passed.into_iter().find(|seq| ahead.binary_search(seq).is_err()) {
            findings.add(Rule::Order, None, || {
                format!("place {seq} had returned, and a place was served that stood after it")
            });
        }
        let head = self.places.head(line.len());
        if let Some(seq) = head.into_iter().find(|seq| line.binary_search(seq).is_err()) {
            findings.add(Rule::Order, None, || {
                let last = line.last().copied().unwrap_or(seq);
                format!("place {seq} waited, and place {last} behind it was served")
            });
        }
    }

    /// What a tick may admit: by the rate, by `max_active`, by the seats.
    fn within(&mut self, entry: &Entry, findings: &mut Findings) {
        let count = entry.admitted.len();
        if let Some(burst) = self.pace.tick(entry.at, count, self.goes_on) {
            findings.add(Rule::Admission, None, || burst);
        }
        let live = (self.grants.len() as u64).saturating_sub(self.unheard) + count as u64;
        let (free, held) = (self.seats.free(), self.seats.held());
        if live as i64 > free {
            findings.add(Rule::Admission, None, || {
                format!("{live} turns lived at once, for {} free seats", free.max(0))
            });
        }
        let Some(settings) = &self.settings else {
            findings
                .add(Rule::Admission, None, || "turns were given before any settings were in force".into());
            return;
        };
        if live + held > settings.max_active {
            findings.add(Rule::Admission, None, || {
                format!(
                    "{live} turns and {held} held bookings lived at once, and max_active is {}",
                    settings.max_active
                )
            });
        }
        let given = (entry.deadline - entry.at, entry.claim - entry.at);
        if given != (settings.grant_ttl_ms, settings.claim_ms) {
            findings.add(Rule::Turns, None, || {
                format!(
                    "turns were given for {} and {} ms, and the settings say {} and {}",
                    given.0, given.1, settings.grant_ttl_ms, settings.claim_ms
                )
            });
        }
    }
}
