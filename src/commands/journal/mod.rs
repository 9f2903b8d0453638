//! `journal`: a sale's journal into one file, and an old one out of PostgreSQL.

mod awaited;
pub(super) mod source;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::sale::{sale_id, sure};
use super::{Exit, ExitError, output, serve};
use crate::settings::PostgresArgs;
use crate::store::errors::StoreError;
use crate::store::journal::{Journal, Purge};
use crate::store::postgres::connect::postgres_pool;
use load::journal::{Item, Writer};
use source::Source;
use wire::domain::ids::SaleId;

/// What `journal` reads.
#[derive(Debug, Args)]
pub struct JournalArgs {
    #[command(subcommand)]
    command: JournalCommand,
}

#[derive(Debug, Subcommand)]
enum JournalCommand {
    /// Write a sale's whole journal into one file, for `waitroom check` and for everyone: it names nobody
    Export(ExportArgs),
    /// Delete the journal of a closed sale from PostgreSQL: export it first; asks for the sale's id
    Purge(PurgeArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The sale's id
    #[arg(value_name = "SALE", value_parser = sale_id)]
    id: SaleId,
    /// The file; standard output if there is none
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    postgres: PostgresArgs,
}

#[derive(Debug, Args)]
struct PurgeArgs {
    /// The sale's id
    #[arg(value_name = "SALE", value_parser = sale_id)]
    id: SaleId,
    /// Only if its newest entry is older than this, such as 2026-11-22T10:00:00Z or 2026-11-22
    #[arg(long, value_name = "TIME", value_parser = time)]
    before: Timestamp,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    postgres: PostgresArgs,
}

/// A time, or the beginning of a day.
fn time(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|day| day.timestamp());
    let time = text.parse().ok().or_else(day);
    time.ok_or_else(|| "is no time such as 2026-11-22T10:00:00Z, and no day such as 2026-11-22".to_owned())
}

/// Does what was asked.
pub fn run(args: &JournalArgs) -> anyhow::Result<Exit> {
    match &args.command {
        JournalCommand::Export(args) => export(args),
        JournalCommand::Purge(args) => purge(args),
    }
}

fn export(args: &ExportArgs) -> anyhow::Result<Exit> {
    let mut source = Source::open(&args.postgres.resolve()?.postgres_url, &args.id)?;
    let Some(path) = &args.file else {
        let out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
        return written(write(&mut source, out)?, Path::new("standard output"));
    };
    // Whoever finds the file finds it whole.
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let fault =
        |error: io::Error| ExitError::new(Exit::File, format!("cannot write {}: {error}", path.display()));
    let file = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(fault)?);
    let done = write(&mut source, file).and_then(|done| {
        done.map_err(fault)?;
        fs::rename(&part, path).map_err(fault)?;
        Ok(Exit::Done)
    });
    if done.is_err() {
        // The fault is told; what is left of the file is of no use.
        let _ = fs::remove_file(&part);
    }
    done
}

/// Writes all: what the store does not give is an error, what the file does not take the answer.
fn write(source: &mut Source, to: impl Write) -> anyhow::Result<io::Result<()>> {
    let mut writer = match Writer::new(to, source.header()) {
        Ok(writer) => writer,
        Err(error) => return Ok(Err(error)),
    };
    while let Some(item) = source.next_item()? {
        let done = match item {
            Item::Sold(sold) => writer.sold(sold),
            Item::Batch(batch, entries) => writer.batch(batch, &entries),
            Item::Head(head) => return Ok(writer.finish(head)),
        };
        if done.is_err() {
            return Ok(done);
        }
    }
    Ok(Ok(()))
}

fn written(outcome: io::Result<()>, path: &Path) -> anyhow::Result<Exit> {
    output::written(outcome).map(|_| Exit::Done).map_err(|error| error.context(format!("{}", path.display())))
}

fn purge(args: &PurgeArgs) -> anyhow::Result<Exit> {
    let url = args.postgres.resolve()?.postgres_url;
    let id = &args.id;
    sure("The journal is the only proof that the sale was fair; export it first.", id, args.yes)?;
    let purge = async {
        let pool = postgres_pool(url.expose(), 2).map_err(StoreError::from)?;
        Journal::new(pool, id.clone()).purge(args.before).await
    };
    let refused = |why: String| Err(ExitError::new(Exit::Usage, why).into());
    match serve::runtime()?.block_on(purge)? {
        Purge::Done(entries) => output::print(&format!("{entries} entries of {id} are deleted"))?,
        Purge::NoSale => return refused(format!("this PostgreSQL has no sale {id}")),
        Purge::NotClosed => {
            return refused(format!(
                "nothing was done: sale {id} is not closed; close it first: `waitroom sale close {id}`"
            ));
        }
        Purge::TooYoung(newest) => {
            return refused(format!(
                "nothing was done: the newest entry is of {newest:.0}; give a later --before if it is to go"
            ));
        }
        Purge::Nothing => output::print(&format!("nothing of {id} is journaled"))?,
    }
    Ok(Exit::Done)
}
