//! SIGTERM, Ctrl-C and a terminal that has gone: the first asks to drain, the second ends at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals, caught from here on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Option<Signal>,
}

impl Signals {
    /// Starts to catch them; within a runtime.
    pub(super) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: load::hangup()?,
        })
    }

    /// Waits for the next one; its status, by the shell's convention.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.terminate.recv() => 143,
            _ = self.interrupt.recv() => 130,
            Some(_) = async { self.hangup.as_mut()?.recv().await } => 129,
        }
    }

    /// Waits for the first. From then on a second one ends the process, whatever it is doing.
    pub(super) async fn first(mut self) {
        self.next().await;
        tokio::spawn(async move {
            let status = self.next().await;
            eprintln!("waitroom: ended without draining");
            std::process::exit(status);
        });
    }
}
