//! `check --sale`, `check JOURNAL` and `check --receipt`: a sale's journal, and a visitor's receipt held against it.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{CheckArgs, exit, noted, write};
use crate::commands::journal::source::Source;
use crate::commands::{Exit, ExitError};
use crate::settings::missing;
use load::checker::Status;
use load::journal::{Header, Item, JournalError, Proof, Reader, ReceiptError, hold};
use wire::domain::journal::Receipt;

/// Where a journal is read.
enum Journal {
    Sale(Box<Source>),
    File(Box<Reader>),
}

impl Journal {
    fn open(args: &CheckArgs) -> anyhow::Result<Self> {
        if let Some(sale) = &args.sale {
            let url = args.postgres.url()?.ok_or_else(|| missing("postgres_url"))?;
            return Ok(Self::Sale(Box::new(Source::open(&url, sale)?)));
        }
        let path =
            args.files.first().ok_or_else(|| ExitError::new(Exit::Usage, "give a journal, or --sale"))?;
        Ok(Self::File(Box::new(Reader::open(path).map_err(garbled)?)))
    }

    fn header(&self) -> &Header {
        match self {
            Self::Sale(source) => source.header(),
            Self::File(reader) => reader.header(),
        }
    }

    fn next_item(&mut self) -> anyhow::Result<Option<Item>> {
        match self {
            Self::Sale(source) => source.next_item(),
            Self::File(reader) => Ok(reader.next_item().map_err(garbled)?),
        }
    }
}

fn garbled(error: JournalError) -> ExitError {
    ExitError::new(Exit::File, error.to_string())
}

/// Proves a journal.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    let heads = args.heads.iter().map(|head| noted::read(head)).collect::<Result<_, _>>()?;
    let mut journal = Journal::open(args)?;
    let mut proof = Proof::new(journal.header(), heads);
    while let Some(item) = journal.next_item()? {
        proof.take(item);
    }
    let report = proof.finish();
    args.say(&report, &report)?;
    if let Some(path) = &args.html {
        write(path, &report.html())?;
    }
    Ok(exit(report.status))
}

#[derive(Serialize)]
struct Answer<'a> {
    status: Status,
    #[serde(flatten)]
    held: &'a load::journal::Held,
}

/// Holds a visitor's receipt against a journal.
pub(super) fn receipt(args: &CheckArgs, path: &Path) -> anyhow::Result<Exit> {
    if args.html.is_some() || !args.heads.is_empty() {
        let why = "--html and --head are for a whole journal: check it without --receipt";
        return Err(ExitError::new(Exit::Usage, why).into());
    }
    let fault = |why: String| ExitError::new(Exit::File, format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| fault(format!("cannot be read: {error}")))?;
    let receipt: Receipt = serde_json::from_str(&text).map_err(|error| {
        fault(format!("is no receipt, which is what …/places/me/receipt answers with status 200 ({error})"))
    })?;
    let mut journal = match Journal::open(args)? {
        Journal::File(reader) => Journal::File(Box::new(reader.without_bookings())),
        sale => sale,
    };
    let sale = journal.header().sale.clone();
    let held = match hold(&receipt, &sale, || journal.next_item()) {
        Ok(held) => held,
        Err(ReceiptError::Journal(error)) => return Err(error),
        Err(error) => {
            let exit = match error {
                ReceiptError::AnotherSale(..) => Exit::Usage,
                ReceiptError::TooOld(..) | ReceiptError::Unreadable(_) => Exit::TooLittle,
                _ => Exit::Broken,
            };
            return Err(ExitError::new(exit, format!("{}: {error}", path.display())).into());
        }
    };
    args.say(&held, &Answer { status: Status::Proved, held: &held })?;
    Ok(Exit::Done)
}
