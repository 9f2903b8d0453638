//! What a crowd has seen.

use super::{Crowded, visitor::Stage};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Since it began, unless it says otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Now.
    pub open: u64,
    pub waiting: u64,
    pub away: u64,
    /// Joined, or let in where nobody joins.
    pub came: u64,
    pub returned: u64,
    pub churned: u64,
    pub ranks: u64,
    /// Of all their messages.
    pub rank_bytes: u64,
    pub pings: u64,
    pub granted: u64,
    pub lapsed: u64,
    /// Told to connect elsewhere.
    pub sent_on: u64,
    /// Upgrades that were answered with something else.
    pub refused: u64,
    /// Sockets of visitors who were in, and did not want to go.
    pub dropped: u64,
    /// Ranks that rose on a connection, and places further behind than before the visitor went.
    pub rose: u64,
    pub set_back: u64,
    pub others: u64,
    /// Since the order to come, or the cut: until the last was in; and how long each took, from his connect or from the cut
    /// (median, 99 %, longest).
    pub coming_ms: u64,
    pub in_ms: [u64; 3],
    /// Since the order to watch: the oldest rank that anyone looked at, in ms; and of those near the head.
    pub oldest_ms: u64,
    pub oldest_near_ms: u64,
    /// Between two ranks on a socket: median and 99 %.
    pub age_ms: [u64; 2],
    pub troubles: BTreeMap<String, u64>,
}

impl Seen {
    /// Of several crowds.
    pub fn all(seen: &[Self]) -> Self {
        let mut all = Self::default();
        for one in seen {
            let sums = [
                (&mut all.open, one.open),
                (&mut all.waiting, one.waiting),
                (&mut all.away, one.away),
                (&mut all.came, one.came),
                (&mut all.returned, one.returned),
                (&mut all.churned, one.churned),
                (&mut all.ranks, one.ranks),
                (&mut all.rank_bytes, one.rank_bytes),
                (&mut all.pings, one.pings),
                (&mut all.granted, one.granted),
                (&mut all.lapsed, one.lapsed),
                (&mut all.sent_on, one.sent_on),
                (&mut all.refused, one.refused),
                (&mut all.dropped, one.dropped),
                (&mut all.rose, one.rose),
                (&mut all.set_back, one.set_back),
                (&mut all.others, one.others),
            ];
            sums.into_iter().for_each(|(sum, more)| *sum += more);
            all.coming_ms = all.coming_ms.max(one.coming_ms);
            all.oldest_ms = all.oldest_ms.max(one.oldest_ms);
            all.oldest_near_ms = all.oldest_near_ms.max(one.oldest_near_ms);
            // Of the slowest of them: what is said of all must hold for each.
            (0..3).for_each(|i| all.in_ms[i] = all.in_ms[i].max(one.in_ms[i]));
            (0..2).for_each(|i| all.age_ms[i] = all.age_ms[i].max(one.age_ms[i]));
            one.troubles
                .iter()
                .for_each(|(why, count)| *all.troubles.entry(why.clone()).or_default() += count);
        }
        all
    }
}

/// What is noted while it goes on.
pub struct Notes {
    seen: Seen,
    pub churned: u64,
    pub pings: u64,
    pub granted: u64,
    pub lapsed: u64,
    pub sent_on: u64,
    pub refused: u64,
    pub dropped: u64,
    pub others: u64,
    began_ms: u32,
    since_cut: bool,
    took: Histogram<u32>,
    ages: Histogram<u32>,
}

impl Default for Notes {
    fn default() -> Self {
        let histogram = || Histogram::new_with_max(3_600_000, 2).unwrap();
        Self {
            seen: Seen::default(),
            churned: 0,
            pings: 0,
            granted: 0,
            lapsed: 0,
            sent_on: 0,
            refused: 0,
            dropped: 0,
            others: 0,
            began_ms: 0,
            since_cut: false,
            took: histogram(),
            ages: histogram(),
        }
    }
}

impl Notes {
    pub fn begin_coming(&mut self, now: u32, since_cut: bool) {
        (self.began_ms, self.since_cut) = (now, since_cut);
        self.took.reset();
    }

    pub fn watch(&mut self) {
        (self.seen.oldest_ms, self.seen.oldest_near_ms) = (0, 0);
        self.ages.reset();
    }

    pub fn came(&mut self, now: u32, took_ms: u32) {
        self.seen.came += 1;
        self.seen.coming_ms = u64::from(now - self.began_ms);
        self.took.saturating_record(if self.since_cut { self.seen.coming_ms } else { took_ms.into() });
    }

    pub fn joined(&mut self, returns: bool, behind: bool) {
        self.seen.returned += u64::from(returns);
        self.seen.set_back += u64::from(behind);
    }

    pub fn ranked(&mut self, age: u32, near: bool, rose: bool, bytes: usize) {
        self.seen.ranks += 1;
        self.seen.rank_bytes += bytes as u64;
        self.seen.rose += u64::from(rose);
        self.ages.saturating_record(age.into());
        self.old(age, near);
    }

    fn old(&mut self, age: u32, near: bool) {
        let oldest = if near { &mut self.seen.oldest_near_ms } else { &mut self.seen.oldest_ms };
        *oldest = (*oldest).max(age.into());
    }

    /// A few reasons, however many troubles.
    pub fn trouble(&mut self, why: &str) {
        let reasons = self.seen.troubles.len();
        match self.seen.troubles.get_mut(why) {
            Some(count) => *count += 1,
            None if reasons < 20 => _ = self.seen.troubles.insert(why.to_owned(), 1),
            None => {}
        }
    }
}

impl Crowded {
    /// All of it, as of now.
    pub(super) fn seen(&mut self) -> Seen {
        let (now, mut counts) = (self.now(), [0; 3]);
        for visitor in &self.visitors {
            let waits = visitor.stage == Stage::Waits;
            counts[0] += u64::from(visitor.fd.is_some());
            counts[1] += u64::from(waits);
            counts[2] += u64::from(visitor.stage == Stage::Away);
            if waits && self.manners.joins {
                self.notes.old(now.saturating_sub(visitor.told_ms), visitor.is_near());
            }
        }
        let (notes, at) = (&self.notes, |of: &Histogram<u32>, share| of.value_at_quantile(share));
        Seen {
            open: counts[0],
            waiting: counts[1],
            away: counts[2],
            churned: notes.churned,
            pings: notes.pings,
            granted: notes.granted,
            lapsed: notes.lapsed,
            sent_on: notes.sent_on,
            refused: notes.refused,
            dropped: notes.dropped,
            others: notes.others,
            in_ms: [0.5, 0.99, 1.0].map(|share| at(&notes.took, share)),
            age_ms: [0.5, 0.99].map(|share| at(&notes.ages, share)),
            ..notes.seen.clone()
        }
    }
}
