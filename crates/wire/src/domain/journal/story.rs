//! What became of one place, in words with times: for its visitor, and for whoever answers his complaint.

use super::entry::{Admitted, Change, Entry};
use crate::domain::{booking::BookingStatus, ids::Seq, line::Position, place::LapseReason, place::Stage};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

/// Something that happened to a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, by the line's clock.
    pub at: Timestamp,
    /// What, in a word.
    pub what: &'static str,
    /// The same for people.
    pub words: String,
}

/// One place's life so far.
#[derive(Clone, Debug)]
pub struct Story {
    /// The place.
    pub seq: Seq,
    /// The line's life in which it was drawn, or found again; 0 before that was heard of.
    pub epoch: u64,
    /// How it stands.
    pub stage: Stage,
    /// Its bookings.
    pub bookings: Vec<Uuid>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Story {
    /// Of a place of which nothing is known yet.
    pub fn new(seq: Seq) -> Self {
        Self { seq, epoch: 0, stage: Stage::Waiting, bookings: Vec::new(), events: Vec::new() }
    }

    /// Takes in what an entry says of the place. Entries come in order.
    pub fn hear(&mut self, position: Position, entry: &Entry) {
        let mut told = Told { story: self, at: time(entry.at) };
        told.comes(position, entry);
        told.turn(entry);
        told.books(entry);
    }

    /// Whether a change is of a booking of this place.
    fn owns(&self, change: &Change) -> bool {
        change.seq == Some(self.seq) || change.booking.is_some_and(|id| self.bookings.contains(&id))
    }
}

struct Told<'a> {
    story: &'a mut Story,
    at: Timestamp,
}

impl Told<'_> {
    fn tell(&mut self, stage: Stage, what: &'static str, words: impl Into<String>) {
        self.story.stage = stage;
        self.story.events.push(Event { at: self.at, what, words: words.into() });
    }

    fn comes(&mut self, position: Position, entry: &Entry) {
        let seq = self.story.seq;
        if entry.drawn.iter().any(|(first, last)| (*first..=*last).contains(&seq)) {
            self.story.epoch = position.epoch;
            let words = match entry.again.iter().find(|(new, ..)| *new == seq) {
                Some((_, before, _)) if *before > 0 => {
                    format!("drew place {seq}; the place before it, {before}, was over")
                }
                _ => format!("drew place {seq}"),
            };
            self.tell(Stage::Waiting, "drawn", words);
        }
        if entry.found.contains(&seq) {
            self.story.epoch = position.epoch;
            self.tell(Stage::Waiting, "found", format!("came back to place {seq} by its token"));
        }
        if entry.returned.contains(&seq) {
            self.tell(Stage::Returned, "returned", "came back, and is served ahead of the line");
        }
    }

    fn turn(&mut self, entry: &Entry) {
        let seq = self.story.seq;
        if let Some((_, reason)) = entry.lapsed.iter().find(|(lapsed, _)| *lapsed == seq) {
            let (stage, what, words) = match reason {
                LapseReason::Missed => {
                    (Stage::Away, "missed", "the turn was not used in time; the place is kept, once")
                }
                LapseReason::Expired => (Stage::Ended, "expired", "the time to book was up"),
                LapseReason::Closed => (Stage::Ended, "closed", "the sale was closed"),
                LapseReason::Left => (Stage::Ended, "left", "gave the place up"),
            };
            self.tell(stage, what, words);
        }
        if entry.away.contains(&seq) {
            let words = "was passed over: nobody was there when the turn came; the place is kept";
            self.tell(Stage::Away, "away", words);
        }
        if let Some(Admitted { turn, returned, .. }) = entry.admitted.iter().find(|grant| grant.seq == seq) {
            let which = if *turn == 0 { "" } else { " a second time" };
            let ahead = if *returned { ", ahead of the line" } else { "" };
            let (claim, deadline) = (time(entry.claim), time(entry.deadline));
            let words = format!(
                "was admitted{which}{ahead}; to be used before {claim}, time to book until {deadline}"
            );
            self.tell(Stage::Granted, "admitted", words);
        }
        if entry.claimed.contains(&seq) {
            self.tell(Stage::Granted, "claimed", "used the turn for the first time");
        }
        if entry.removed.contains(&seq) {
            self.tell(Stage::Ended, "removed", "was removed by the operator");
        } else if entry.left.contains(&seq) {
            self.tell(Stage::Ended, "left", "gave the place up");
        }
        if self.story.stage == Stage::Granted && entry.shifted != 0 && entry.admitted.is_empty() {
            let words =
                format!("nobody could book for a while: {} s were added to the turn", entry.shifted / 1000);
            self.tell(Stage::Granted, "shifted", words);
        }
    }

    fn books(&mut self, entry: &Entry) {
        // Where only a hold is put right, no seats are told, and nothing that anyone heard of has changed.
        let is_news = |change: &&Change| !change.seats.is_empty() || change.status == BookingStatus::Released;
        for change in entry.booked.iter().chain(&entry.freed).filter(is_news) {
            let Some(id) = change.booking.filter(|_| self.story.owns(change)) else { continue };
            if !self.story.bookings.contains(&id) {
                self.story.bookings.push(id);
            }
            let seats = match change.seats.len() {
                0 => "its seats".into(),
                1 => "1 seat".into(),
                count => format!("{count} seats"),
            };
            let (what, words) = match change.status {
                BookingStatus::Held => ("held", format!("booking {id}: {seats}, held until paid")),
                BookingStatus::Confirmed => ("booked", format!("booking {id}: {seats}, confirmed")),
                BookingStatus::Released => ("released", format!("booking {id}: {seats}, free again")),
            };
            self.tell(Stage::Booked, what, words);
        }
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(seq: Seq, entries: &[&str]) -> Story {
        let mut story = Story::new(seq);
        for (n, entry) in (1..).zip(entries) {
            story.hear(Position { epoch: 1, n }, &serde_json::from_str(entry).unwrap());
        }
        story
    }

    const BOOKING: &str = "0199aaaa-0000-7000-8000-000000000001";

    #[test]
    fn a_place_from_its_draw_to_its_booking_and_nobody_elses() {
        let booked = format!(
            r#"{{"at":5000,"booked":[{{"seq":7,"booking":"{BOOKING}","status":"held","seats":[1,2]}}]}}"#
        );
        let freed =
            format!(r#"{{"at":6000,"freed":[{{"booking":"{BOOKING}","status":"released","seats":[1,2]}}]}}"#);
        let entries = [
            r#"{"at":1000,"drawn":[[6,8]],"again":[[7,3,0]]}"#,
            r#"{"at":2000,"admitted":[{"seq":6,"turn":0,"returned":false}],"away":[7],"deadline":9000,"claim":8000}"#,
            r#"{"at":3000,"returned":[7]}"#,
            r#"{"at":4000,"admitted":[{"seq":7,"turn":0,"returned":true}],"deadline":9000,"claim":8000}"#,
            r#"{"at":4500,"claimed":[7]}"#,
            &booked,
            &freed,
        ];
        let story = hear(7, &entries);
        let what: Vec<_> = story.events.iter().map(|event| event.what).collect();
        assert_eq!(what, ["drawn", "away", "returned", "admitted", "claimed", "held", "released"]);
        assert_eq!((story.stage, story.epoch, story.bookings.len()), (Stage::Booked, 1, 1));
        assert!(story.events[0].words.contains("the place before it, 3"), "{:?}", story.events);
        assert_eq!(story.events[3].at.to_string(), "1970-01-01T00:00:04Z");
        assert!(story.events[3].words.contains("ahead of the line"), "{:?}", story.events);
        assert_eq!(hear(8, &entries).events.len(), 1);
        assert_eq!(hear(9, &entries).events, []);
    }

    #[test]
    fn a_place_that_came_to_nothing() {
        let reasons = |reason: &str| hear(1, &[&format!(r#"{{"at":1,"lapsed":[[1,"{reason}"]]}}"#)]);
        assert_eq!(reasons("missed").stage, Stage::Away);
        for reason in ["expired", "closed", "left"] {
            assert_eq!(reasons(reason).stage, Stage::Ended);
        }
        assert_eq!(hear(1, &[r#"{"at":1,"left":[1]}"#]).events[0].what, "left");
        assert_eq!(hear(1, &[r#"{"at":1,"left":[1],"removed":[1]}"#]).events[0].what, "removed");
    }
}
