//! Flag, else variable, else TOML file, else default. Variables and the file become the defaults of clap's
//! arguments, so every value goes through the same parser and the same refusal wherever it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, Id};

use super::{DataArgs, ServeArgs, SettingsError, refused};

const PREFIX: &str = "WAITROOM_";

/// The variable of the setting `key`.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// The names of all settings, of whichever command: one file may serve them all.
pub fn known_keys() -> BTreeSet<String> {
    let all = DataArgs::augment_args(ServeArgs::augment_args(Command::new("all")));
    all.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

/// Parses a command line, with variables and the `--config` file (which `command` must have as a global
/// argument `config`) behind it.
pub fn parse(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<ArgMatches, SettingsError> {
    let args: Vec<OsString> = args.into_iter().collect();
    let keys = known_keys();
    let command = name_variables(command, &keys);
    // First without the layers: finds --config, and answers --help without ever showing a value of theirs.
    let matches = command.clone().try_get_matches_from(&args).map_err(|error| explain(error, &keys))?;
    let mut given = read_variables(variables, &keys)?;
    let variable = given.remove("config").map(PathBuf::from);
    let mut layer = match matches.get_one::<PathBuf>("config").cloned().or(variable) {
        Some(path) => read_file(&path, &keys)?,
        None => BTreeMap::new(),
    };
    displace(&mut layer, &given.keys().cloned().collect());
    layer.extend(given);
    let mut flags = BTreeSet::new();
    given_as_flags(&matches, &mut flags);
    displace(&mut layer, &flags);
    with_defaults(command, &layer).try_get_matches_from(&args).map_err(|error| explain(error, &keys))
}

/// A secret that a higher layer gives is given, whether as such or by a file: what a lower one says of it counts no more.
fn displace(lower: &mut BTreeMap<String, OsString>, higher: &BTreeSet<String>) {
    for key in higher {
        lower.remove(key.strip_suffix("_file").unwrap_or(key));
        lower.remove(&format!("{key}_file"));
    }
}

fn given_as_flags(matches: &ArgMatches, flags: &mut BTreeSet<String>) {
    let given = |id: &&Id| {
        // What is global to a part of the commands is among the ids of others too, which do not know it.
        matches.try_contains_id(id.as_str()).is_ok()
            && matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
    };
    flags.extend(matches.ids().filter(given).map(ToString::to_string));
    if let Some((_, matches)) = matches.subcommand() {
        given_as_flags(matches, flags);
    }
}

fn read_variables(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    keys: &BTreeSet<String>,
) -> Result<BTreeMap<String, OsString>, SettingsError> {
    let mut found = BTreeMap::new();
    for (name, value) in variables {
        let Some(key) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let key = key.to_ascii_lowercase();
        if key != "config" && !keys.contains(&key) {
            return Err(unknown(&key, &format!("the variable {}", variable(&key)), keys));
        }
        found.insert(key, value);
    }
    Ok(found)
}

fn read_file(path: &Path, keys: &BTreeSet<String>) -> Result<BTreeMap<String, OsString>, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::File {
        key: "config".to_owned(),
        path: path.to_owned(),
        source,
    })?;
    // Only the message and the line: the error's full text quotes the line, which may hold a secret.
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        refused("config", format!("{}, line {line}: {}; correct the file", path.display(), error.message()))
    })?;
    let mut found = BTreeMap::new();
    for (key, value) in table {
        if !keys.contains(&key) {
            return Err(unknown(&key, &format!("in {}", path.display()), keys));
        }
        let value = plain(&value)
            .ok_or_else(|| refused(&key, "must be a text, a number, true or false, or a list of those"))?;
        found.insert(key, value.into());
    }
    Ok(found)
}

/// The value as a flag would have it; lists comma-separated.
fn plain(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(plain).collect();
            items.map(|items| items.join(","))
        }
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn unknown(key: &str, place: &str, keys: &BTreeSet<String>) -> SettingsError {
    let close = keys.iter().map(|known| (distance(known, key), known)).min();
    let hint = match close {
        Some((off, known)) if off <= 2 => format!("did you mean {known}?"),
        _ => "remove it, or see `waitroom serve --help` for those that exist".to_owned(),
    };
    refused(key, format!("{place}: no such setting; {hint}"))
}

/// Letters to change, add or drop between two names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn name_variables(command: Command, keys: &BTreeSet<String>) -> Command {
    let command = command.mut_args(|arg| {
        let key = arg.get_id().to_string();
        if !keys.contains(&key) {
            return arg;
        }
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [env: {}]", variable(&key)))
    });
    command.mut_subcommands(|sub| name_variables(sub, keys))
}

fn with_defaults(command: Command, layer: &BTreeMap<String, OsString>) -> Command {
    let command = command.mut_args(|arg| match layer.get(arg.get_id().as_str()) {
        // Nothing between commas is an empty list, which has no element that a parser could read.
        Some(value) if value.is_empty() && arg.get_value_delimiter().is_some() => arg,
        Some(value) => arg.default_value(value.clone()),
        None => arg,
    });
    command.mut_subcommands(|sub| with_defaults(sub, layer))
}

/// A bad value of a setting is the setting's fault, whichever way it came; all else is wrong usage.
fn explain(error: clap::Error, keys: &BTreeSet<String>) -> SettingsError {
    let value_fault = matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue);
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg).filter(|_| value_fault) else {
        return SettingsError::Usage(Box::new(error));
    };
    let name = arg.trim_start_matches('-');
    let key = name.split([' ', '=', '[', '<']).next().unwrap_or(name).replace('-', "_");
    if !keys.contains(&key) {
        return SettingsError::Usage(Box::new(error));
    }
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) => format!("`{value}` "),
        _ => String::new(),
    };
    let problem = match (std::error::Error::source(&error), error.get(ContextKind::ValidValue)) {
        (Some(source), _) => source.to_string(),
        (None, Some(ContextValue::Strings(valid))) => format!("is none of {}", valid.join(", ")),
        _ => "cannot be read".to_owned(),
    };
    // clap's range message starts with the value itself.
    let problem = problem.strip_prefix(value.trim_end().trim_matches('`')).map_or(problem.clone(), |rest| {
        rest.trim_start().replace("is not in", "is out of range; allowed is")
    });
    refused(key, format!("{value}{problem}"))
}
