//! What an operator asks, in a body or in an address: a fault of it is told with its field's name.

use crate::edge::error::HttpError;
use axum::extract::{Query, rejection::QueryRejection};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use wire::protocol::client;

/// A body.
pub(super) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, HttpError> {
    client::object(body).map_err(|fault| told("", &fault, "body"))?;
    let from = &mut serde_json::Deserializer::from_slice(body);
    let asked = serde_path_to_error::deserialize(&mut *from).map_err(|error| {
        let path = error.path().to_string();
        let is_none = [".", "?"].contains(&path.as_str());
        told(if is_none { "" } else { &path }, &error.inner().to_string(), "body")
    })?;
    from.end().map_err(|error| told("", &error.to_string(), "body"))?;
    Ok(asked)
}

/// What stands behind the `?`.
pub(super) fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, HttpError> {
    query.map(|Query(query)| query).map_err(|error| {
        let text = error.body_text();
        told("", text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text), "query")
    })
}

/// Of a field that is missing, unknown or there twice serde knows no path: its words alone name it.
fn told(path: &str, fault: &str, all: &str) -> HttpError {
    let named = ["missing field `", "unknown field `", "duplicate field `"];
    let field = named.iter().find_map(|words| fault.strip_prefix(words)?.split('`').next());
    let begins = fault.split_once(": ").is_some_and(|(begin, _)| !begin.contains(' '));
    HttpError::invalid(match (path, field) {
        ("", Some(field)) => format!("{field}: {fault}"),
        ("", None) if begins => fault.to_owned(),
        ("", None) => format!("{all}: {fault}"),
        (path, _) => format!("{path}: {fault}"),
    })
}

/// A field that is there has a value: `null` would change nothing, and look as if it had.
pub(super) fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Tells `null`, which clears, from a field that is not there.
pub(super) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sale {
        #[serde(rename = "rate")]
        _rate: f64,
        #[serde(default, rename = "blocked")]
        _blocked: Vec<String>,
    }

    fn fault<T: std::fmt::Debug>(outcome: Result<T, HttpError>) -> String {
        outcome.unwrap_err().message
    }

    #[test]
    fn a_fault_begins_with_its_field() {
        for (body, field) in [
            (r#"{"rate":"1"}"#, "rate: "),
            (r#"{"rate":1,"blocked":["a",2]}"#, "blocked[1]: "),
            (r#"{}"#, "rate: "),
            (r#"{"rate":1,"rate":2}"#, "rate: "),
            (r#"{"rate":1,"colour":2}"#, "colour: "),
            (r#"{"rate":1"#, "body: "),
            (r#"{"rate":1} x"#, "body: "),
            ("[]", "body: "),
            ("", "body: "),
        ] {
            let fault = fault(object::<Sale>(body.as_bytes()));
            assert!(fault.starts_with(field), "{body}: {fault}");
        }
    }

    #[test]
    fn one_in_the_address_too() {
        for (asked, field) in [
            ("", "rate: "),
            ("rate=x", "rate: "),
            ("rate=1&rate=2", "rate: "),
            ("rate=1&colour=2", "colour: "),
        ] {
            let address = format!("/?{asked}").parse().unwrap();
            let fault = fault(query(Query::<Sale>::try_from_uri(&address)).map(|_| ()));
            assert!(fault.starts_with(field), "{asked}: {fault}");
        }
    }
}
