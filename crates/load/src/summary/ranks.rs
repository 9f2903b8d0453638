//! How the ranks of some visitors went, in bounded memory: the fewer are kept, the more come.

use crate::facts::Micros;
use serde::Serialize;
use std::collections::BTreeMap;

/// Visitors who are kept at most.
const TRACKS_MAX: usize = 32;
/// Points of one of them: beyond, every other goes.
const POINTS_MAX: usize = 400;

/// The ranks that one visitor was shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Track {
    /// His number in the run.
    pub visitor: u32,
    /// Seconds since the start, and places ahead; null where he was cut off, or his place ended.
    pub points: Vec<(f64, Option<u64>)>,
}

/// The sample while it is drawn. Who belongs to it depends on nothing but who was there, so that the parts of a run
/// give the same one in whatever order they are read.
pub(super) struct Ranks {
    origin: Micros,
    every: u32,
    mask: u64,
    tracks: BTreeMap<u32, Vec<(Micros, Option<u64>)>>,
}

impl Ranks {
    /// None yet; every so many-th visitor's ranks were written down.
    pub fn new(origin: Micros, every: u32) -> Self {
        Self { origin, every: every.max(1), mask: 0, tracks: BTreeMap::new() }
    }

    /// A rank was shown, or none any more.
    pub fn see(&mut self, visitor: u32, at: Micros, rank: Option<u64>) {
        if !visitor.is_multiple_of(self.every) || scatter(visitor) & self.mask != 0 {
            return;
        }
        if rank.is_none() && !self.tracks.contains_key(&visitor) {
            return;
        }
        let points = self.tracks.entry(visitor).or_default();
        if rank.is_some() || points.last().is_some_and(|(_, last)| last.is_some()) {
            points.push((at, rank));
        }
        if points.len() > POINTS_MAX {
            thin(points);
        }
        while self.tracks.len() > TRACKS_MAX {
            self.mask = self.mask << 1 | 1;
            let mask = self.mask;
            self.tracks.retain(|visitor, _| scatter(*visitor) & mask == 0);
        }
    }

    /// The sample, in the order of the visitors' numbers.
    pub fn tracks(self) -> Vec<Track> {
        let seconds = |at: Micros| at.saturating_sub(self.origin) as f64 / 1e6;
        let track = |(visitor, points): (u32, Vec<_>)| {
            let points = points.into_iter().map(|(at, rank)| (seconds(at), rank)).collect();
            Track { visitor, points }
        };
        self.tracks.into_iter().map(track).collect()
    }
}

/// Every other point goes, gaps excepted and what was shown last before them.
fn thin(points: &mut Vec<(Micros, Option<u64>)>) {
    let is_end = |i: usize| points.get(i + 1).is_none_or(|(_, next)| next.is_none());
    let keep: Vec<_> = (0..points.len()).map(|i| i % 2 == 0 || points[i].1.is_none() || is_end(i)).collect();
    let mut keep = keep.into_iter();
    points.retain(|_| keep.next().unwrap_or(true));
    // Nothing but gaps and returns: the oldest half goes.
    if points.len() > POINTS_MAX * 3 / 4 {
        points.drain(..POINTS_MAX / 2);
    }
}

/// Numbers next to each other become numbers that are not (splitmix64): parts take every so many-th visitor, and a
/// sample must not be one part's.
fn scatter(visitor: u32) -> u64 {
    let mut x = u64::from(visitor).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(visitors: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut ranks = Ranks::new(0, 10);
        visitors.for_each(|visitor| ranks.see(visitor, 1, Some(5)));
        ranks.tracks().into_iter().map(|track| track.visitor).collect()
    }

    #[test]
    fn the_sample_is_small_and_does_not_depend_on_the_order() {
        let forward = sample(0..50_000);
        assert!((TRACKS_MAX / 4..=TRACKS_MAX).contains(&forward.len()), "{}", forward.len());
        assert_eq!(forward, sample((0..50_000).rev()));
        assert!(forward.iter().all(|visitor| visitor % 10 == 0));
        assert_eq!(sample(0..100).len(), 10);
    }

    #[test]
    fn a_long_track_is_thinned_and_keeps_its_ends() {
        let mut ranks = Ranks::new(0, 1);
        (0..10_000).for_each(|i| ranks.see(0, i * 1_000_000, Some(10_000 - i)));
        ranks.see(0, 10_000_000_000, None);
        ranks.see(0, 10_001_000_000, None);
        let points = &ranks.tracks()[0].points;
        assert!(points.len() <= POINTS_MAX, "{}", points.len());
        assert_eq!((points[0], points[points.len() - 2]), ((0.0, Some(10_000)), (9999.0, Some(1))));
        assert_eq!(points.last(), Some(&(10_000.0, None)));
    }

    #[test]
    fn endless_returns_do_not_fill_the_memory() {
        let mut ranks = Ranks::new(0, 1);
        for i in 0..5000 {
            ranks.see(0, 2 * i, Some(1));
            ranks.see(0, 2 * i + 1, None);
        }
        assert!(ranks.tracks()[0].points.len() <= POINTS_MAX);
    }
}
