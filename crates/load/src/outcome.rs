//! How a visitor's story ends, and what follows the end of a connection.

use super::random::Random;
use std::time::Duration;

/// First longest pause before a lost connection is tried again; it doubles with every failure.
const PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// How much longer a visitor waits who was told that he is too fast.
const SLOWER: u32 = 4;

/// How a visitor's story ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// With seats.
    Booked,
    /// Nothing was left.
    SoldOut,
    /// The sale was closed.
    Closed,
    /// He had booked as many seats as one may.
    LimitReached,
    /// His turn went by.
    Lapsed,
    /// He gave his place up.
    Left,
    /// His turn came, but every try to book was refused.
    GaveUp,
    /// The server would not have him: bad message, bad identity, replaced, wrong address.
    TurnedAway,
}

impl Outcome {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 8] = [
        Self::Booked,
        Self::SoldOut,
        Self::Closed,
        Self::LimitReached,
        Self::Lapsed,
        Self::Left,
        Self::GaveUp,
        Self::TurnedAway,
    ];

    /// As in a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::SoldOut => "sold_out",
            Self::Closed => "closed",
            Self::LimitReached => "limit_reached",
            Self::Lapsed => "lapsed",
            Self::Left => "left",
            Self::GaveUp => "gave_up",
            Self::TurnedAway => "turned_away",
        }
    }
}

/// What a visitor does after a connection has ended, or could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing more.
    Stop(Outcome),
    /// He comes back.
    Again,
    /// He comes back, later than he otherwise would.
    AgainSlower,
}

impl Next {
    /// After a close of that code; none if the connection just broke.
    pub fn after_close(code: Option<u16>) -> Self {
        match code {
            Some(1009 | 4400 | 4401 | 4409) => Self::Stop(Outcome::TurnedAway),
            Some(4403) => Self::Stop(Outcome::LimitReached),
            Some(4410) => Self::Stop(Outcome::Closed),
            Some(4429) => Self::AgainSlower,
            _ => Self::Again,
        }
    }

    /// After an HTTP status other than 101.
    pub fn after_status(status: u16) -> Self {
        match status {
            410 => Self::Stop(Outcome::Closed),
            429 => Self::AgainSlower,
            400..=499 => Self::Stop(Outcome::TurnedAway),
            _ => Self::Again,
        }
    }
}

/// How long to wait before connection attempt number `failures` + 1. The whole pause is random, not just
/// a part of it: a crowd that was thrown out together must not come back together.
pub fn pause(failures: u32, slower: bool, random: &mut Random) -> Duration {
    let longest = PAUSE_FIRST.saturating_mul(1 << failures.min(8)).min(PAUSE_MAX);
    let longest = if slower { longest * SLOWER } else { longest };
    random.time((longest / 20, longest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_close_codes_is_kept() {
        for code in [1001, 1012, 4408, 4503] {
            assert_eq!(Next::after_close(Some(code)), Next::Again, "{code}");
        }
        assert_eq!(Next::after_close(None), Next::Again);
        assert_eq!(Next::after_close(Some(4429)), Next::AgainSlower);
        for code in [1009, 4400, 4401, 4403, 4409, 4410] {
            assert!(matches!(Next::after_close(Some(code)), Next::Stop(_)), "{code}");
        }
        for status in [403, 404, 410, 426] {
            assert!(matches!(Next::after_status(status), Next::Stop(_)), "{status}");
        }
        assert_eq!(Next::after_status(503), Next::Again);
    }

    #[test]
    fn pauses_grow_and_are_bounded() {
        let mut random = Random::new(1);
        assert!((0..50).all(|_| pause(0, false, &mut random) <= PAUSE_FIRST));
        assert!((0..50).all(|_| pause(u32::MAX, false, &mut random) <= PAUSE_MAX));
        assert!((0..50).any(|_| pause(9, true, &mut random) > PAUSE_MAX));
    }
}
