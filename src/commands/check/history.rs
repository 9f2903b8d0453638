//! `check HISTORY…`: the invariants, on recorded histories and the final state of the stores.

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use super::{CheckArgs, exit};
use crate::commands::{Exit, ExitError, serve};
use crate::settings::{RedisSettings, SecretUrl};
use crate::store::bookings::{Bookings, Sold};
use crate::store::errors::StoreError;
use crate::store::line::{Found, Survey};
use crate::store::postgres::connect::postgres_pool;
use crate::store::redis::{Redis, Site};
use crate::store::sales::Sales;
use load::checker::{
    FinalState, LineState, Log, PlaceState, ShopBooking, ShopState, Status, Verdict, check, fingerprint,
};
use load::history::{HistoryError, belong_together, read};
use wire::domain::ids::SaleId;

#[derive(Serialize)]
struct Report<'a> {
    status: Status,
    entries: usize,
    verdicts: &'a [Verdict],
}

/// Checks and prints a line for each invariant.
pub(super) fn run(args: &CheckArgs) -> anyhow::Result<Exit> {
    if args.html.is_some() || !args.heads.is_empty() {
        let why = "--html and --head are for a sale's journal; a history is drawn by `waitroom load --html`";
        return Err(ExitError::new(Exit::Usage, why).into());
    }
    let mut log = take_in(&args.files)?;
    let state = serve::runtime()?.block_on(final_state(args, &log))?;
    let verdicts = check(&mut log, &state);
    let any = |status| verdicts.iter().any(|verdict| verdict.status == status);
    let status = [Status::Violated, Status::TooLittle].into_iter().find(|status| any(*status));
    let status = status.unwrap_or(Status::Proved);
    let report = Report { status, entries: log.len(), verdicts: &verdicts };
    let lines: Vec<String> = verdicts.iter().map(ToString::to_string).collect();
    args.say(&lines.join("\n"), &report)?;
    Ok(exit(status))
}

fn take_in(paths: &[PathBuf]) -> Result<Log, ExitError> {
    let fault = |error: HistoryError| {
        let exit = if matches!(error, HistoryError::Mixed(_)) { Exit::Usage } else { Exit::File };
        ExitError::new(exit, error.to_string())
    };
    let mut log = Log::default();
    for path in paths {
        let part = read(path, |line, entry| log.take(line, entry)).map_err(fault)?;
        log.part_done(part);
    }
    belong_together(log.parts()).map_err(fault)?;
    Ok(log)
}

async fn final_state(args: &CheckArgs, log: &Log) -> anyhow::Result<FinalState> {
    let sale = log.parts().first().and_then(|part| SaleId::parse(&part.header.sale));
    let sale = sale.ok_or_else(|| ExitError::new(Exit::File, "the history names no sale"))?;
    let line = match args.redis.url()? {
        Some(url) => line_state(&url, args, &sale).await?,
        None => None,
    };
    let shop = match args.postgres.url()? {
        Some(url) => Some(shop_state(url.expose(), &sale).await?),
        None => None,
    };
    Ok(FinalState { line, shop })
}

async fn line_state(url: &SecretUrl, args: &CheckArgs, sale: &SaleId) -> anyhow::Result<Option<LineState>> {
    args.redis_tls.check(url)?;
    let (redis_addresses, tls) = (args.redis_addresses.clone(), args.redis_tls.clone());
    let settings = RedisSettings { redis_addresses, tls, ..RedisSettings::at(url.clone()) };
    let site = Site::of(&settings).map_err(StoreError::from)?;
    // Reads only: it needs no lease, and so no name.
    let redis = Redis::connect(site, "check").await?;
    match redis.line(sale).survey().await? {
        Found::Missing => {
            eprintln!("waitroom: this Redis has no line of sale {sale}; it is left out");
            Ok(None)
        }
        Found::Moving => {
            eprintln!(
                "waitroom: the line of sale {sale} still changes, so it is left out; check again when the run is over"
            );
            Ok(None)
        }
        Found::Still(survey) => Ok(Some(plain(*survey))),
    }
}

fn plain(survey: Survey) -> LineState {
    let numbered = |set: Vec<(String, u64)>| {
        set.into_iter().map(|(visitor, seq)| (fingerprint(&visitor), seq)).collect()
    };
    let place =
        |(visitor, stage, seq): (String, _, _)| PlaceState { visitor: fingerprint(&visitor), seq, stage };
    LineState {
        epoch: survey.epoch,
        places: survey.places.into_iter().map(place).collect(),
        line: numbered(survey.line),
        returned: numbered(survey.returned),
        away: numbered(survey.away),
        grants: survey.grants.iter().map(|visitor| fingerprint(visitor)).collect(),
    }
}

async fn shop_state(url: &str, id: &SaleId) -> anyhow::Result<ShopState> {
    let pool = postgres_pool(url, 2).map_err(StoreError::from)?;
    let sale = Sales::new(pool.clone()).load(id).await?;
    let unknown = || ExitError::new(Exit::Usage, format!("this PostgreSQL has no sale {id}"));
    let (sale, state) = sale.ok_or_else(unknown)?;
    let survey = Bookings::new(pool, id.clone(), sale.plan).survey().await;
    let survey = survey.context("reading the bookings")?;
    let booking = |sold: Sold| ShopBooking {
        booking: sold.booking,
        grant: sold.grant,
        visitor: fingerprint(&sold.visitor),
        seats: sold.seats,
        status: sold.status,
    };
    let bookings = survey.bookings.into_iter().map(booking).collect();
    Ok(ShopState { sale: id.clone(), settings: state.settings, bookings, seats: survey.seats })
}
