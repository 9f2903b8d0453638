//! A sale, its settings, and the rules that they must keep.

use super::{
    ids::{SaleId, VisitorId},
    phase::Phase,
    plan::Plan,
    seats::SeatSet,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// A visitor may be away so long when his turn comes, in seconds, unless the sale says otherwise: a page that was cut is back
/// by then, and whoever comes later is served first. Longer, those who never come hold the turns of others; measured in
/// docs/decisions/0022.
pub const AWAY_S_DEFAULT: u32 = 5;

/// What of a sale never changes.
#[derive(Clone, Debug)]
pub struct Sale {
    /// Its id.
    pub id: SaleId,
    /// Its seats.
    pub plan: Arc<Plan>,
    /// The last epoch of a deleted sale of the same id: places of it, or before, are none of this sale's.
    pub first_epoch: u64,
}

/// What of a sale an operator can change.
#[derive(Clone, Debug, PartialEq)]
pub struct SaleState {
    /// Rises with every change.
    pub version: u64,
    /// Its name, for people.
    pub name: String,
    /// Whether visitors need no identity of the shop.
    pub anonymous: bool,
    /// The operator's phase.
    pub command: Phase,
    /// The operator's message.
    pub notice: String,
    /// Settings.
    pub settings: SaleSettings,
    /// Seats not for sale.
    pub blocked: SeatSet,
    /// Who may not come any more.
    pub banned: Arc<[VisitorId]>,
}

/// Names of seats in one note of the audit, at most.
const TOLD_SEATS_MAX: usize = 1_000;

impl SaleState {
    /// The same in the operator's words, for the audit: of a plan's blocked seats the first thousand, and how many.
    pub fn told(&self, plan: &Plan) -> Value {
        let mut told = serde_json::to_value(&self.settings).unwrap_or_default();
        let blocked: Vec<_> = self.blocked.iter().take(TOLD_SEATS_MAX).collect();
        let more = json!({ "name": self.name, "anonymous": self.anonymous, "phase": self.command, "notice": self.notice,
            "blocked": plan.ids_of(&blocked), "blocked_seats": self.blocked.len() });
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
}

/// What a new sale is made of.
pub struct NewSale<'a> {
    /// Its id.
    pub id: &'a SaleId,
    /// Its name, for people.
    pub name: &'a str,
    /// The seating plan as it was uploaded.
    pub plan_json: &'a [u8],
    /// The same, read.
    pub plan: &'a Plan,
    /// Its settings.
    pub settings: &'a SaleSettings,
    /// Whether visitors need no identity of the shop.
    pub anonymous: bool,
    /// Seats not for sale.
    pub blocked: &'a SeatSet,
}

/// What an operator sets; all of it can be changed while the sale runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SaleSettings {
    /// When the sale opens by itself.
    pub opens_at: Option<Timestamp>,
    /// Admissions a second.
    pub rate: f64,
    /// Live grants at once; a held booking counts.
    pub max_active: u32,
    /// How long a grant lives, in seconds.
    pub grant_ttl_s: u32,
    /// How soon it must be used for the first time, in seconds.
    pub claim_s: u32,
    /// How long a place whose turn comes may be absent before it is passed over, in seconds.
    pub away_s: u32,
    /// Seats a visitor may book in all.
    pub max_seats: u32,
    /// How long a hold lasts, in seconds; 0: bookings are confirmed at once.
    pub hold_ttl_s: u32,
}

/// A setting out of its range: which, and what it may be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {fault}")]
pub struct SettingError {
    /// The field's name.
    pub field: &'static str,
    /// What is wrong and what to give instead.
    pub fault: String,
}

/// Admissions a second above which one tick (at most 1,000 grants) could not keep up.
pub const RATE_MAX: f64 = 10_000.0;
/// Live grants at once: what one Redis call can lapse in reasonable time, and more than any hall needs.
const MAX_ACTIVE_MAX: u32 = 1_000_000;
/// A day.
const DURATION_S_MAX: u32 = 86_400;
/// Seats in one booking: its answer must fit the socket's write buffer.
pub const MAX_SEATS_MAX: u32 = 100;

impl SaleSettings {
    /// The first setting that is out of range.
    pub fn check(&self) -> Result<(), SettingError> {
        let fault = |field, fault: String| Err(SettingError { field, fault });
        let range = |field, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                fault(field, format!("must be between {low} and {high}"))
            }
        };
        if !(self.rate > 0.0 && self.rate <= RATE_MAX) {
            return fault(
                "rate",
                format!("must be above 0 and at most {RATE_MAX}; pause the sale to stop admissions"),
            );
        }
        range("max_active", self.max_active, 1, MAX_ACTIVE_MAX)?;
        range("grant_ttl_s", self.grant_ttl_s, 1, DURATION_S_MAX)?;
        range("claim_s", self.claim_s, 1, DURATION_S_MAX)?;
        if self.claim_s > self.grant_ttl_s {
            let (claim, ttl) = (self.claim_s, self.grant_ttl_s);
            return fault("claim_s", format!("is {claim} and must be at most grant_ttl_s, which is {ttl}"));
        }
        range("away_s", self.away_s, 0, DURATION_S_MAX)?;
        range("max_seats", self.max_seats, 1, MAX_SEATS_MAX)?;
        range("hold_ttl_s", self.hold_ttl_s, 0, DURATION_S_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> SaleSettings {
        SaleSettings {
            opens_at: None,
            rate: 10.0,
            max_active: 50,
            grant_ttl_s: 300,
            claim_s: 60,
            away_s: 300,
            max_seats: 4,
            hold_ttl_s: 0,
        }
    }

    #[test]
    fn every_bad_setting_is_named() {
        assert_eq!(good().check(), Ok(()));
        type Spoil = fn(&mut SaleSettings);
        let bad: [(&str, Spoil); 10] = [
            ("rate", |s| s.rate = 0.0),
            ("rate", |s| s.rate = -1.0),
            ("rate", |s| s.rate = f64::NAN),
            ("max_active", |s| s.max_active = 0),
            ("grant_ttl_s", |s| s.grant_ttl_s = 0),
            ("claim_s", |s| s.claim_s = 301),
            ("claim_s", |s| s.claim_s = 0),
            ("away_s", |s| s.away_s = 86_401),
            ("max_seats", |s| s.max_seats = 0),
            ("hold_ttl_s", |s| s.hold_ttl_s = 86_401),
        ];
        for (field, spoil) in bad {
            let mut settings = good();
            spoil(&mut settings);
            assert_eq!(settings.check().unwrap_err().field, field);
        }
    }
}
