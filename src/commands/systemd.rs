//! What systemd is told by a server that it started as `Type=notify`. Where nobody asked for it, in `NOTIFY_SOCKET` and
//! `WATCHDOG_USEC`, nothing is.

use sd_notify::NotifyState;
use std::time::Duration;
use tokio::time::interval;

/// How much longer than the drain the process may take to end.
const EXIT: Duration = Duration::from_secs(5);

/// The server serves: units that wait for it may start.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The server drains, and is not to be killed while it does.
pub(super) fn stopping(within: Duration) {
    let within = u32::try_from((within + EXIT).as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Stopping, NotifyState::ExtendTimeoutUsec(within)]);
}

/// Keeps systemd from starting the server anew, for as long as it `is_alive`; within a runtime.
pub(super) fn keep_alive(is_alive: impl Fn() -> bool + Send + 'static) {
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    tokio::spawn(async move {
        let mut every = interval(within / 3);
        loop {
            every.tick().await;
            if is_alive() {
                tell(&[NotifyState::Watchdog]);
            } else {
                tracing::error!("a task of the server hangs; systemd is not told that it lives");
            }
        }
    });
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("systemd cannot be told: {error}");
    }
}
