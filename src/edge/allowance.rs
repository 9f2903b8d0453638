//! How much each visitor may ask without a socket: a bucket that fills by the second. Only who is known has one, and however many
//! there are, so many buckets are kept and no more.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Buckets of a generation: about 3 MB.
const GENERATION_MAX: usize = 50_000;

/// Buckets by who asks.
#[derive(Default)]
pub struct Allowances {
    hasher: RandomState,
    generations: Mutex<Generations>,
}

/// When the younger is full, it is the older, and what that had is forgotten: whose bucket is lost finds a full one.
#[derive(Default)]
struct Generations {
    younger: HashMap<u64, Bucket>,
    older: HashMap<u64, Bucket>,
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Allowances {
    /// Takes `cost` out of a bucket that fills by so much a second, up to a burst; if that is not there, how long it takes.
    pub fn take(&self, who: &impl Hash, cost: f64, bounds: (f64, f64)) -> Result<(), Duration> {
        self.take_at(Instant::now(), self.hasher.hash_one(who), cost, bounds)
    }

    fn take_at(&self, now: Instant, who: u64, cost: f64, (per_s, burst): (f64, f64)) -> Result<(), Duration> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = generations.bucket(who).unwrap_or(Bucket { left: burst, at: now });
        let left = (bucket.left + now.duration_since(bucket.at).as_secs_f64() * per_s).min(burst);
        let taken = left >= cost;
        // What was refused costs nothing more: who asks on and on would never be served again.
        generations.keep(who, Bucket { left: if taken { left - cost } else { left }, at: now });
        if taken { Ok(()) } else { Err(Duration::from_secs_f64((cost - left) / per_s)) }
    }
}

impl Generations {
    fn bucket(&self, who: u64) -> Option<Bucket> {
        self.younger.get(&who).or_else(|| self.older.get(&who)).copied()
    }

    fn keep(&mut self, who: u64, bucket: Bucket) {
        if self.younger.len() >= GENERATION_MAX && !self.younger.contains_key(&who) {
            self.older = std::mem::take(&mut self.younger);
        }
        self.younger.insert(who, bucket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (f64, f64) = (20.0, 40.0);

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let (allowances, start) = (Allowances::default(), Instant::now());
        let take = |ms: u64, who: u64, cost: f64| {
            allowances.take_at(start + Duration::from_millis(ms), who, cost, BOUNDS)
        };
        assert!((0..40).all(|_| take(0, 1, 1.0).is_ok()));
        assert_eq!(take(0, 1, 1.0), Err(Duration::from_millis(50)));
        assert_eq!(take(0, 1, 4.0), Err(Duration::from_millis(200)));
        assert!(take(0, 2, 1.0).is_ok(), "another has his own");
        assert!((0..20).all(|_| take(1_000, 1, 1.0).is_ok()) && take(1_000, 1, 1.0).is_err());
        assert!((0..10).all(|_| take(60_000, 1, 4.0).is_ok()) && take(60_000, 1, 4.0).is_err());
    }

    #[test]
    fn the_wait_is_for_what_is_missing() {
        let (allowances, now) = (Allowances::default(), Instant::now());
        assert!(allowances.take_at(now, 1, 38.0, BOUNDS).is_ok());
        assert_eq!(allowances.take_at(now, 1, 4.0, BOUNDS), Err(Duration::from_millis(100)));
        // By the clock, and for whoever asks.
        assert!(allowances.take(&"kim", 1.0, (1e-9, 1.0)).is_ok());
        assert!(allowances.take(&"kim", 1.0, (1e-9, 1.0)).is_err());
        assert!(allowances.take(&"lee", 1.0, (1e-9, 1.0)).is_ok());
    }

    #[test]
    fn who_was_refused_is_not_forgotten_for_others_who_come() {
        let (allowances, now) = (Allowances::default(), Instant::now());
        let take = |who: u64| allowances.take_at(now, who, 40.0, BOUNDS).is_ok();
        assert!((0..10).all(take) && !(0..10).any(take));
        // As many as a generation holds, and those who are in it come again.
        assert!((10..GENERATION_MAX as u64).all(take) && !(0..GENERATION_MAX as u64).any(take));
    }

    #[test]
    fn no_flood_makes_it_grow() {
        let (allowances, now) = (Allowances::default(), Instant::now());
        for who in 0..10 * GENERATION_MAX as u64 {
            let _ = allowances.take_at(now, who, 1.0, BOUNDS);
        }
        let generations = allowances.generations.lock().unwrap();
        assert!(generations.younger.len() <= GENERATION_MAX && generations.older.len() <= GENERATION_MAX);
        // Who was here last is still known.
        assert!(generations.bucket(10 * GENERATION_MAX as u64 - 1).is_some());
    }
}
