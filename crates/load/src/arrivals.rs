//! When visitors come: drawn before the run starts, so that nothing that the server does can change it.

use super::random::Random;
use std::time::Duration;

/// Some of the crowd, spread over a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Wave {
    /// How many, relative to the other waves.
    pub weight: f64,
    /// When the first may come, after the start.
    pub from: Duration,
    /// Over what time.
    pub over: Duration,
}

/// Everyone over that time.
pub fn ramp(over: Duration) -> Vec<Wave> {
    vec![Wave { weight: 1.0, from: Duration::ZERO, over }]
}

/// A recorded crowd: a table whose last column counts arrivals per equal step of time, played over `over`. The first
/// line may be a heading.
///
/// # Errors
/// What is wrong, and in which line.
pub fn trace(table: &str, over: Duration) -> Result<Vec<Wave>, String> {
    let mut counts = Vec::new();
    for (n, line) in table.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match line.rsplit(',').next().unwrap_or_default().trim().parse::<u32>() {
            Ok(count) => counts.push(count),
            Err(_) if n == 0 => {}
            Err(_) => return Err(format!("line {}: the last column is no count", n + 1)),
        }
    }
    if counts.iter().all(|count| *count == 0) {
        return Err("nobody arrives in it".into());
    }
    let step = over / u32::try_from(counts.len()).unwrap_or(u32::MAX);
    let wave =
        |(i, count): (usize, &u32)| Wave { weight: f64::from(*count), from: step * i as u32, over: step };
    Ok(counts.iter().enumerate().map(wave).collect())
}

/// When the last may come.
pub fn end(waves: &[Wave]) -> Duration {
    waves.iter().map(|wave| wave.from + wave.over).max().unwrap_or_default()
}

/// When each visitor arrives after the start, in order. Within a wave the draws are uniform, which is what independent
/// people make (a Poisson process of which the number is known), bunches and gaps included.
pub fn draw(visitors: usize, waves: &[Wave], seed: u64) -> Vec<Duration> {
    let mut random = Random::new(seed);
    let mut sums = Vec::with_capacity(waves.len());
    let total = waves.iter().fold(0.0, |sum, wave| {
        sums.push(sum + wave.weight);
        sum + wave.weight
    });
    let mut one = |_| {
        let at = random.unit() * total;
        let wave = waves[sums.partition_point(|sum| *sum <= at).min(waves.len() - 1)];
        wave.from + wave.over.mul_f64(random.unit())
    };
    let mut arrivals: Vec<_> =
        if waves.is_empty() { Vec::new() } else { (0..visitors).map(&mut one).collect() };
    arrivals.sort_unstable();
    arrivals
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn arrivals_are_fixed_by_the_seed_and_fill_the_ramp() {
        let times = draw(1000, &ramp(10 * S), 7);
        assert_eq!(times, draw(1000, &ramp(10 * S), 7));
        assert_ne!(times, draw(1000, &ramp(10 * S), 8));
        assert!(times.is_sorted() && times.iter().all(|t| *t < 10 * S));
        let first_half = times.iter().filter(|t| **t < 5 * S).count();
        assert!((400..600).contains(&first_half), "{first_half}");
    }

    #[test]
    fn waves_come_at_their_time_with_their_weight() {
        let waves = [
            Wave { weight: 1.0, from: Duration::ZERO, over: 10 * S },
            Wave { weight: 3.0, from: 20 * S, over: S },
        ];
        assert_eq!(end(&waves), 21 * S);
        let times = draw(4000, &waves, 1);
        let early = times.iter().filter(|t| **t < 10 * S).count();
        assert!((900..1100).contains(&early), "{early}");
        assert!(times.iter().all(|t| *t < 10 * S || (20 * S..21 * S).contains(t)));
    }

    #[test]
    fn a_trace_keeps_its_shape_and_a_bad_one_is_refused() {
        let waves = trace("minute,requests\n14:00,10\n14:01,0\n14:02,30\n", 30 * S).unwrap();
        assert_eq!(
            waves.iter().map(|w| (w.weight, w.from)).collect::<Vec<_>>(),
            [(10.0, Duration::ZERO), (0.0, 10 * S), (30.0, 20 * S)]
        );
        let times = draw(4000, &waves, 1);
        assert!(!times.iter().any(|t| (10 * S..20 * S).contains(t)), "someone came in a silent minute");
        assert_eq!(trace("a,1\nb,x\n", S), Err("line 2: the last column is no count".into()));
        assert!(trace("", S).is_err() && trace("minute,n\n1,0\n", S).is_err());
    }
}
