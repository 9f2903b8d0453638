//! Clicks on seats: how many, and how many found the seat gone.

use serde::Serialize;
use std::fmt::{self, Display, Formatter};

/// Redeems of seats that visitors picked on their own maps, as they saw them themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Clicks {
    /// Those that were answered.
    pub answered: u64,
    /// Refused because a seat was taken, although the visitor's map, as last heard of, showed all of them free when he
    /// clicked: he could not know better.
    pub stale: u64,
    /// Refused because a seat was taken that his own map showed as taken.
    pub blind: u64,
}

impl Clicks {
    /// One more was answered: `shown_free` says whether the map showed all its seats free, where that is known.
    pub fn see(&mut self, shown_free: Option<bool>, seat_taken: bool) {
        self.answered += 1;
        match shown_free.filter(|_| seat_taken) {
            Some(true) => self.stale += 1,
            Some(false) => self.blind += 1,
            None => {}
        }
    }

    /// The share of clicks that were stale.
    pub fn stale_percent(&self) -> f64 {
        100.0 * self.stale as f64 / self.answered.max(1) as f64
    }
}

impl Display for Clicks {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { answered, stale, blind } = self;
        write!(f, "{answered} on seats, {stale} ({:.2} %) on seats just taken", self.stale_percent())?;
        if *blind > 0 { write!(f, ", {blind} on seats shown as taken") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_seat_shown_free_and_refused_as_taken_is_stale() {
        let mut clicks = Clicks::default();
        let all = [(Some(true), true), (Some(true), false), (Some(false), true), (None, true)];
        all.into_iter().for_each(|(shown, taken)| clicks.see(shown, taken));
        assert_eq!(clicks, Clicks { answered: 4, stale: 1, blind: 1 });
        assert_eq!(
            clicks.to_string(),
            "4 on seats, 1 (25.00 %) on seats just taken, 1 on seats shown as taken"
        );
    }
}
