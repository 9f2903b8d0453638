//! Heads of a journal's chain that somebody noted: a hash, or a file that has one.

use std::fs;

use crate::commands::{Exit, ExitError};
use load::journal::Noted;
use wire::domain::journal::{Hash, Head, Receipt};

/// What was noted.
///
/// # Errors
/// It is neither a hash nor a file that has one.
pub(super) fn read(text: &str) -> Result<Noted, ExitError> {
    if let Some(hash) = Hash::parse(text) {
        return Ok(Noted { hash, batch: None });
    }
    if text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(ExitError::new(
            Exit::Usage,
            format!("--head {text}: a hash has 64 hexadecimal digits; note it whole"),
        ));
    }
    let fault = |why: String| ExitError::new(Exit::File, format!("--head {text}: {why}"));
    let file = fs::read_to_string(text)
        .map_err(|error| fault(format!("is no hash, and no file that can be read: {error}")))?;
    parse(&file).ok_or_else(|| {
        fault("give a hash, the answer of …/journal/head, or a receipt; the file is none of these".into())
    })
}

fn parse(text: &str) -> Option<Noted> {
    if let Ok(head) = serde_json::from_str::<Head>(text) {
        return Some(Noted { hash: head.hash, batch: Some(head.batch) });
    }
    if let Ok(receipt) = serde_json::from_str::<Receipt>(text) {
        return Some(Noted { hash: receipt.head, batch: Some(receipt.batch.batch) });
    }
    Some(Noted { hash: Hash::parse(text.trim())?, batch: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_an_answer_or_neither() {
        let hash = "ab".repeat(32);
        assert_eq!(read(&hash).unwrap().batch, None);
        assert_eq!(read(&hash[1..]).unwrap_err().exit, Exit::Usage);
        assert_eq!(read("/nonexistent").unwrap_err().exit, Exit::File);
        let answer =
            format!(r#"{{"epoch":1,"n":7,"hash":"{hash}","time":"2026-11-22T10:00:00Z","batch":3}}"#);
        assert_eq!(parse(&answer).unwrap().batch, Some(3));
        assert_eq!(parse(&format!("{hash}\n")).unwrap().hash, Hash::parse(&hash).unwrap());
        assert_eq!(parse("{}"), None);
    }
}
