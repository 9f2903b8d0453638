//! The server's answers for people.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};

use serde_json::Value;

use super::client::Client;
use crate::commands::{Exit, ExitError, output};
use crate::store::errors::Store;

const COLUMNS: [&str; 10] =
    ["id", "phase", "waiting", "granted", "booked", "held", "seats_left", "rate", "connections", "name"];

/// All sales, one a line.
pub(super) fn list(answer: &Value) -> String {
    // Tolerates a list that is wrapped in an object.
    let sales = answer.as_array().or_else(|| answer.get("sales")?.as_array());
    let rows: Vec<_> = sales.into_iter().flatten().map(row).collect();
    if rows.is_empty() { "no sales; create one with `waitroom sale create`".to_owned() } else { lines(&rows) }
}

/// What is to be said beside the answer: all warnings of one sale; of a list only what holds for all, a store that is away.
pub(super) fn warnings(answer: &Value) -> BTreeSet<&str> {
    let is_of_store = |warning: &&str| {
        let names = [Store::Redis, Store::Postgres].map(Store::name);
        names.iter().any(|name| warning.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
    };
    let sales = answer["sales"].as_array().into_iter().flatten();
    warnings_of(answer).chain(sales.flat_map(warnings_of).filter(is_of_store)).collect()
}

fn warnings_of(sale: &Value) -> impl Iterator<Item = &str> {
    sale["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// One sale as in the list: after a change, what it is now.
pub(super) fn brief(answer: &Value) -> String {
    lines(&[row(answer)])
}

/// Of a sale that could not be read the last column says why.
fn row(sale: &Value) -> Vec<String> {
    let why = sale.get("error");
    COLUMNS.iter().map(|key| cell(why.filter(|_| *key == "name").unwrap_or(&sale[*key]))).collect()
}

fn lines(rows: &[Vec<String>]) -> String {
    let titles = COLUMNS.map(str::to_uppercase);
    output::table(&titles.each_ref().map(String::as_str), rows)
}

/// What one looks for first, first; the rest by name.
const FIRST: [&str; 15] = [
    "id",
    "name",
    "phase",
    "restoring",
    "opens_at",
    "notice",
    "waiting",
    "away",
    "granted",
    "held",
    "booked",
    "seats_left",
    "seats",
    "admitted_total",
    "lapsed_total",
];

/// One sale, a line for each thing to know.
pub(super) fn one(answer: &Value) -> String {
    let fields = answer.as_object().into_iter().flatten().map(|(key, _)| key.as_str());
    // The plan is a picture, not a number.
    let rest = fields.filter(|key| *key != "plan" && !FIRST.contains(key));
    let keys: Vec<&str> = FIRST.into_iter().filter(|key| answer.get(key).is_some()).chain(rest).collect();
    let width = keys.iter().map(|key| key.len()).max().unwrap_or(0);
    keys.iter().map(|key| format!("{key:<width$}  {}", cell(&answer[*key]))).collect::<Vec<_>>().join("\n")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        // A name is the operator's, but a visitor's id comes from outside: no control character reaches a terminal.
        Value::String(text) => {
            text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
        }
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A visitor's story: his places, what happened when, his bookings.
pub(super) fn visitor(answer: &Value) -> String {
    let all = |key: &str| answer[key].as_array().into_iter().flatten();
    let places = all("places").map(|place| {
        format!("place {} (epoch {}): {}", cell(&place["seq"]), cell(&place["epoch"]), cell(&place["stage"]))
    });
    let events = all("events").map(|event| format!("{:<30}  {}", cell(&event["at"]), cell(&event["words"])));
    let bookings = all("bookings").map(|booking| {
        format!(
            "booking {} {}: {}",
            cell(&booking["booking"]),
            cell(&booking["status"]),
            cell(&booking["seats"])
        )
    });
    places.chain(events).chain(bookings).collect::<Vec<_>>().join("\n")
}

/// What became of a visitor who was removed.
pub(super) fn removed(answer: &Value) -> &'static str {
    match (answer["ended"] == true, answer["banned"] == true) {
        (true, false) => "his place is ended; he may come again",
        (true, true) => "his place is ended; he may not come again",
        (false, false) => "he had no place; he may come",
        (false, true) => "he had no place; he may not come",
    }
}

/// All bookings, as they come: a big sale has hundreds of thousands.
pub(super) fn bookings(client: &Client, sale: &str, json: bool, csv: bool) -> anyhow::Result<()> {
    let accept = if csv { "text/csv" } else { "application/x-ndjson" };
    let stream = client.stream(&format!("/v1/admin/sales/{sale}/bookings"), accept)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if !json && !csv {
        let titles =
            format!("{:<36}  {:<9}  {:<30}  {:<32}  SEATS", "BOOKING", "STATUS", "CREATED_AT", "VISITOR");
        output::written(writeln!(out, "{titles}"))?;
    }
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(|error| {
            ExitError::new(
                Exit::Unreachable,
                format!("the server went away before the last booking: {error}"),
            )
        })?;
        let line = if json || csv { line } else { booking(&line) };
        if !output::written(writeln!(out, "{line}"))? {
            return Ok(());
        }
    }
    output::written(out.flush())?;
    Ok(())
}

fn booking(line: &str) -> String {
    let Ok(value) = serde_json::from_str::<Value>(line) else { return line.to_owned() };
    let text = |key: &str| cell(&value[key]);
    format!(
        "{:<36}  {:<9}  {:<30}  {:<32}  {}",
        text("booking"),
        text("status"),
        text("created_at"),
        text("visitor"),
        text("seats")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_for_people() {
        let sale = json!({"id": "spring", "phase": "open", "waiting": 12, "rate": 2.5, "name": "Spring"});
        let text = list(&json!([sale]));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("ID      PHASE  WAITING"), "{text}");
        assert!(lines[1].starts_with("spring  open   12"), "{text}");
        assert_eq!(list(&json!({"sales": [sale]})), text);
        assert!(list(&json!([])).contains("sale create"));
    }

    #[test]
    fn a_list_has_the_warnings_of_its_stores_once() {
        let warned = |warnings: &[&str]| json!({ "warnings": warnings });
        let list = json!({ "sales": [warned(&["Redis: away", "rate: slow"]), warned(&["Redis: away"])] });
        assert_eq!(warnings(&list), BTreeSet::from(["Redis: away"]));
        assert_eq!(warnings(&warned(&["rate: slow"])), BTreeSet::from(["rate: slow"]));
    }

    #[test]
    fn one_sale_for_people() {
        let text =
            one(&json!({"id": "spring", "opens_at": null, "plan": {"zones": []}, "blocked": ["a", "b"]}));
        assert!(
            text.contains("opens_at  -") && text.contains("blocked   a b") && !text.contains("zones"),
            "{text}"
        );
    }

    #[test]
    fn a_visitors_story_for_people() {
        let event = json!({"at": "2026-11-22T10:00:00Z", "seq": 7, "what": "drawn", "words": "drew place 7"});
        let place = json!({"seq": 7, "epoch": 1, "stage": "waiting"});
        let text = visitor(&json!({"places": [place], "events": [event], "bookings": []}));
        assert_eq!(text, format!("place 7 (epoch 1): waiting\n{:<30}  drew place 7", "2026-11-22T10:00:00Z"));
    }

    #[test]
    fn no_control_character_reaches_the_terminal() {
        assert!(!booking(r#"{"visitor":"\u001b[2J"}"#).contains('\u{1b}'));
    }
}
