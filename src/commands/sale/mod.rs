//! `sale`: the operator's client of the admin API.
//!
//! What the server refuses (a 4xx) ends with status 64, as the request was wrong; a wrong admin token with 78; a
//! server that is away or cannot serve with 69.

pub(super) mod client;
mod request;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Exit, ExitError, output};
use crate::settings::AdminArgs;
use client::Client;
use request::{ChangeArgs, CreateArgs};
use wire::domain::ids::SaleId;

/// What `sale` reads.
#[derive(Debug, Args)]
pub struct SaleArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// Print the server's answer as it is
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: SaleCommand,
}

#[derive(Debug, Subcommand)]
enum SaleCommand {
    /// Create a sale, from a seating plan or with generated seats
    Create(Box<CreateArgs>),
    /// List all sales
    List,
    /// Show a sale's settings and live numbers
    Show(OneSale),
    /// Open a sale: admissions begin
    Open(OneSale),
    /// Pause a sale: the line stays, nobody is admitted
    Pause(OneSale),
    /// Close a sale for good: asks for its id first
    Close {
        #[command(flatten)]
        sale: OneSale,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Forget a closed sale: its bookings, seats and line, for good; asks for its id first
    Delete {
        #[command(flatten)]
        sale: OneSale,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Change a sale's settings
    Set(Box<ChangeArgs>),
    /// Show all visitors a message; an empty one clears it
    Notice {
        #[command(flatten)]
        sale: OneSale,
        /// The message, plain text
        text: String,
    },
    /// Tell what happened to a visitor and when, for complaints
    Visitor {
        #[command(flatten)]
        sale: OneSale,
        /// The visitor's id, as in the bookings
        visitor: String,
    },
    /// End a visitor's place and send him away; he may come again
    Remove {
        #[command(flatten)]
        sale: OneSale,
        /// The visitor's id, as in the bookings
        visitor: String,
        /// For good, until he is removed again without this
        #[arg(long)]
        ban: bool,
    },
    /// Print all bookings
    Bookings {
        #[command(flatten)]
        sale: OneSale,
        /// As comma-separated values
        #[arg(long, conflicts_with = "json")]
        csv: bool,
    },
}

#[derive(Debug, Args)]
struct OneSale {
    /// The sale's id
    #[arg(value_name = "SALE", value_parser = sale_id)]
    id: SaleId,
}

/// Does what was asked and prints the outcome.
pub fn run(args: &SaleArgs) -> anyhow::Result<Exit> {
    // Read before the server is asked: a file that is not there is no reason to need a server.
    let body = match &args.command {
        SaleCommand::Create(create) => create.body()?,
        SaleCommand::Set(change) => change.body()?,
        _ => Value::Null,
    };
    let client = Client::new(&args.admin.resolve()?);
    let answer = match &args.command {
        SaleCommand::Bookings { sale, csv } => {
            show::bookings(&client, sale.id.as_str(), args.json, *csv)?;
            return Ok(Exit::Done);
        }
        SaleCommand::Visitor { sale, visitor } => {
            client.get(&format!("{}/visitors/{}", path(&sale.id), client::segment(visitor)))?
        }
        SaleCommand::Remove { sale, visitor, ban } => {
            let ban = if *ban { "?ban=true" } else { "" };
            client.delete(&format!("{}/visitors/{}{ban}", path(&sale.id), client::segment(visitor)))?
        }
        SaleCommand::List => client.get("/v1/admin/sales")?,
        SaleCommand::Show(sale) => client.get(&path(&sale.id))?,
        SaleCommand::Create(create) => {
            let made = client.post("/v1/admin/sales", &body)?;
            if create.open { client.patch(&path(&create.id), &json!({"phase": "open"}))? } else { made }
        }
        SaleCommand::Set(change) => client.patch(&path(&change.id), &body)?,
        SaleCommand::Open(sale) => client.patch(&path(&sale.id), &json!({"phase": "open"}))?,
        SaleCommand::Pause(sale) => client.patch(&path(&sale.id), &json!({"phase": "paused"}))?,
        SaleCommand::Close { sale, yes } => {
            sure("Closing is final: nobody can join or book any more.", &sale.id, *yes)?;
            client.patch(&path(&sale.id), &json!({"phase": "closed"}))?
        }
        SaleCommand::Delete { sale, yes } => {
            sure("All bookings of this sale will be deleted.", &sale.id, *yes)?;
            client.delete(&format!("{}?confirm={}", path(&sale.id), sale.id))?
        }
        SaleCommand::Notice { sale, text } => client.patch(&path(&sale.id), &json!({"notice": text}))?,
    };
    for warning in show::warnings(&answer) {
        eprintln!("waitroom: warning: {warning}");
    }
    let text = match &args.command {
        SaleCommand::Delete { sale, .. } if !args.json => format!("{} is deleted", sale.id),
        _ if args.json => answer.to_string(),
        SaleCommand::List => show::list(&answer),
        SaleCommand::Show(_) => show::one(&answer),
        SaleCommand::Visitor { .. } => show::visitor(&answer),
        SaleCommand::Remove { .. } => show::removed(&answer).to_owned(),
        _ => show::brief(&answer),
    };
    output::print(&text)?;
    Ok(Exit::Done)
}

/// What cannot be undone is asked for: the sale's id is to be typed.
pub(super) fn sure(what: &str, id: &SaleId, yes: bool) -> Result<(), ExitError> {
    if yes {
        return Ok(());
    }
    eprint!("{what} Type {id} to go on: ");
    let mut typed = String::new();
    let read = std::io::stdin().read_line(&mut typed);
    if read.is_ok() && typed.trim() == id.as_str() {
        return Ok(());
    }
    Err(ExitError::new(Exit::Usage, format!("nothing was done; type {id}, or say --yes")))
}

fn path(id: &SaleId) -> String {
    format!("/v1/admin/sales/{}", id.as_str())
}

pub(super) fn sale_id(text: &str) -> Result<SaleId, String> {
    SaleId::parse(text).ok_or_else(|| "a sale's id is 1 to 64 of a-z 0-9 -".to_owned())
}

fn read(path: &PathBuf) -> Result<String, ExitError> {
    std::fs::read_to_string(path)
        .map_err(|error| ExitError::new(Exit::File, format!("cannot read {}: {error}", path.display())))
}
