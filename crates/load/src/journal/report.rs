//! What a proof says, for people and for programs.

use super::{
    findings::Rule,
    numbers::{Numbers, Series},
};
use crate::{
    checker::{Status, Verdict},
    summary::text::{grouped, millis},
};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::{self, Display, Formatter};
use wire::domain::{
    ids::SaleId,
    journal::{Head, InForce},
};

/// What a journal proves.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How it fared in all.
    pub status: Status,
    /// Whose journal it is.
    pub sale: SaleId,
    /// The chain's end, recomputed.
    pub head: Option<Head>,
    /// How many heads that somebody noted are in the chain.
    pub noted: usize,
    /// How many came, were admitted, were passed over.
    pub numbers: Numbers,
    /// The settings that were in force last, without the blocked seats.
    pub settings: Option<InForce>,
    /// Rule by rule.
    pub verdicts: Vec<Verdict<Rule>>,
    /// When it happened.
    pub series: Series,
}

impl Report {
    pub(super) fn new(
        sale: SaleId,
        head: Option<Head>,
        noted: usize,
        numbers: Numbers,
        series: Series,
        settings: Option<InForce>,
        verdicts: Vec<Verdict<Rule>>,
    ) -> Self {
        let any = |status| verdicts.iter().any(|verdict| verdict.status == status);
        let status = [Status::Violated, Status::TooLittle].into_iter().find(|status| any(*status));
        let status = status.unwrap_or(Status::Proved);
        let settings = settings.map(|settings| InForce { blocked: Vec::new(), ..settings });
        Self { status, sale, head, noted, numbers, settings, verdicts, series }
    }

    /// From the first entry to the last, in seconds.
    pub fn duration_s(&self) -> f64 {
        (self.numbers.ended - self.numbers.began).max(0) as f64 / 1000.0
    }

    /// The numbers with their names, those first that one looks for first.
    pub fn rows(&self) -> Vec<(&'static str, String)> {
        let n = &self.numbers;
        let mut rows = vec![
            ("visitors came", grouped(n.drawn.saturating_sub(n.drawn_again))),
            ("places drawn", grouped(n.drawn)),
            ("turns given", grouped(n.admitted)),
            ("of those ahead of the line", grouped(n.admitted_returned)),
            ("passed over, nobody being there", grouped(n.passed_over)),
            ("turns missed, place kept", grouped(n.missed)),
            ("came back to a place kept", grouped(n.returned)),
            ("turns whose time was up", grouped(n.expired)),
            ("turns ended with the sale", grouped(n.ended_with_sale)),
            ("places given up", grouped(n.left)),
            ("places ended by the operator", grouped(n.removed)),
            ("bookings", grouped(n.bookings)),
            ("of those released", grouped(n.released)),
            ("seats sold or held", format!("{} of {}", grouped(n.seats_sold), grouped(n.seats))),
            ("most turns at once", grouped(n.live_max)),
            ("most places waiting at once", grouped(n.waiting_max)),
            ("still waiting at the end", grouped(n.waiting)),
            ("kept for the absent at the end", grouped(n.away)),
        ];
        if n.lives > 1 {
            rows.push(("lives of the line in Redis", grouped(n.lives)));
            rows.push(("places that came back by token", grouped(n.found)));
        }
        if n.shifted_ms != 0 {
            rows.push(("added to all deadlines", millis(n.shifted_ms as f64)));
        }
        if n.changed_later > 0 {
            rows.push(("bookings changed after the close", grouped(n.changed_later)));
        }
        rows
    }

    /// From when to when, in words.
    pub fn when(&self) -> String {
        if self.head.is_none() {
            return "nothing happened".into();
        }
        let time = |ms| Timestamp::from_millisecond(ms).unwrap_or_default();
        format!("{:.0} to {:.0}", time(self.numbers.began), time(self.numbers.ended))
    }

    /// How far the proof reaches, in a sentence.
    pub fn reach(&self) -> String {
        match self.noted {
            0 => "Whoever can write the whole journal anew can make one as sound: hold it against a head that was noted \
                  while the sale ran (--head), or against a visitor's receipt."
                .into(),
            count => format!("Of {count} noted head(s), each is in this chain: it is the one that was there then."),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "sale {}, {}", self.sale, self.when())?;
        if let Some(head) = &self.head {
            writeln!(f, "{} batches, head {}", grouped(head.batch as i64), head.hash)?;
        }
        writeln!(f)?;
        for (name, value) in self.rows() {
            writeln!(f, "{name:<34} {value}")?;
        }
        writeln!(f)?;
        for verdict in &self.verdicts {
            writeln!(f, "{verdict}")?;
        }
        write!(f, "\n{}", self.reach())
    }
}
