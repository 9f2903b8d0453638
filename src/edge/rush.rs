//! How many come of whom nothing is known, and how much work is asked of each for it.

use crate::settings::ProofOfWork;
use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// The rate is one of about so many seconds.
const MEMORY_S: f64 = 5.0;
/// `auto`: up to so many newcomers a second nothing is asked for …
const QUIET_PER_S: f64 = 50.0;
/// … then so many bits, and one more each time that twice as many come …
const BITS_MIN: u8 = 14;
/// … up to so many: a third of a second of a laptop, a second or two of a telephone.
const BITS_MAX: u8 = 20;

/// Newcomers, as they come.
#[derive(Default)]
pub struct Rush(Mutex<Option<(f64, Instant)>>);

impl Rush {
    /// Another one comes. How many bits of work he is to do first; 0 for none.
    pub fn comes(&self, setting: ProofOfWork) -> u8 {
        match setting {
            ProofOfWork::Off => 0,
            ProofOfWork::Bits(bits) => bits,
            ProofOfWork::Auto => bits(self.count(Instant::now())),
        }
    }

    /// Counts him; newcomers a second.
    fn count(&self, now: Instant) -> f64 {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, at) = counted.unwrap_or((0.0, now));
        let count = before * (-now.duration_since(at).as_secs_f64() / MEMORY_S).exp() + 1.0;
        *counted = Some((count, now));
        count / MEMORY_S
    }
}

fn bits(per_s: f64) -> u8 {
    if per_s <= QUIET_PER_S {
        return 0;
    }
    // A number this small and not negative.
    let doublings = (per_s / QUIET_PER_S).log2() as u8;
    BITS_MIN.saturating_add(doublings).min(BITS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn more_is_asked_for_as_more_come() {
        assert_eq!([0.0, 50.0, 51.0, 101.0, 401.0, 1e9].map(bits), [0, 0, 14, 15, 17, 20]);
    }

    #[test]
    fn work_is_asked_for_as_it_is_set() {
        let rush = Rush::default();
        assert_eq!((rush.comes(ProofOfWork::Off), rush.comes(ProofOfWork::Bits(7))), (0, 7));
        assert_eq!(rush.comes(ProofOfWork::Auto), 0, "nobody else is there");
        let asked: Vec<u8> = (0..4_000).map(|_| rush.comes(ProofOfWork::Auto)).collect();
        assert!(asked[3_999] >= BITS_MIN, "{asked:?}");
    }

    #[test]
    fn a_rush_is_seen_and_forgotten() {
        let (rush, start) = (Rush::default(), Instant::now());
        let mut rate = 0.0;
        for i in 0..3_000 {
            rate = rush.count(start + Duration::from_millis(10 * i));
        }
        assert!((90.0..110.0).contains(&rate), "100 a second, and not {rate}");
        assert!(rush.count(start + Duration::from_secs(60)) < 2.0);
    }
}
