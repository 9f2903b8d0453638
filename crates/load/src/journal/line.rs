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
    pub(super) shifted: i64,
    /// The last tick may have done as much as one call may: the next goes on with it, at once.
    pub(super) goes_on: bool,
    /// Grants that may have been spent by bookings which the line never heard of before it was lost.
    pub(super) unheard: u64,
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
        // What was due are those that lapsed and of those that live some that are being redeemed, which the journal does not tell.
        let due = entry.lapsed.len() + self.grants.len();
        if !entry.admitted.is_empty() || !entry.away.is_empty() {
            self.admit(entry, findings);
        }
        if !entry.admitted.is_empty() || !entry.lapsed.is_empty() {
            let lapsed_all = !entry.lapsed.is_empty() && due >= CALL_MAX;
            self.goes_on = entry.admitted.len() >= CALL_MAX || lapsed_all;
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
    pub(super) fn stands(&self, seq: Seq) -> String {
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
