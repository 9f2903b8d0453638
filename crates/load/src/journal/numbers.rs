//! How many came, were admitted, were passed over, and when: what a report tells, and its charts show.

use super::line::Line;
use serde::Serialize;
use wire::domain::{
    booking::BookingStatus,
    journal::Entry,
    place::{LapseReason, Stage},
};

/// Points of a chart at most.
const BUCKETS_MAX: usize = 600;

/// Numbers of a whole sale.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Numbers {
    /// Lives of the line.
    pub lives: u64,
    /// Places drawn.
    pub drawn: u64,
    /// Of those, places of visitors who had had one before.
    pub drawn_again: u64,
    /// Places that came back by their tokens.
    pub found: u64,
    /// Turns given.
    pub admitted: u64,
    /// Of those, ahead of the line, to visitors who had come back.
    pub admitted_returned: u64,
    /// Places passed over, since nobody was there.
    pub passed_over: u64,
    /// Visitors who came back to places kept for them.
    pub returned: u64,
    /// Turns that were not used in time, the place being kept.
    pub missed: u64,
    /// Turns whose time was up.
    pub expired: u64,
    /// Turns that ended with the sale.
    pub ended_with_sale: u64,
    /// Turns used for the first time.
    pub claimed: u64,
    /// Places given up.
    pub left: u64,
    /// Places that the operator ended.
    pub removed: u64,
    /// Bookings made.
    pub bookings: u64,
    /// Of those, given back or run out.
    pub released: u64,
    /// Bookings that changed after the sale was closed, of which a journal need not hear.
    pub changed_later: u64,
    /// Seats that are booked or held at the end.
    pub seats_sold: u64,
    /// Seats of the plan.
    pub seats: u64,
    /// The most turns that lived at once.
    pub live_max: u64,
    /// The most places that waited at once.
    pub waiting_max: u64,
    /// Places that waited at the end.
    pub waiting: u64,
    /// Places kept for the absent at the end.
    pub away: u64,
    /// What was added to all deadlines, in ms.
    pub shifted_ms: i64,
    /// The first entry's time, in ms.
    pub began: i64,
    /// The last one's.
    pub ended: i64,
}

/// What happened within one stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bucket {
    /// Places drawn.
    pub drawn: u64,
    /// Turns given.
    pub admitted: u64,
    /// Places passed over.
    pub passed_over: u64,
    /// Turns missed or expired.
    pub lapsed: u64,
    /// Places that waited at its end.
    pub waiting: u64,
    /// Seats booked or held at its end.
    pub sold: u64,
    /// How many places were drawn before the last that was served in the line's order.
    pub reached: u64,
    /// The highest rate that was in force.
    pub rate: f64,
}

/// The whole time in equal stretches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// How long one is, in seconds.
    pub bucket_s: f64,
    /// Each, in order.
    pub buckets: Vec<Bucket>,
}

/// Counts.
pub(super) struct Counter {
    pub numbers: Numbers,
    width_ms: i64,
    buckets: Vec<Bucket>,
}

impl Counter {
    pub fn new(seats: usize) -> Self {
        let numbers = Numbers { seats: seats as u64, ..Numbers::default() };
        Self { numbers, width_ms: 1000, buckets: Vec::new() }
    }

    /// After the line has taken the entry in.
    pub fn count(&mut self, entry: &Entry, line: &Line) {
        let n = &mut self.numbers;
        if n.began == 0 {
            n.began = entry.at;
        }
        n.ended = n.ended.max(entry.at);
        let drawn: u64 = entry.drawn.iter().map(|(first, last)| last.saturating_sub(*first) + 1).sum();
        n.lives += u64::from(entry.installed.is_some());
        n.drawn += drawn;
        n.drawn_again += entry.again.iter().filter(|(_, before, _)| *before > 0).count() as u64;
        n.found += entry.found.len() as u64;
        n.returned += entry.returned.len() as u64;
        n.admitted += entry.admitted.len() as u64;
        n.admitted_returned += entry.admitted.iter().filter(|grant| grant.returned).count() as u64;
        n.passed_over += entry.away.len() as u64;
        n.claimed += entry.claimed.len() as u64;
        n.left += entry.left.iter().filter(|seq| !entry.removed.contains(seq)).count() as u64;
        n.removed += entry.removed.len() as u64;
        n.shifted_ms = n.shifted_ms.saturating_add(entry.shifted);
        for (_, reason) in &entry.lapsed {
            *match reason {
                LapseReason::Missed => &mut n.missed,
                LapseReason::Closed => &mut n.ended_with_sale,
                LapseReason::Expired | LapseReason::Left => &mut n.expired,
            } += 1;
        }
        n.live_max = n.live_max.max(line.grants.len() as u64);
        n.waiting = line.places.waiting();
        n.waiting_max = n.waiting_max.max(n.waiting);
        self.bucket(entry, drawn, line);
    }

    fn bucket(&mut self, entry: &Entry, drawn: u64, line: &Line) {
        let (waiting, sold) = (line.places.waiting(), line.seats.taken() as u64);
        let at = loop {
            // A clock that went back does not take the chart with it.
            let at = ((entry.at - self.numbers.began).max(0) / self.width_ms) as usize;
            if at < BUCKETS_MAX {
                break at;
            }
            self.width_ms *= 2;
            self.buckets = self.buckets.chunks(2).map(merged).collect();
        };
        let last = self.buckets.last().copied().unwrap_or_default();
        while self.buckets.len() <= at {
            let (waiting, sold, rate, reached) = (last.waiting, last.sold, last.rate, last.reached);
            self.buckets.push(Bucket { waiting, sold, rate, reached, ..Bucket::default() });
        }
        let bucket = &mut self.buckets[at];
        bucket.drawn += drawn;
        bucket.admitted += entry.admitted.len() as u64;
        bucket.passed_over += entry.away.len() as u64;
        bucket.lapsed += entry.lapsed.len() as u64;
        (bucket.waiting, bucket.sold) = (waiting, sold);
        let served = entry.admitted.iter().filter(|grant| !grant.returned);
        if let Some(last) = served.map(|grant| line.places.ordinal(grant.seq)).max() {
            bucket.reached = last;
        }
        let rate = line.settings.as_ref().map_or(0.0, |settings| settings.rate);
        bucket.rate = if entry.settings.is_some() { rate } else { bucket.rate.max(rate) };
    }

    /// All told.
    pub fn finish(mut self, line: &Line) -> (Numbers, Series) {
        let n = &mut self.numbers;
        n.bookings = line.seats.bookings().len() as u64;
        let released = line.seats.bookings().iter().filter(|booked| booked.status == BookingStatus::Released);
        n.released = released.count() as u64;
        n.seats_sold = line.seats.taken() as u64;
        n.away = line.places.count(Stage::Away);
        (self.numbers, Series { bucket_s: self.width_ms as f64 / 1000.0, buckets: self.buckets })
    }
}

fn merged(pair: &[Bucket]) -> Bucket {
    pair[1..].iter().fold(pair[0], |sum, next| Bucket {
        drawn: sum.drawn + next.drawn,
        admitted: sum.admitted + next.admitted,
        passed_over: sum.passed_over + next.passed_over,
        lapsed: sum.lapsed + next.lapsed,
        rate: sum.rate.max(next.rate),
        ..*next
    })
}
