//! What the exit status says, and which error means which.

use std::process::ExitCode;

use crate::app::StartError;
use crate::embedded::EmbeddedError;
use crate::settings::SettingsError;
use crate::store::errors::{ConnectError, StoreError};
use crate::store::postgres::migrations::MigrateError;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Wrong usage, or a request that the server refused.
    Usage = 64,
    /// A server that it needs cannot be reached.
    Unreachable = 69,
    /// A bug.
    Bug = 70,
    /// A file cannot be read or written.
    File = 74,
    /// `check` saw too little to say.
    TooLittle = 75,
    /// Bad or dangerous settings.
    Settings = 78,
    /// A load threshold is broken, or an invariant violated.
    Broken = 99,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit status.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ExitError {
    /// The status.
    pub exit: Exit,
    /// What happened and what to do.
    pub message: String,
}

impl ExitError {
    /// An error for `anyhow`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

/// Prints the error and tells its status.
pub(super) fn report(error: &anyhow::Error) -> Exit {
    if let Some(SettingsError::Usage(usage)) = error.downcast_ref() {
        // clap's own look, and to the right stream: help and version are what was asked for. If that cannot be
        // written there is nobody to tell.
        let _ = usage.print();
        return if usage.use_stderr() { Exit::Usage } else { Exit::Done };
    }
    eprintln!("waitroom: {}", told(error));
    status(error)
}

/// The error with its causes, each once: most errors here quote their cause already.
fn told(error: &anyhow::Error) -> String {
    error.chain().skip(1).map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

fn status(error: &anyhow::Error) -> Exit {
    error.chain().find_map(known).unwrap_or(Exit::Bug)
}

fn known(error: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(error) = error.downcast_ref::<ExitError>() {
        return Some(error.exit);
    }
    if let Some(error) = error.downcast_ref::<SettingsError>() {
        return Some(match error {
            SettingsError::Usage(_) => Exit::Usage,
            SettingsError::Refused { .. } => Exit::Settings,
            SettingsError::File { .. } => Exit::File,
        });
    }
    if let Some(error) = error.downcast_ref::<StartError>() {
        return Some(match error {
            StartError::Settings(_) => Exit::Settings,
            StartError::Unreachable(_) => Exit::Unreachable,
            StartError::Other(_) => Exit::Bug,
        });
    }
    if let Some(error) = error.downcast_ref::<EmbeddedError>() {
        return Some(match error {
            EmbeddedError::Missing { .. } | EmbeddedError::Failed { .. } => Exit::Unreachable,
            EmbeddedError::Busy(_) | EmbeddedError::Folder { .. } => Exit::Settings,
            EmbeddedError::File { .. } => Exit::File,
        });
    }
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return Some(match error {
            ConnectError::Url { .. } | ConnectError::Tls(_) => Exit::Settings,
            error if error.is_refusal() => Exit::Settings,
            ConnectError::Postgres(_) => Exit::Unreachable,
            _ => Exit::Bug,
        });
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return Some(match error {
            StoreError::Connect(ConnectError::Url { .. } | ConnectError::Tls(_)) => Exit::Settings,
            StoreError::Corrupt(_) => Exit::Bug,
            _ => Exit::Unreachable,
        });
    }
    match error.downcast_ref::<MigrateError>()? {
        // Transparent, so the chain leaves it out.
        MigrateError::Connect(error) => known(error),
        MigrateError::Postgres(_) => Some(Exit::Unreachable),
        MigrateError::Migration(_) => Some(Exit::Bug),
        MigrateError::Misfit(_) => Some(Exit::Settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::refused;

    #[test]
    fn errors_and_their_statuses() {
        let cases: [(anyhow::Error, Exit); 7] = [
            (refused("drain_s", "bad").into(), Exit::Settings),
            (ExitError::new(Exit::Broken, "slow").into(), Exit::Broken),
            (
                anyhow::Error::from(StartError::Unreachable("gone".into())).context("starting"),
                Exit::Unreachable,
            ),
            (EmbeddedError::Busy("/x".into()).into(), Exit::Settings),
            (EmbeddedError::Missing { program: "p".into(), package: "p".into() }.into(), Exit::Unreachable),
            (ConnectError::Url { key: "redis_url", problem: "bad".into() }.into(), Exit::Settings),
            (anyhow::anyhow!("never thought of"), Exit::Bug),
        ];
        for (error, exit) in cases {
            assert_eq!(status(&error), exit, "{error:#}");
        }
        let quoted = SettingsError::File {
            key: "config".into(),
            path: "/x".into(),
            source: std::io::ErrorKind::NotFound.into(),
        };
        assert_eq!(told(&quoted.into()), "config: cannot read /x: entity not found");
        let nested = MigrateError::Connect(ConnectError::Url { key: "postgres_url", problem: "bad".into() });
        assert_eq!(status(&nested.into()), Exit::Settings);
    }
}
