//! Log lines to standard error. No token, no identity and no visitor's address is ever logged, at any level.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, LogSettings};

/// They print what they send at lower levels: visitors' ids and seats.
const DRIVERS: [&str; 3] = ["tokio_postgres", "redis", "refinery"];

/// Starts logging, once a process.
pub(super) fn start(settings: &LogSettings) {
    // The settings' parser has read this filter once already.
    let filter = EnvFilter::try_new(&settings.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let capped = DRIVERS.iter().filter_map(|driver| format!("{driver}=info").parse().ok());
    let filter = capped.fold(filter, EnvFilter::add_directive);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error says that logging has started already, which tests in one process do.
    let _ = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
}
