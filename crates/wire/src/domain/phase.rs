//! The phases of a sale and the steps between them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a sale stands, as its visitors see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Joining goes on, nobody is admitted yet.
    Scheduled,
    /// Admissions run.
    Open,
    /// Admissions stopped by the operator; live grants run and may redeem.
    Paused,
    /// No seat free, some only held: the line stands.
    AllHeld,
    /// No seat free or held.
    SoldOut,
    /// Final.
    Closed,
}

impl Phase {
    /// As in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Open => "open",
            Self::Paused => "paused",
            Self::AllHeld => "all_held",
            Self::SoldOut => "sold_out",
            Self::Closed => "closed",
        }
    }

    /// The phase of that name.
    pub fn parse(text: &str) -> Option<Self> {
        use Phase::*;
        [Scheduled, Open, Paused, AllHeld, SoldOut, Closed].into_iter().find(|p| p.as_str() == text)
    }

    /// What the operator commanded: `all_held` and `sold_out` are an open sale without free seats.
    pub fn commanded(self) -> Self {
        match self {
            Self::AllHeld | Self::SoldOut => Self::Open,
            other => other,
        }
    }

    /// Whether an operator may step from this phase to `to`. Staying where one is is no step, and allowed,
    /// so that a repeated command does no harm.
    pub fn may_step(self, to: Self) -> bool {
        use Phase::*;
        match (self.commanded(), to) {
            (_, AllHeld | SoldOut) => false,
            (from, to) if from == to => true,
            (Closed, _) => false,
            (_, Closed) => true,
            (Scheduled | Paused, Open) | (Scheduled | Open, Paused) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Phase::{self, *};

    #[test]
    fn only_the_steps_of_the_contract() {
        let all = [Scheduled, Open, Paused, AllHeld, SoldOut, Closed];
        let allowed = |from: Phase| all.into_iter().filter(|to| from.may_step(*to)).collect::<Vec<_>>();
        assert_eq!(allowed(Scheduled), [Scheduled, Open, Paused, Closed]);
        assert_eq!(allowed(Open), [Open, Paused, Closed]);
        assert_eq!(allowed(Paused), [Open, Paused, Closed]);
        assert_eq!(allowed(AllHeld), [Open, Paused, Closed]);
        assert_eq!(allowed(SoldOut), [Open, Paused, Closed]);
        assert_eq!(allowed(Closed), [Closed]);
    }

    #[test]
    fn names_go_both_ways() {
        for phase in [Scheduled, Open, Paused, AllHeld, SoldOut, Closed] {
            assert_eq!(Phase::parse(phase.as_str()), Some(phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
        }
        assert_eq!(Phase::parse("opened"), None);
    }
}
