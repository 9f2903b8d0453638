//! What an operator did, as it is kept for whoever asks later.

use super::ids::SaleId;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::{fmt, sync::Arc};

/// Who did it: the name of a token of the admin API; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Actor(Arc<str>);

impl Actor {
    /// The name, or nothing if the text is not of the form `[a-z0-9_-]{1,32}`.
    pub fn parse(text: &str) -> Option<Self> {
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        ((1..=32).contains(&text.len()) && text.bytes().all(letter)).then(|| Self(text.into()))
    }

    /// Whoever has `admin_token`.
    pub fn admin() -> Self {
        Self("admin".into())
    }

    /// Whoever may run commands beside PostgreSQL; no token has this name.
    pub fn command_line() -> Self {
        Self("(command line)".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One change, as it is told.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditRecord {
    /// Its number; later changes have higher ones, but for those at the same moment.
    pub id: i64,
    /// When, by PostgreSQL's clock.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
    /// What was done.
    pub action: String,
    /// To which sale; nothing for what concerns all.
    pub sale: Option<String>,
    /// To which booking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booking: Option<String>,
    /// To which visitor; empty once he has been forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visitor: Option<String>,
    /// What was there before; null where there was nothing.
    pub from: Value,
    /// What is there since; null where nothing is.
    pub to: Value,
}

/// Which changes are wanted.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// From then on.
    pub since: Option<Timestamp>,
    /// Of these sales alone; none: all changes.
    pub sales: Vec<SaleId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_nobody_can_have_ours() {
        for good in ["a", "till-2", "box_office"] {
            assert!(Actor::parse(good).is_some(), "{good}");
        }
        for bad in ["", "Till", "a b", "a:b", &"x".repeat(33), Actor::command_line().as_str()] {
            assert!(Actor::parse(bad).is_none(), "{bad}");
        }
    }
}
