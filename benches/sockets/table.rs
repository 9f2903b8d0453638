//! Figures by name, over several rounds: medians.

use crate::machine::median;
use serde_json::{Map, Value};

/// What, and how much in each round.
type Values = Vec<(&'static str, Vec<f64>)>;

/// Whose they are, and what; in the order in which they came.
#[derive(Default)]
pub struct Figures {
    of: Vec<(String, Values)>,
}

impl Figures {
    /// One round's.
    pub fn add(&mut self, whose: &str, figures: &[(&'static str, f64)]) {
        let shown: Vec<_> = figures.iter().map(|(what, value)| format!("{what} {}", short(*value))).collect();
        eprintln!("{whose}: {}", shown.join(", "));
        let at = self.of.iter().position(|(known, _)| known == whose).unwrap_or_else(|| {
            self.of.push((whose.to_owned(), Vec::new()));
            self.of.len() - 1
        });
        let all = &mut self.of[at].1;
        for (what, value) in figures {
            match all.iter_mut().find(|(known, _)| known == what) {
                Some((_, values)) => values.push(*value),
                None => all.push((what, vec![*value])),
            }
        }
    }

    fn medians(&self) -> Vec<(&str, Vec<(&'static str, f64)>)> {
        let all = self.of.iter().map(|(whose, all)| {
            (whose.as_str(), all.iter().map(|(what, values)| (*what, median(values.clone()))).collect())
        });
        all.collect()
    }

    pub fn median(&self, whose: &str, what: &str) -> Option<f64> {
        let all = self.medians();
        let of = &all.iter().find(|(known, _)| *known == whose)?.1;
        Some(of.iter().find(|(known, _)| *known == what)?.1)
    }

    /// A row each.
    pub fn markdown(&self) -> String {
        let all = self.medians();
        let mut columns: Vec<&str> = Vec::new();
        for (what, _) in all.iter().flat_map(|(_, of)| of) {
            if !columns.contains(what) {
                columns.push(what);
            }
        }
        let mut text = format!("| | {} |\n|---|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
        for (whose, of) in &all {
            let cell = |what: &&str| {
                of.iter().find(|(known, _)| known == what).map_or(String::new(), |(_, value)| short(*value))
            };
            text += &format!("| {whose} | {} |\n", columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
        }
        text
    }

    /// The same with a column each.
    pub fn turned(&self) -> String {
        let all = self.medians();
        let heads: Vec<_> = all.iter().map(|(whose, _)| *whose).collect();
        let mut text = format!("| | {} |\n|---|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        let Some((_, first)) = all.first() else { return text };
        for (i, (what, _)) in first.iter().enumerate() {
            let row: Vec<_> =
                all.iter().map(|(_, of)| of.get(i).map_or(String::new(), |(_, v)| short(*v))).collect();
            text += &format!("| {what} | {} |\n", row.join(" | "));
        }
        text
    }

    pub fn json(&self) -> Value {
        let of = |all: &[(&str, f64)]| -> Map<String, Value> {
            all.iter().map(|(what, value)| ((*what).to_owned(), (*value).into())).collect()
        };
        Value::Object(
            self.medians().iter().map(|(whose, all)| ((*whose).to_owned(), of(all).into())).collect(),
        )
    }
}

/// With as many digits as mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        100.0.. => group(value.round() as i64),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// 1234567 as 1,234,567.
pub fn group(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}
