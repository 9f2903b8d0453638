//! `migrate`: brings the schema up to date. `serve` does so itself; this is for those who want it done before.

use super::{Exit, output, serve};
use crate::settings::PostgresArgs;
use crate::store::postgres::migrations;

/// Migrates and tells the version.
pub fn run(args: &PostgresArgs) -> anyhow::Result<Exit> {
    let settings = args.resolve()?;
    let version = serve::runtime()?.block_on(migrations::run(settings.postgres_url.expose()))?;
    output::print(&format!("the schema is at version {version}"))?;
    Ok(Exit::Done)
}
