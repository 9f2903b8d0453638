//! How the visitors behave, and how that is written on a command line.

use super::random::Random;
use std::time::Duration;

/// Which seats a visitor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WishKind {
    /// The best ones, chosen by the server.
    Best,
    /// Seats that the visitor picks in his seat map.
    Explicit,
    /// Half the visitors this, half that.
    Mixed,
    /// The front rows, which everyone wants: among the first hundred free seats in the visitor's seat map.
    Front,
}

/// How one visitor gets his seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The server chooses.
    Server,
    /// He clicks somewhere in his map.
    Anywhere,
    /// He clicks near the front.
    Front,
}

/// What the visitors of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// How many seats a visitor wants, from and to.
    pub seats: (u32, u32),
    /// Which ones.
    pub wish: WishKind,
    /// How long he looks at the seat map before he redeems, from and to.
    pub think: (Duration, Duration),
    /// How likely a waiting visitor is to give up within [`Behaviour::whim`].
    pub leave_chance: f64,
    /// How likely a waiting visitor's connection is to break off within [`Behaviour::whim`].
    pub vanish_chance: f64,
    /// How likely a waiting visitor is to open a second tab within [`Behaviour::whim`].
    pub second_tab_chance: f64,
    /// How likely a visitor is not to look when his turn comes.
    pub no_show_chance: f64,
    /// How many of the visitors are programs that try what they should not, from 0 to 1.
    pub bot_share: f64,
    /// When all sockets are cut at once, after the start.
    pub herd: Option<Duration>,
    /// After how long of waiting he leaves or breaks off, if he does, from and to.
    pub whim: (Duration, Duration),
    /// How long he is gone after that, from and to.
    pub absence: (Duration, Duration),
}

impl Default for Behaviour {
    /// Visitors who stay until they have two seats.
    fn default() -> Self {
        Self {
            seats: (1, 2),
            wish: WishKind::Best,
            think: (Duration::ZERO, Duration::from_secs(2)),
            leave_chance: 0.0,
            vanish_chance: 0.0,
            second_tab_chance: 0.0,
            no_show_chance: 0.0,
            bot_share: 0.0,
            herd: None,
            whim: (Duration::from_secs(2), Duration::from_secs(30)),
            absence: (Duration::from_secs(1), Duration::from_secs(5)),
        }
    }
}

impl Behaviour {
    /// How this visitor gets his seats.
    pub(super) fn pick(&self, random: &mut Random) -> Pick {
        match self.wish {
            WishKind::Best => Pick::Server,
            WishKind::Explicit => Pick::Anywhere,
            WishKind::Mixed => {
                if random.chance(0.5) {
                    Pick::Anywhere
                } else {
                    Pick::Server
                }
            }
            WishKind::Front => Pick::Front,
        }
    }
}

/// No run takes a year.
const DURATION_MAX: Duration = Duration::from_secs(365 * 86_400);

/// A duration such as `250ms`, `5s`, `2m`, `1h`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("{text:?} is no duration: write 250ms, 5s, 2m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| fault())?;
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(fault()),
    };
    let duration = Duration::try_from_secs_f64(number * seconds).map_err(|_| fault())?;
    if duration > DURATION_MAX { Err(format!("{text:?} is more than a year")) } else { Ok(duration) }
}

/// Durations from and to, such as `0s..2s`, or one, such as `1s`.
pub fn parse_durations(text: &str) -> Result<(Duration, Duration), String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    ordered(text, parse_duration(low)?, parse_duration(high)?)
}

/// Counts from and to, such as `1..2` (both included), or one, such as `2`.
pub fn parse_counts(text: &str) -> Result<(u32, u32), String> {
    let (low, high) = text.split_once("..").unwrap_or((text, text));
    let count = |text: &str| {
        text.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{text:?} is no number above 0"))
    };
    ordered(text, count(low)?, count(high)?)
}

fn ordered<T: PartialOrd>(text: &str, low: T, high: T) -> Result<(T, T), String> {
    if low <= high { Ok((low, high)) } else { Err(format!("{text:?} runs backwards")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_durations_are_read() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_durations("0s..2m"), Ok((Duration::ZERO, Duration::from_secs(120))));
        assert_eq!(parse_durations("1s"), Ok((Duration::from_secs(1), Duration::from_secs(1))));
        assert_eq!(parse_counts("1..2"), Ok((1, 2)));
        assert_eq!(parse_counts("2"), Ok((2, 2)));
        for bad in ["", "5", "s", "-1s", "5 s", "1d", "1e9h", "9000h", "10000000000000000000s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "2..1", "1..", "-1", "x"] {
            assert!(parse_counts(bad).is_err(), "{bad}");
        }
        assert!(parse_durations("2s..1s").is_err());
    }
}
