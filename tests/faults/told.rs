//! What visitors were told, and whether they still have it: each place at its number, each booking in PostgreSQL. Nothing
//! here is shared with `waitroom check`.

use load::history::{Entry, Event, read};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    path::PathBuf,
};
use uuid::Uuid;
use wire::{
    domain::{
        ids::Seq,
        place::{LapseReason, Stage},
    },
    protocol::server::PlaceState,
};

/// What became of a place before its visitor's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// He waits, as far as he knows.
    Waits,
    /// He had a turn, which may have ended unseen; or he said that he goes.
    MayHaveEnded,
    Ended,
}

/// A visitor's last place.
#[derive(Clone, Debug)]
struct Place {
    seq: Seq,
    fate: Fate,
}

#[derive(Default)]
struct Visitor {
    id: Option<String>,
    place: Option<Place>,
    /// Connections whose join nobody has answered.
    unanswered: HashSet<u32>,
    /// One was never answered since he was last told how he stands: it may have brought him back for a second turn, or
    /// drawn a place.
    unsure: bool,
}

/// All that a crowd was told.
#[derive(Default)]
pub struct Told {
    visitors: HashMap<u32, Visitor>,
    pub places: usize,
    pub bookings: BTreeSet<Uuid>,
    /// What was broken already before their eyes.
    faults: Vec<String>,
    /// Whose each number is.
    owners: HashMap<Seq, u32>,
}

impl Told {
    pub fn of(histories: &[PathBuf]) -> Self {
        let mut told = Self::default();
        for history in histories {
            read(history, |_, entry| told.take(&entry)).unwrap();
        }
        told
    }

    /// What a visitor said or heard.
    pub fn take(&mut self, Entry(_, number, connection, event): &Entry) {
        let visitor = self.visitors.entry(*number).or_default();
        match event {
            Event::Join { .. } => _ = visitor.unanswered.insert(*connection),
            Event::Joined { visitor: id, seq, state, rank, .. } => {
                visitor.unanswered.remove(connection);
                visitor.id = visitor.id.take().or(id.clone());
                let Some(seq) = *seq else { return };
                match &visitor.place {
                    Some(place) if place.seq == seq && place.fate == Fate::Ended => {
                        self.faults.push(format!("visitor {number}: place {seq} had ended and is back"));
                    }
                    Some(Place { seq: before, fate: Fate::Waits }) if *before != seq && !visitor.unsure => {
                        self.faults
                            .push(format!("visitor {number} had place {before} and came back to {seq}"));
                    }
                    _ => {}
                }
                if self.owners.insert(seq, *number).is_some_and(|other| other != *number) {
                    self.faults.push(format!("place {seq} was given twice, to visitor {number} too"));
                }
                let is_new = visitor.place.as_ref().is_none_or(|place| place.seq != seq);
                if is_new {
                    self.places += 1;
                    visitor.place = Some(Place { seq, fate: Fate::Waits });
                }
                visitor.unsure = false;
                // Who comes back to the head of the line may have missed a turn, and may miss the next one unseen too.
                if *state != PlaceState::Waiting || !is_new && *rank == 0 {
                    visitor.now(Fate::MayHaveEnded);
                }
            }
            Event::Granted { .. } | Event::Leave => visitor.now(Fate::MayHaveEnded),
            Event::Lapsed(LapseReason::Missed) => {}
            Event::Lapsed(_) => visitor.now(Fate::Ended),
            Event::Booking { booking, .. } => {
                self.bookings.insert(*booking);
                visitor.now(Fate::Ended);
            }
            Event::Cut(_) => visitor.unsure |= visitor.unanswered.remove(connection),
            _ => {}
        }
    }

    /// What they were told and do not have.
    pub fn lost(&self, records: &HashMap<String, (Stage, Seq)>, bookings: &BTreeSet<Uuid>) -> Vec<String> {
        let mut faults = self.faults.clone();
        let missing = self.bookings.difference(bookings);
        faults.extend(missing.map(|id| format!("booking {id} was told, and PostgreSQL does not have it")));
        for (number, visitor) in &self.visitors {
            let (Some(place), Some(id)) = (&visitor.place, &visitor.id) else { continue };
            let fault = match (place.fate, records.get(id)) {
                (Fate::Waits, None) => "Redis does not have it".to_owned(),
                (Fate::Waits, Some((_, seq))) if *seq != place.seq && !visitor.unsure => {
                    format!("Redis has {seq} in its stead")
                }
                (Fate::Ended, Some((stage @ (Stage::Waiting | Stage::Returned | Stage::Away), seq)))
                    if *seq == place.seq =>
                {
                    format!("it had ended, and Redis has it {stage:?}")
                }
                _ => continue,
            };
            faults.push(format!("visitor {number}, place {}: {fault}", place.seq));
        }
        faults
    }
}

impl Visitor {
    fn now(&mut self, fate: Fate) {
        if let Some(place) = self.place.as_mut().filter(|place| place.fate != Fate::Ended) {
            place.fate = fate;
        }
    }
}
