//! Small seeded random numbers: eight bytes a visitor, the same run again from the same seed.

use std::time::Duration;

/// SplitMix64 (Steele, Lea, Flood 2014): good enough for a crowd, and no secret depends on it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The numbers of that seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent stream for part `n` of what this seed drives.
    pub fn part(seed: u64, n: u64) -> Self {
        let mut mix = Self(seed ^ n.wrapping_mul(0xD6E8_FEB8_6659_FD93));
        Self(mix.next())
    }

    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// A number from `low` to `high`, both included.
    pub fn count(&mut self, (low, high): (u32, u32)) -> u32 {
        let span = u64::from(high.saturating_sub(low)) + 1;
        low + (self.next() % span) as u32
    }

    /// A time from `low` to `high`.
    pub fn time(&mut self, (low, high): (Duration, Duration)) -> Duration {
        low + high.saturating_sub(low).mul_f64(self.unit())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_within_bounds() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            (0..100).map(|_| random.count((1, 4))).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_eq!(draw(7).iter().min(), Some(&1));
        assert_eq!(draw(7).iter().max(), Some(&4));
        assert_ne!(Random::part(7, 0).next(), Random::part(7, 1).next());
        let (low, high) = (Duration::from_secs(1), Duration::from_secs(2));
        assert!((low..=high).contains(&Random::new(1).time((low, high))));
    }
}
