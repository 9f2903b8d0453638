//! `serve`: the server.

use std::time::Duration;

use anyhow::Context;
use tokio::runtime::Runtime;

use super::signals::Signals;
use super::{Exit, logging, system, systemd};
use crate::app::App;
use crate::settings::ServeArgs;

/// Runs the server until it is asked to stop.
pub fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    let settings = args.resolve()?;
    logging::start(&settings.log);
    let files = system::raise_open_files();
    tracing::info!(files, redis = %settings.redis.redis_url, postgres = %settings.postgres.postgres_url, "starting");
    let runtime = runtime()?;
    let exit = runtime.block_on(async {
        let signals = Signals::catch().context("cannot catch signals")?;
        let stop = signals.first();
        tokio::pin!(stop);
        let app = tokio::select! {
            app = App::start(&settings) => app?,
            () = &mut stop => return Ok(Exit::Done),
        };
        tracing::info!(public = %app.public_addr(), admin = %app.admin_addr(), "ready");
        systemd::ready();
        systemd::keep_alive(app.life());
        let stop = async {
            stop.await;
            systemd::stopping(Duration::from_secs(settings.http.drain_s));
        };
        let report = app.run(stop).await;
        tracing::info!("{report}");
        Ok(Exit::Done)
    });
    // What was cut off is not waited for.
    runtime.shutdown_background();
    exit
}

/// The runtime that servers run on.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")
}
