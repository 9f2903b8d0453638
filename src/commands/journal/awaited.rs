//! What PostgreSQL has of a sale, and its journal may be about to hear of.

use load::journal::Sold;
use std::collections::HashMap;
use uuid::Uuid;
use wire::domain::{
    booking::BookingStatus::{self, Released},
    journal::Entry,
    phase::Phase,
};

/// A booking: how it stands in PostgreSQL, and whether the journal has said so last.
struct Row {
    status: BookingStatus,
    heard: bool,
}

/// Bookings as they stand, and the sale's end.
pub(super) struct Awaited {
    bookings: HashMap<Uuid, Row>,
    unheard: usize,
    closing: bool,
}

impl Awaited {
    pub fn new(sold: &[Sold], is_closed: bool) -> Self {
        // A released one may have come and gone unheard.
        let row = |sold: &Sold| Row { status: sold.status, heard: sold.status == Released };
        let bookings: HashMap<_, _> = sold.iter().map(|sold| (sold.booking, row(sold))).collect();
        let unheard = bookings.values().filter(|row| !row.heard).count();
        Self { bookings, unheard, closing: is_closed }
    }

    /// The journal's next entry, as it was written; only what it may tell of this is read.
    pub fn hear(&mut self, text: &str) {
        if ["\"booked\"", "\"freed\"", "\"phase\""].iter().any(|name| text.contains(name))
            && let Ok(entry) = serde_json::from_str(text)
        {
            self.note(&entry);
        }
    }

    fn note(&mut self, entry: &Entry) {
        self.closing &= entry.phase != Some(Phase::Closed);
        for change in entry.booked.iter().chain(&entry.freed) {
            let Some(row) = change.booking.and_then(|id| self.bookings.get_mut(&id)) else { continue };
            let heard = row.status == change.status;
            self.unheard = self.unheard + usize::from(row.heard) - usize::from(heard);
            row.heard = heard;
        }
    }

    /// Whether the journal has it all.
    pub fn is_heard(&self) -> bool {
        self.unheard == 0 && !self.closing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::domain::{booking::BookingStatus::Confirmed, journal::Change};

    fn sold(booking: Uuid, status: BookingStatus) -> Sold {
        let created_at = jiff::Timestamp::UNIX_EPOCH;
        Sold { booking, grant: None, seats: Vec::new(), status, created_at }
    }

    fn told(booking: Uuid, status: BookingStatus) -> String {
        let change = Change { seq: None, booking: Some(booking), status, seats: Vec::new() };
        match status {
            Released => text(&Entry { freed: vec![change], ..Entry::default() }),
            _ => text(&Entry { booked: vec![change], ..Entry::default() }),
        }
    }

    fn text(entry: &Entry) -> String {
        serde_json::to_string(entry).unwrap()
    }

    #[test]
    fn a_booking_is_heard_as_it_stands_now() {
        let [kept, given_back, unseen] = [1, 2, 3].map(Uuid::from_u128);
        let all = [sold(kept, Confirmed), sold(given_back, Released), sold(unseen, Released)];
        let mut awaited = Awaited::new(&all, false);
        assert!(!awaited.is_heard(), "nobody told of the first");
        awaited.hear(&told(kept, Confirmed));
        assert!(awaited.is_heard());
        awaited.hear(&told(given_back, Confirmed));
        assert!(!awaited.is_heard(), "that it was given back is still to come");
        awaited.hear(&told(given_back, Released));
        awaited.hear(&told(Uuid::from_u128(9), Confirmed));
        assert!(awaited.is_heard());
    }

    #[test]
    fn a_closed_sale_is_heard_when_its_end_is() {
        let mut awaited = Awaited::new(&[], true);
        awaited.hear(&text(&Entry { phase: Some(Phase::Open), ..Entry::default() }));
        assert!(!awaited.is_heard());
        awaited.hear(&text(&Entry { phase: Some(Phase::Closed), ..Entry::default() }));
        assert!(awaited.is_heard());
    }
}
