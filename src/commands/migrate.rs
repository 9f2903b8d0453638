//! `migrate`: brings the schema up to date. `serve` does so itself; this is for those who want it done before.

use super::{Exit, ExitError, output, serve};
use crate::settings::PostgresArgs;
use crate::store::errors::ConnectError;
use crate::store::postgres::connect::postgres_single;
use crate::store::postgres::{facts::PostgresFacts, migrations};

/// Migrates and tells the version.
pub fn run(args: &PostgresArgs) -> anyhow::Result<Exit> {
    let settings = args.resolve()?;
    let version = serve::runtime()?.block_on(migrate(settings.postgres_url.expose()))?;
    output::print(&format!("the schema is at version {version}"))?;
    Ok(Exit::Done)
}

async fn migrate(url: &str) -> anyhow::Result<i32> {
    let (one, other) = (postgres_single(url).await?, postgres_single(url).await?);
    let facts = PostgresFacts::read(&one, &other).await.map_err(ConnectError::from)?;
    if let Some(danger) = facts.unusable() {
        return Err(ExitError::new(Exit::Settings, danger.to_string()).into());
    }
    Ok(migrations::run(url).await?)
}
