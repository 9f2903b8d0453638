//! What `sale create` and `sale set` send.

use std::path::PathBuf;

use clap::{ArgGroup, Args, value_parser};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{read, sale_id};
use crate::commands::{Exit, ExitError};
use wire::domain::ids::SaleId;
use wire::domain::sample_plan::{SEATS_MAX, sample_plan};

/// `sale create`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("hall").required(true).args(["plan", "seats"]))]
pub(super) struct CreateArgs {
    /// The new sale's id
    #[arg(value_name = "SALE", value_parser = sale_id)]
    pub(super) id: SaleId,
    /// A seating plan in pretix's format
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Make up a plan of so many seats
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=i64::from(SEATS_MAX)))]
    seats: Option<u32>,
    /// What visitors read (default: the id)
    #[arg(long)]
    name: Option<String>,
    /// Admissions a second
    #[arg(long, value_name = "NUMBER", default_value_t = 10.0, value_parser = rate)]
    rate: f64,
    /// Live grants at once
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    max_active: u32,
    /// Seconds to book in, once admitted
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    grant_ttl_s: u32,
    /// Seats in one booking at most
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    max_seats: u32,
    /// Let visitors in without an identity of the shop
    #[arg(long)]
    anonymous: bool,
    /// Open it at once
    #[arg(long)]
    pub(super) open: bool,
    #[command(flatten)]
    more: MoreArgs,
}

/// `sale set`.
#[derive(Debug, Args)]
pub(super) struct ChangeArgs {
    /// The sale's id
    #[arg(value_name = "SALE", value_parser = sale_id)]
    pub(super) id: SaleId,
    /// What visitors read
    #[arg(long)]
    name: Option<String>,
    /// Whether visitors need no identity of the shop
    #[arg(long, value_name = "BOOL")]
    anonymous: Option<bool>,
    /// Admissions a second
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    rate: Option<f64>,
    /// Live grants at once
    #[arg(long, value_name = "COUNT")]
    max_active: Option<u32>,
    /// Seconds to book in, once admitted
    #[arg(long, value_name = "SECONDS")]
    grant_ttl_s: Option<u32>,
    /// Seats in one booking at most
    #[arg(long, value_name = "COUNT")]
    max_seats: Option<u32>,
    #[command(flatten)]
    more: MoreArgs,
}

/// What both may say; the server's defaults hold for what is not said.
#[derive(Debug, Args)]
struct MoreArgs {
    /// Seconds to show up in, once admitted
    #[arg(long, value_name = "SECONDS")]
    claim_s: Option<u32>,
    /// Seconds of absence after which one is passed over
    #[arg(long, value_name = "SECONDS")]
    away_s: Option<u32>,
    /// Seconds to pay in; 0 confirms bookings at once
    #[arg(long, value_name = "SECONDS")]
    hold_ttl_s: Option<u32>,
    /// When it opens by itself, such as 2026-11-22T10:00:00Z; `none` for never
    #[arg(long, value_name = "TIME", value_parser = opens_at)]
    opens_at: Option<OpensAt>,
    /// Seats not for sale, comma-separated; '' for none
    #[arg(long, value_name = "SEATS", value_delimiter = ',')]
    blocked: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy)]
struct OpensAt(Option<Timestamp>);

/// What JSON can say: it knows no `nan` and no `inf`, which would be sent as nothing.
fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite());
    rate.ok_or_else(|| "is no number, such as 2.5".to_owned())
}

fn opens_at(text: &str) -> Result<OpensAt, String> {
    if text == "none" {
        return Ok(OpensAt(None));
    }
    text.parse()
        .map(|time| OpensAt(Some(time)))
        .map_err(|_| "is no time such as 2026-11-22T10:00:00Z".to_owned())
}

impl CreateArgs {
    /// The request's body; reads the plan.
    pub(super) fn body(&self) -> Result<Value, ExitError> {
        let plan = match (&self.plan, self.seats) {
            (Some(path), _) => serde_json::from_str(&read(path)?).map_err(|error| {
                ExitError::new(Exit::Usage, format!("plan: {} is not JSON: {error}", path.display()))
            })?,
            (None, seats) => sample_plan(seats.unwrap_or(1)),
        };
        let id = self.id.as_str();
        let mut body = Map::new();
        body.insert("id".into(), id.into());
        body.insert("name".into(), self.name.as_deref().unwrap_or(id).into());
        body.insert("plan".into(), plan);
        body.insert("rate".into(), self.rate.into());
        body.insert("max_active".into(), self.max_active.into());
        body.insert("grant_ttl_s".into(), self.grant_ttl_s.into());
        body.insert("max_seats".into(), self.max_seats.into());
        body.insert("anonymous".into(), self.anonymous.into());
        self.more.add_to(&mut body);
        Ok(Value::Object(body))
    }
}

impl ChangeArgs {
    /// The request's body.
    pub(super) fn body(&self) -> Result<Value, ExitError> {
        let mut body = Map::new();
        add(&mut body, "name", self.name.as_deref());
        add(&mut body, "anonymous", self.anonymous);
        add(&mut body, "rate", self.rate);
        add(&mut body, "max_active", self.max_active);
        add(&mut body, "grant_ttl_s", self.grant_ttl_s);
        add(&mut body, "max_seats", self.max_seats);
        self.more.add_to(&mut body);
        if body.is_empty() {
            return Err(ExitError::new(Exit::Usage, "nothing to change; see `waitroom sale set --help`"));
        }
        Ok(Value::Object(body))
    }
}

impl MoreArgs {
    fn add_to(&self, body: &mut Map<String, Value>) {
        add(body, "claim_s", self.claim_s);
        add(body, "away_s", self.away_s);
        add(body, "hold_ttl_s", self.hold_ttl_s);
        add(body, "opens_at", self.opens_at.map(|OpensAt(time)| json!(time.map(|time| time.to_string()))));
        let seats = self.blocked.as_ref().map(|seats| {
            seats
                .iter()
                .map(|seat| seat.trim())
                .filter(|seat| !seat.is_empty())
                .map(Value::from)
                .collect::<Vec<_>>()
        });
        add(body, "blocked", seats);
    }
}

fn add(body: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parse<T: Args + FromArgMatches>(args: &[&str]) -> T {
        let command = T::augment_args(Command::new("test"));
        T::from_arg_matches(&command.get_matches_from(["test"].iter().chain(args))).unwrap()
    }

    #[test]
    fn create_says_what_must_be_said() {
        let args: CreateArgs = parse(&["spring", "--seats", "3", "--opens-at", "2026-11-22T10:00:00+01:00"]);
        let body = args.body().unwrap();
        assert_eq!(body["name"], "spring");
        assert_eq!(body["opens_at"], "2026-11-22T09:00:00Z");
        assert_eq!(body["plan"]["zones"][0]["rows"][0]["seats"].as_array().unwrap().len(), 3);
        assert!(body.get("claim_s").is_none() && body["anonymous"] == false);
    }

    #[test]
    fn set_says_only_what_was_given() {
        let args: ChangeArgs = parse(&["spring", "--rate", "2.5", "--blocked", "", "--opens-at", "none"]);
        assert_eq!(args.body().unwrap(), json!({"rate": 2.5, "blocked": [], "opens_at": null}));
        let args: ChangeArgs = parse(&["spring", "--blocked", "A-1, A-2"]);
        assert_eq!(args.body().unwrap(), json!({"blocked": ["A-1", "A-2"]}));
        let nothing: ChangeArgs = parse(&["spring"]);
        assert_eq!(nothing.body().unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn a_plan_that_cannot_be_read() {
        let args: CreateArgs = parse(&["spring", "--plan", "/nonexistent"]);
        assert_eq!(args.body().unwrap_err().exit, Exit::File);
    }
}
