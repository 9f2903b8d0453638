//! Secrets: where each is read from, and how strong it must be.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{SettingsError, refused, values::Expose};

/// A key of fewer bytes is tried out by whoever has one thing that was signed with it.
pub(super) const KEY_BYTES_MIN: usize = 16;
/// A token of fewer is guessed, slowly as its tries are answered. Eight that were drawn are not.
pub(super) const TOKEN_BYTES_MIN: usize = 8;
/// So many different bytes at least: what was drawn has more, in whichever alphabet.
const DIFFERENT_MIN: usize = 4;

/// Why a secret would not keep anything, if so: it must have so many bytes. Never says the secret.
pub(super) fn weakness(secret: &[u8], bytes_min: usize) -> Option<String> {
    let different = secret.iter().collect::<BTreeSet<_>>().len();
    if secret.len() < bytes_min {
        return Some(format!("has {} bytes, and {bytes_min} are the least", secret.len()));
    }
    (different < DIFFERENT_MIN).then(|| format!("has only {different} different bytes: it can be guessed"))
}

/// A secret from its own setting or from the file that its `…_file` setting names.
pub(super) fn secret<T: Expose>(
    key: &str,
    value: Option<&T>,
    file: Option<&Path>,
) -> Result<Option<T>, SettingsError> {
    let found = match (value, file) {
        (Some(_), Some(_)) => return Err(refused(key, format!("is given twice; drop {key} or {key}_file"))),
        (Some(value), None) => value.clone(),
        (None, Some(path)) => {
            let fault =
                |source| SettingsError::File { key: format!("{key}_file"), path: path.to_owned(), source };
            if std::fs::metadata(path).map_err(fault)?.mode() & 0o002 != 0 {
                let problem = format!(
                    "anyone may write {}, and put a key of his own there; run chmod o-w on it",
                    path.display()
                );
                return Err(refused(format!("{key}_file"), problem));
            }
            let text = std::fs::read_to_string(path).map_err(fault)?;
            // Editors and `echo` end a file with a newline that is no part of the secret.
            T::from(text.trim().to_owned())
        }
        (None, None) => return Ok(None),
    };
    if found.exposed().is_empty() {
        Err(refused(key, "is empty; give a value or drop it"))
    } else {
        Ok(Some(found))
    }
}
