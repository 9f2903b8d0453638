//! The line as the journal tells of it: each entry is held against how things stood before it.

use super::{
    findings::{Findings, Rule},
    pace::Pace,
    places::Places,
    possible::NUMBER_MAX,
    seats::Seats,
};
use std::collections::HashMap;
use wire::domain::{
    ids::{SEQS_LEFT_OUT, Seq},
    journal::{Change, Entry, InForce},
    line::Position,
    phase::Phase,
    place::{LapseReason, Stage},
};

/// Admissions of one call of a tick (`store/line/lua/tick.lua`): what is due beyond comes with the next.
const CALL_MAX: usize = 300;

/// A live grant; times as they were given, less what had been added to all deadlines until then.
pub(super) struct Grant {
    pub deadline: i64,
    /// When it counts as missed; nothing once it was used.
    pub claim: Option<i64>,
}

/// All that counts for the next entry.
pub(super) struct Line {
    pub places: Places,
    pub grants: HashMap<Seq, Grant>,
    pub seats: Seats,
    /// Nothing while the line's present life has not told.
    pub phase: Option<Phase>,
    pub settings: Option<InForce>,
    pub pace: Pace,
    /// What was added to all deadlines so far, in ms.
    shifted: i64,
    /// The last tick may have done as much as one call may: the next goes on with it, at once.
    goes_on: bool,
    /// Grants that may have been spent by bookings which the line never heard of before it was lost.
    unheard: u64,
    /// The sale was closed once; that is for good.
    pub closed: bool,
    /// From here on most cannot be judged.
    pub is_blind: bool,
    /// The line began when there was no journal yet.
    pub began_before: bool,
    began: bool,
}

impl Line {
    pub fn new(seats: usize) -> Self {
        Self {
            places: Places::default(),
            grants: HashMap::new(),
            seats: Seats::new(seats),
            phase: None,
            settings: None,
            pace: Pace::default(),
            shifted: 0,
            goes_on: false,
            unheard: 0,
            closed: false,
            is_blind: false,
            began_before: false,
            began: false,
        }
    }

    /// Takes one entry in.
    pub fn apply(&mut self, position: Position, entry: &Entry, findings: &mut Findings) {
        if !self.began {
            self.began = true;
            self.began_before = entry.installed.is_none();
            self.is_blind |= self.began_before;
        }
        if self.is_blind {
            return;
        }
        self.install(entry, findings);
        self.command(entry, findings);
        self.shifted = (self.shifted + entry.shifted).clamp(-NUMBER_MAX, NUMBER_MAX);
        self.lapse(entry, findings);
        if !entry.admitted.is_empty() || !entry.away.is_empty() {
            self.admit(entry, findings);
        }
        if !entry.admitted.is_empty() || !entry.lapsed.is_empty() {
            // How many were due beside those that lapsed, the journal does not tell: what is being redeemed is not told of.
            self.goes_on = entry.admitted.len() >= CALL_MAX || !entry.lapsed.is_empty();
        }
        self.claim(entry, findings);
        self.come(position, entry, findings);
        self.leave(entry, findings);
    }

    /// Whether the journal tells of the line from its beginning.
    pub fn is_judged(&self) -> bool {
        self.began && !self.is_blind
    }

    /// What was wrong with a place, in words that all rules share.
    fn stands(&self, seq: Seq) -> String {
        match self.places.stage(seq) {
            None => format!("place {seq} was never drawn"),
            Some(stage) => format!("place {seq} was {}", word(stage)),
        }
    }

    fn install(&mut self, entry: &Entry, findings: &mut Findings) {
        let Some(installed) = &entry.installed else { return };
        let unheard = self.seats.install(installed, findings);
        self.unheard += (unheard as u64).min(self.grants.len() as u64);
        self.places.another_life();
        self.phase = None;
        let rate = self.settings.as_ref().map_or(0.0, |settings| settings.rate);
        self.pace.restart(rate);
    }

    /// Settings, bookings, and the phase that follows from them.
    fn command(&mut self, entry: &Entry, findings: &mut Findings) {
        if let Some(settings) = &entry.settings {
            if self.settings.as_ref().is_none_or(|before| before.rate != settings.rate) {
                self.pace.restart(settings.rate);
            }
            self.seats.block(&settings.blocked);
            self.settings = Some(settings.clone());
        }
        if !entry.booked.is_empty() || !entry.freed.is_empty() {
            entry.booked.iter().for_each(|change| self.book(change, findings));
            self.seats.change(entry.at, &entry.booked, &entry.freed, findings);
            let spent = entry.booked.iter().filter(|change| change.seq.is_some());
            let heard: usize = spent.map(|change| self.seats.hear(&change.seats)).sum();
            self.unheard = self.unheard.saturating_sub(heard as u64);
            // Whose grant it was that was spent on these, nobody has told.
            entry.freed.iter().for_each(|change| _ = self.seats.hear(&change.seats));
        }
        if let Some(phase) = entry.phase {
            if self.closed && phase != Phase::Closed {
                findings.add(Rule::Admission, None, || format!("the sale was closed, and is {phase} again"));
            }
            self.closed |= phase == Phase::Closed;
            self.phase = Some(phase);
            if phase == Phase::Open {
                self.pace.opens(entry.at);
            }
        }
    }

    /// A booking that spends a grant.
    fn book(&mut self, change: &Change, findings: &mut Findings) {
        let (Some(seq), Some(id)) = (change.seq, change.booking) else { return };
        match self.places.stage(seq) {
            Some(Stage::Granted) => {
                self.grants.remove(&seq);
                self.places.set(seq, Stage::Booked);
            }
            // The turn was lost with the line, and PostgreSQL had the booking when this life began.
            Some(Stage::Waiting | Stage::Returned | Stage::Away)
                if self.seats.were_unheard(&change.seats) =>
            {
                self.places.set(seq, Stage::Booked);
            }
            // It is told until it is heard, so that it may be heard twice.
            Some(Stage::Booked) if self.seats.find(id).is_some_and(|known| known.seq == Some(seq)) => {}
            _ => findings.add(Rule::Seats, None, || {
                format!("booking {id} was made for a turn that was none: {}", self.stands(seq))
            }),
        }
    }

    fn lapse(&mut self, entry: &Entry, findings: &mut Findings) {
        for (seq, reason) in &entry.lapsed {
            let stands = self.stands(*seq);
            let Some(grant) =
                self.grants.remove(seq).filter(|_| self.places.stage(*seq) == Some(Stage::Granted))
            else {
                findings.add(Rule::Turns, None, || format!("a turn lapsed that was none: {stands}"));
                continue;
            };
            let now = entry.at - self.shifted;
            let turn = self.places.turn(*seq);
            let missed = grant.claim.is_some_and(|claim| now >= claim);
            let (is_due, stage) = match reason {
                LapseReason::Missed => (missed && turn == 0, Stage::Away),
                LapseReason::Expired => (now >= grant.deadline || missed && turn > 0, Stage::Ended),
                LapseReason::Closed => (self.phase.is_none_or(|phase| phase == Phase::Closed), Stage::Ended),
                // Who leaves is told of as that.
                LapseReason::Left => (false, Stage::Ended),
            };
            if !is_due {
                let left = grant.claim.unwrap_or(grant.deadline).min(grant.deadline) - now;
                findings.add(Rule::Turns, None, || {
                    format!("place {seq} lost its turn ({}) {left} ms before its time", reason.as_str())
                });
            }
            if *reason == LapseReason::Missed {
                self.places.miss(*seq);
            }
            self.places.set(*seq, stage);
        }
    }

    /// A tick that went through the head of the line.
    fn admit(&mut self, entry: &Entry, findings: &mut Findings) {
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

    fn claim(&mut self, entry: &Entry, findings: &mut Findings) {
        for seq in &entry.claimed {
            let claim = self.grants.get_mut(seq).map(|grant| grant.claim.take());
            if !matches!(claim, Some(Some(_))) {
                findings.add(Rule::Turns, None, || {
                    format!(
                        "a turn was used for the first time that was none, or twice: {}",
                        self.stands(*seq)
                    )
                });
            }
        }
    }

    /// Places drawn, found again, and those whose visitors came back.
    fn come(&mut self, position: Position, entry: &Entry, findings: &mut Findings) {
        let comes = !entry.drawn.is_empty() || !entry.found.is_empty() || !entry.returned.is_empty();
        if comes && self.phase == Some(Phase::Closed) {
            findings.add(Rule::Places, None, || "visitors came into the line of a closed sale".into());
        }
        for (seq, before, _) in entry.again.iter().filter(|(_, before, _)| *before > 0) {
            let stage = self.places.stage(*before);
            let is_over = matches!(stage, Some(Stage::Booked | Stage::Ended))
                || stage == Some(Stage::Granted) && self.unheard > 0;
            if !is_over || !self.places.succeed(*before) {
                findings.add(Rule::Places, None, || {
                    format!("a visitor has two places, {before} and {seq}: {}", self.stands(*before))
                });
            }
        }
        let drawn = entry.drawn.iter().map(|(first, last)| (*first, *last, true));
        let mut new: Vec<(Seq, Seq, bool)> =
            drawn.chain(entry.found.iter().map(|seq| (*seq, *seq, false))).collect();
        new.sort_unstable();
        for (first, last, is_drawn) in new {
            if is_drawn {
                self.draw(position.epoch, first, last, findings)
            } else {
                self.find(first, findings)
            }
        }
        for seq in &entry.returned {
            if self.places.stage(*seq) != Some(Stage::Away) {
                findings.add(Rule::Places, None, || format!("it returned, and {}", self.stands(*seq)));
            }
            self.places.set(*seq, Stage::Returned);
        }
    }

    fn draw(&mut self, epoch: u64, first: Seq, last: Seq, findings: &mut Findings) {
        findings.over(Rule::Places, last.saturating_sub(first) + 1);
        let next = self.places.last_of(epoch) + 1;
        // Another process of Redis that took the line over left seqs out.
        let is_next = first.checked_sub(next).is_some_and(|left_out| left_out % SEQS_LEFT_OUT == 0);
        if !is_next || last >= Places::first_of(epoch + 1) || last < first {
            findings.add(Rule::Places, None, || {
                format!("places {first} to {last} were drawn where place {next} was the next")
            });
        }
        for seq in first..=last {
            // What was once drawn stays as it is.
            if self.places.stage(seq).is_none() && !self.places.add(seq) {
                return;
            }
        }
    }

    /// A place that its owner's token brought back.
    fn find(&mut self, seq: Seq, findings: &mut Findings) {
        findings.over(Rule::Places, 1);
        let stage = self.places.stage(seq);
        if matches!(stage, Some(Stage::Ended | Stage::Booked)) || self.places.is_here(seq) {
            findings
                .add(Rule::Places, None, || format!("it came back by its token, and {}", self.stands(seq)));
            return;
        }
        self.grants.remove(&seq);
        if !self.places.add(seq) {
            findings.add(Rule::Places, None, || format!("place {seq} is no place of this line"));
        }
    }

    fn leave(&mut self, entry: &Entry, findings: &mut Findings) {
        for seq in &entry.left {
            if !matches!(
                self.places.stage(*seq),
                Some(Stage::Waiting | Stage::Returned | Stage::Away | Stage::Granted)
            ) {
                findings.add(Rule::Places, None, || format!("it was given up, and {}", self.stands(*seq)));
            }
            self.grants.remove(seq);
            self.places.set(*seq, Stage::Ended);
        }
    }
}

/// A stage in a word.
pub(super) fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Returned => "waiting ahead of the line",
        Stage::Away => "away",
        Stage::Granted => "at its turn",
        Stage::Booked => "booked",
        Stage::Ended => "over",
    }
}
