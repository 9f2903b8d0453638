//! `migrate`: brings the schema up to date. `serve` does so itself; this is for those who want it done before.

use super::{Exit, ExitError, output, serve};
use crate::settings::PostgresArgs;
use crate::store::errors::ConnectError;
use crate::store::postgres::connect::postgres_single;
use crate::store::postgres::{
    facts::PostgresFacts,
    migrations::{self, Outlook},
};
use clap::Args;

/// What `migrate` reads.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    postgres: PostgresArgs,
    /// Say what would be done, and whether it may be beside the programs that are connected; touch nothing
    #[arg(long)]
    check: bool,
}

/// Migrates, or looks, and tells the version.
pub fn run(args: &MigrateArgs) -> anyhow::Result<Exit> {
    let settings = args.postgres.resolve()?;
    let url = settings.postgres_url.expose();
    let told: anyhow::Result<String> = serve::runtime()?.block_on(async {
        check(url).await?;
        if args.check { Ok(looked(&migrations::look(url).await?)) } else { migrate(url).await }
    });
    output::print(&told?)?;
    Ok(Exit::Done)
}

fn looked(outlook: &Outlook) -> String {
    let Outlook { version, missing } = outlook;
    match missing.as_slice() {
        [] => format!("the schema is at version {version}, and nothing is missing"),
        missing => {
            format!("the schema is at version {version}; missing, and may be run now: {}", missing.join(", "))
        }
    }
}

async fn migrate(url: &str) -> anyhow::Result<String> {
    Ok(format!("the schema is at version {}", migrations::run(url).await?))
}

async fn check(url: &str) -> anyhow::Result<()> {
    let (one, other) = (postgres_single(url).await?, postgres_single(url).await?);
    let facts = PostgresFacts::read(&one, &other).await.map_err(ConnectError::from)?;
    if let Some(danger) = facts.unusable() {
        return Err(ExitError::new(Exit::Settings, danger.to_string()).into());
    }
    Ok(())
}
