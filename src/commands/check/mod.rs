//! `check`: proves that a sale was fair, on recorded histories, on its journal, or for one visitor.

mod history;
mod journal;
mod noted;

use std::fs;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::sale::sale_id;
use super::{Exit, ExitError, output};
use crate::settings::{PostgresArgs, RedisTls, RedisUrl, values::addresses};
use load::checker::Status;
use load::journal::is_journal;
use wire::domain::ids::SaleId;

/// Proves that the line was fair and no seat was sold twice.
///
/// From a sale's journal: give --sale, or a file that `waitroom journal export` wrote. From the histories of a load run: give
/// the files of all its parts, and the Redis and PostgreSQL of the sale after it, while nobody uses them: without those some
/// promises cannot be judged. For one visitor: give his --receipt and his sale's journal. What is proved, from what and how
/// surely: docs/check.md.
///
/// Exit status: 0 proved; 64 wrong usage; 69 Redis or PostgreSQL cannot be reached; 74 a file cannot be read or is
/// garbled; 75 nothing was found broken, but not everything could be judged; 99 a promise was broken.
#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// A sale's exported journal, or the histories that `waitroom load --history` wrote: all parts of one run
    #[arg(required_unless_present = "sale", value_name = "HISTORY|JOURNAL")]
    files: Vec<PathBuf>,
    /// Prove a sale's journal as PostgreSQL has it
    #[arg(long, value_name = "SALE", value_parser = sale_id, conflicts_with = "files")]
    sale: Option<SaleId>,
    /// A visitor's receipt: prove that his place is in the journal, and tell what became of it
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// A head of the journal's chain that was noted while the sale ran: its hash, or a file with the answer of
    /// …/journal/head or a receipt
    #[arg(long = "head", value_name = "HASH|FILE")]
    heads: Vec<String>,
    #[command(flatten)]
    redis: RedisUrl,
    /// Where nodes of Redis are reached that announce other addresses: announced=reachable, comma-separated
    #[arg(long, value_name = "PAIRS", value_delimiter = ',', value_parser = addresses)]
    redis_addresses: Vec<(String, String)>,
    #[command(flatten)]
    redis_tls: RedisTls,
    #[command(flatten)]
    postgres: PostgresArgs,
    /// What is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Write the verdicts there as JSON; `-` for stdout, instead of the lines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write what a journal proves there as one page that may be published
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

impl CheckArgs {
    fn json_to_stdout(&self) -> bool {
        self.format == Format::Json || self.json.as_ref().is_some_and(|path| path.as_os_str() == "-")
    }

    /// Prints what there is to say, and writes it as JSON where that was asked for.
    fn say(&self, text: &impl ToString, value: &impl Serialize) -> anyhow::Result<()> {
        let json = || serde_json::to_string_pretty(value);
        output::print(&if self.json_to_stdout() { json()? } else { text.to_string() })?;
        match &self.json {
            Some(path) if path.as_os_str() != "-" => write(path, &json()?),
            _ => Ok(()),
        }
    }
}

fn write(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    let fault = |error| ExitError::new(Exit::File, format!("cannot write {}: {error}", path.display()));
    Ok(fs::write(path, text).map_err(fault)?)
}

/// Checks and prints a line for each promise.
pub fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let journals = args.files.iter().filter(|path| is_journal(path)).count();
    if args.sale.is_none() && args.receipt.is_none() && journals == 0 {
        return history::run(args);
    }
    if args.sale.is_none() && args.files.len() != 1 {
        return Err(ExitError::new(Exit::Usage, "give one journal, and no histories beside it").into());
    }
    match &args.receipt {
        Some(receipt) => journal::receipt(args, receipt),
        None => journal::run(args),
    }
}

fn exit(status: Status) -> Exit {
    match status {
        Status::Proved => Exit::Done,
        Status::TooLittle => Exit::TooLittle,
        Status::Violated => Exit::Broken,
    }
}
