//! The program's commands, one file each, and what they share.

pub mod check;
pub mod demo;
pub mod doctor;
mod exit;
pub mod journal;
pub mod load;
mod load_report;
mod logging;
pub mod migrate;
mod output;
pub mod sale;
pub mod serve;
mod signals;
mod system;
mod systemd;
pub mod token;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::settings::{ServeArgs, SettingsError, layers};

pub use exit::{Exit, ExitError};

/// A fair waiting room in front of a ticket sale.
///
/// Every setting is a flag, a variable WAITROOM_<NAME>, or a key of the TOML file that --config names, in that
/// order.
#[derive(Debug, Parser)]
#[command(name = "waitroom", version)]
struct Cli {
    /// A TOML file with settings [env: WAITROOM_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(Box<ServeArgs>),
    /// Run everything here: its own Redis and PostgreSQL, a sample sale, the server
    Demo(Box<demo::DemoArgs>),
    /// Bring PostgreSQL's schema up to date
    Migrate(migrate::MigrateArgs),
    /// Create, watch and steer sales of a running server
    Sale(sale::SaleArgs),
    /// Sign a visitor's identity, as a shop's back end would
    Token(token::TokenArgs),
    /// Send a crowd of simulated visitors to a sale and check what they see
    Load(Box<load::LoadArgs>),
    /// Prove from a sale's journal, or a run's histories, that the line was fair and no seat was sold twice
    Check(Box<check::CheckArgs>),
    /// Export a sale's journal, or delete an old one
    Journal(Box<journal::JournalArgs>),
    /// Look at settings, Redis, PostgreSQL and limits, and say what to change
    Doctor(Box<ServeArgs>),
}

/// Runs the program and tells its exit status; what went wrong is on standard error.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Exit {
    match parse(args, variables).and_then(dispatch) {
        Ok(exit) => exit,
        Err(error) => exit::report(&error),
    }
}

fn parse(
    args: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> anyhow::Result<Command> {
    let matches = layers::parse(Cli::command(), args, variables)?;
    let cli = Cli::from_arg_matches(&matches).map_err(|error| SettingsError::Usage(Box::new(error)))?;
    Ok(cli.command)
}

fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Migrate(args) => migrate::run(&args),
        Command::Sale(args) => sale::run(&args),
        Command::Token(args) => token::run(&args),
        Command::Load(args) => load::run(*args),
        Command::Check(args) => check::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
