//! Log lines to standard error. No token, no identity and no visitor's address is ever logged, at any level.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt,
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{LogFormat, LogSettings, values::env_filter};

/// Whose lower levels are shown. Libraries print there what they send and hear: visitors' ids, seats and tokens.
const OURS: [&str; 3] = ["waitroom", "wire", "load"];

/// Starts logging, once a process.
pub(super) fn start(settings: &LogSettings) {
    // The settings' parser has read this filter once already.
    let filter = env_filter(&settings.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = filter.and(filter_fn(may_be_told));
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match settings.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
    };
    // An error says that logging has started already, which tests in one process do.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
}

fn may_be_told(event: &Metadata<'_>) -> bool {
    let target = event.target().split("::").next().unwrap_or_default();
    *event.level() <= Level::INFO || OURS.contains(&target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn drivers_do_not_tell_what_they_send() {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
        let filter = EnvFilter::new("trace").and(filter_fn(may_be_told));
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(lines.with_filter(filter)),
            || {
                tracing::debug!(target: "tokio_postgres::prepare", "kim");
                tracing::debug!(target: "redis", "kim");
                tracing::trace!(target: "tungstenite::protocol", "kim");
                tracing::info!(target: "tokio_postgres::connection", "notice");
                tracing::debug!(target: "waitroom::room", "ours");
            },
        );
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("kim") && text.contains("notice") && text.contains("ours"), "{text}");
    }
}
