//! `token`: signs a visitor's identity, as a shop's back end would.

use clap::{Args, value_parser};
use jiff::Timestamp;

use super::{Exit, ExitError, output};
use crate::settings::{IdentityArgs, missing};
use wire::domain::identity;
use wire::domain::ids::{SaleId, VisitorId};

/// What `token` reads.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// The sale that the identity is for
    #[arg(long, value_name = "ID")]
    sale: String,
    /// Who the visitor is
    #[arg(long, value_name = "VISITOR")]
    sub: String,
    /// Seconds until it expires
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = value_parser!(i64).range(1..=31_536_000))]
    ttl_s: i64,
    #[command(flatten)]
    key: IdentityArgs,
}

/// Prints the identity.
pub fn run(args: &TokenArgs) -> anyhow::Result<Exit> {
    let usage = |message: &str| ExitError::new(Exit::Usage, message);
    SaleId::parse(&args.sale).ok_or_else(|| usage("--sale: use 1 to 64 of a-z 0-9 -"))?;
    VisitorId::parse(&args.sub)
        .ok_or_else(|| usage("--sub: use 1 to 256 bytes without control characters"))?;
    let key = args.key.identity()?.ok_or_else(|| missing("identity_key"))?;
    let expires = Timestamp::now().as_second() + args.ttl_s;
    output::print(&identity::sign(key.bytes(), &args.sub, &args.sale, expires))?;
    Ok(Exit::Done)
}
