//! How long the wait will be: a range, or nothing while no honest one exists.

/// Widest high end that is still told, in seconds; beyond a day nobody knows.
const ETA_S_MAX: f64 = 86_400.0;

/// What the estimate rests on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Admissions a second that the operator allows.
    pub rate: f64,
    /// Admissions a second from the line, as seen over [`Pace::observed_s`]; returned places are not counted.
    pub observed: f64,
    /// Places a second that left the line otherwise: given up, or passed over while nobody was there.
    pub gone: f64,
    /// Over how many seconds that was seen, since the sale last opened.
    pub observed_s: f64,
}

/// Seconds over which a pace must have been seen before anything is said.
pub const OBSERVED_S_MIN: f64 = 5.0;

/// `[low, high]` seconds until the place with `rank` is admitted. The low end is when all who are ahead could be gone: admitted at the
/// allowed rate, and lost at the pace at which the line loses places. The high end is the pace of admissions seen lately, with a margin for
/// its chance.
pub fn eta_s(rank: u64, pace: Option<Pace>) -> Option<[u64; 2]> {
    let pace = pace.filter(|p| p.observed_s >= OBSERVED_S_MIN && p.observed > 0.0 && p.rate > 0.0)?;
    let low = rank as f64 / (pace.rate.max(pace.observed) + pace.gone);
    let seen = pace.observed * pace.observed_s;
    let margin = 1.0 + (1.0 / seen.sqrt()).clamp(0.1, 1.0);
    let high = (rank + 1) as f64 / pace.observed * margin + 1.0;
    (high <= ETA_S_MAX).then_some([low.floor() as u64, high.ceil() as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: f64, observed: f64, observed_s: f64) -> Option<Pace> {
        Some(Pace { rate, observed, gone: 0.0, observed_s })
    }

    #[test]
    fn nothing_is_said_without_evidence() {
        assert_eq!(eta_s(10, None), None);
        assert_eq!(eta_s(10, pace(5.0, 5.0, 1.0)), None);
        assert_eq!(eta_s(10, pace(5.0, 0.0, 60.0)), None);
        assert_eq!(eta_s(1_000_000, pace(1.0, 1.0, 60.0)), None);
    }

    #[test]
    fn the_range_holds_the_even_pace() {
        let [low, high] = eta_s(999, pace(10.0, 10.0, 30.0)).unwrap();
        assert!(low <= 100 && (100..=120).contains(&high), "{low}–{high}");
    }

    #[test]
    fn who_is_next_may_be_let_in_at_once_and_a_line_that_thins_out_is_shorter() {
        assert_eq!(eta_s(0, pace(0.02, 0.02, 60.0)).unwrap()[0], 0);
        let thinning = Pace { gone: 10.0, ..pace(10.0, 10.0, 30.0).unwrap() };
        let [low, high] = eta_s(9_999, Some(thinning)).unwrap();
        assert!(low <= 500 && high >= 1_000, "{low}–{high}");
    }

    #[test]
    fn a_slower_pace_than_allowed_widens_the_range() {
        let [low, high] = eta_s(999, pace(10.0, 2.0, 30.0)).unwrap();
        assert!((99..=100).contains(&low) && high >= 500, "{low}–{high}");
    }
}
