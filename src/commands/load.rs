//! `waitroom load`: the load generator.

use super::{Exit, ExitError, load_report::ReportArgs, output, system};
use crate::settings::{IdentityKey, Secret};
use anyhow::Context;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use load::{
    self, Admin, LoadError, Options, Report, SaleWanted, Scenario, SourceSpec, Target, Threshold, WishKind,
    arrivals::ramp,
    behaviour::{parse_counts, parse_duration, parse_durations},
    parse_threshold,
};
use std::{fs, path::PathBuf, time::Duration};
use wire::domain::ids::SaleId;

/// Sends a crowd of simulated visitors to a sale and checks what they see.
///
/// Visitors arrive when they were drawn to arrive, however slow the server is; latencies count from that
/// moment. At the end the order of places and grants, the seats and the bookings are checked.
///
/// Exit status: 0 all well; 64 wrong usage; 69 the server is not there or is no waiting room; 74 the report
/// cannot be written; 99 a promise or a threshold was broken.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The waiting room's public address, with or without TLS.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Over TLS, the authorities to believe, as PEM; else those that browsers believe.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// What kind of crowd: opening, worldcup, steady, impatient, no-show, hot-seats, reconnect-herd, bots, rush, or a file.
    /// The flags below change what it says.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// The sale's id. With a scenario and an operator's token a sale that does not exist is made; without an id
    /// it is a new one. Else: demo.
    #[arg(long, value_parser = |id: &str| SaleId::parse(id).ok_or("1 to 64 of a-z, 0-9 and -"))]
    sale: Option<SaleId>,
    /// How many visitors come (default: the scenario's, or 2000).
    #[arg(long)]
    visitors: Option<usize>,
    /// Over what time they arrive, evenly (default: as the scenario says, or 5s).
    #[arg(long, value_parser = parse_duration, conflicts_with = "stretch")]
    ramp: Option<Duration>,
    /// Plays the scenario's arrivals so many times as slowly.
    #[arg(long, value_name = "FACTOR", value_parser = parse_factor)]
    stretch: Option<f64>,
    /// How many seats a visitor wants: `2`, or `1..2` (default: 1..2).
    #[arg(long, value_parser = parse_counts)]
    seats: Option<(u32, u32)>,
    /// Whether the server or the visitor picks the seats (default: best).
    #[arg(long, value_enum)]
    wish: Option<WishKind>,
    /// How long a visitor looks at the seats before he books: `1s`, or `0s..2s` (default: 0s..2s).
    #[arg(long, value_parser = parse_durations)]
    think: Option<(Duration, Duration)>,
    /// How likely a waiting visitor's connection is to break off; he comes back.
    #[arg(long, value_parser = parse_chance, value_name = "0..1")]
    vanish: Option<f64>,
    /// How long the run may go on after the last arrival (default: 120s).
    #[arg(long, value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// The dice: the same seed, the same crowd.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Plays one part of the crowd: `2/8`. All parts need the same --run, --sale, --seed and --start-at.
    #[arg(long, value_parser = parse_part, default_value = "1/1", value_name = "K/N")]
    part: (u32, u32),
    /// Names the run in all its parts.
    #[arg(long, value_name = "ID")]
    run: Option<String>,
    /// When the run begins, such as 2026-11-25T12:00:00Z.
    #[arg(long, value_name = "TIME")]
    start_at: Option<Timestamp>,
    /// Write every operation of every visitor there, for `waitroom check`.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// The shop's HS256 key, text or base64:…; with it visitors come with identities, else anonymous.
    #[arg(long, value_name = "KEY")]
    identity_key: Option<Secret>,
    /// The same, in a file.
    #[arg(long, conflicts_with = "identity_key", value_name = "FILE")]
    identity_key_file: Option<PathBuf>,
    /// Source addresses: `127.0.0.2,127.0.0.3`, or `127.0.0.0/8`, of which as many are used as are needed.
    /// Above 18,000 connections to this machine that is done by itself.
    #[arg(long)]
    source_ips: Option<SourceSpec>,
    /// The admin address: bookings are compared with the shop's list at the end.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// The admin token.
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<Secret>,
    /// The same, in a file.
    #[arg(long, conflicts_with = "admin_token", value_name = "FILE")]
    admin_token_file: Option<PathBuf>,
    /// A threshold, such as `join_p99<250ms` or `redeem_max<1s`; may be given several times.
    /// (`violations==0` may be said too; every run is held to it.)
    #[arg(long, value_name = "NAME_pXX<DURATION", value_parser = parse_threshold)]
    max: Vec<Option<Threshold>>,
    /// Fail if a visitor has no outcome at the end.
    #[arg(long)]
    require_drain: bool,
    /// Write the report there as JSON; `-` for stdout, instead of the table.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
    /// No progress.
    #[arg(long)]
    quiet: bool,
}

fn parse_chance(text: &str) -> Result<f64, String> {
    let chance = text.parse().ok().filter(|chance| (0.0..=1.0).contains(chance));
    chance.ok_or_else(|| format!("{text:?} is no number from 0 to 1"))
}

fn parse_factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (0.001..=1000.0).contains(factor));
    factor.ok_or_else(|| format!("{text:?} is no number from 0.001 to 1000"))
}

fn parse_part(text: &str) -> Result<(u32, u32), String> {
    let part = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    part.filter(|(k, n)| (1..=*n).contains(k)).ok_or_else(|| format!("{text:?} is no part: write 1/4 to 4/4"))
}

/// Makes the run and prints its report to stdout.
pub fn run(args: LoadArgs) -> anyhow::Result<Exit> {
    if !args.report.merge.is_empty() {
        return args.report.merge(args.json.as_deref());
    }
    system::raise_open_files();
    let report = try_run(args).map_err(|error| match error.downcast::<LoadError>() {
        Ok(LoadError::Usage(why)) => ExitError::new(Exit::Usage, why).into(),
        Ok(LoadError::Unreachable(why)) => ExitError::new(Exit::Unreachable, why).into(),
        Ok(file) => ExitError::new(Exit::File, file.to_string()).into(),
        Err(bug) => bug,
    })?;
    Ok(match report.exit_status() {
        0 => Exit::Done,
        74 => Exit::File,
        69 => Exit::Unreachable,
        _ => Exit::Broken,
    })
}

fn try_run(args: LoadArgs) -> anyhow::Result<Report> {
    let (json, history, pages) = (args.json.clone(), args.history.clone(), args.report.clone());
    let (options, wanted) = options(args)?;
    if let (Some(wanted), Some(admin)) = (&wanted, &options.admin) {
        let opens_at =
            options.start_at.unwrap_or_else(Timestamp::now) + SignedDuration::try_from(wanted.opens_after)?;
        load::create_sale(admin, &options.target.sale, wanted, options.identity_key.is_none(), opens_at)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let report = runtime.context("cannot start the runtime")?.block_on(load::run(options))?;
    match json {
        Some(path) if path.as_os_str() == "-" => output::print(&serde_json::to_string_pretty(&report)?)?,
        Some(path) => {
            output::print(report.to_string().trim_end())?;
            let file = || path.display().to_string();
            fs::write(&path, serde_json::to_vec_pretty(&report)?)
                .map_err(|source| LoadError::File { path: file(), source })?;
        }
        None => output::print(report.to_string().trim_end())?,
    }
    pages.after_run(history.as_deref(), &report)?;
    Ok(report)
}

/// What to run, and the sale to make for it if there is none.
fn options(args: LoadArgs) -> Result<(Options, Option<SaleWanted>), LoadError> {
    args.report.check(args.history.as_deref())?;
    let admin_token = secret(args.admin_token, args.admin_token_file)?.map(|token| token.expose().to_owned());
    let identity_key = secret(args.identity_key, args.identity_key_file)?.map(|key| {
        let key = IdentityKey::parse(key.expose());
        key.map_err(|fault| LoadError::Usage(format!("--identity-key: {fault}")))
    });
    let admin = match (args.admin, admin_token) {
        (Some(url), Some(token)) => Some(Admin { url, token }),
        (Some(_), None) => return Err(LoadError::Usage("--admin needs --admin-token".into())),
        (None, _) => None,
    };
    if args.part.1 > 1 && (args.run.is_none() || args.sale.is_none() || args.start_at.is_none()) {
        return Err(LoadError::Usage(
            "--part needs --run, --sale and --start-at: the same in all parts".into(),
        ));
    }
    let mut scenario = args.scenario.as_deref().map(Scenario::load).transpose()?.unwrap_or_default();
    scenario.visitors = args.visitors.unwrap_or(scenario.visitors);
    if scenario.visitors == 0 {
        return Err(LoadError::Usage("--visitors must be at least 1".into()));
    }
    if let Some(over) = args.ramp {
        scenario.arrivals = ramp(over);
    }
    scenario.stretch(args.stretch.unwrap_or(1.0));
    scenario.thresholds.extend(args.max.into_iter().flatten());
    let mut behaviour = scenario.behaviour;
    behaviour.seats = args.seats.unwrap_or(behaviour.seats);
    behaviour.wish = args.wish.unwrap_or(behaviour.wish);
    behaviour.think = args.think.unwrap_or(behaviour.think);
    behaviour.vanish_chance = args.vanish.unwrap_or(behaviour.vanish_chance);
    let wanted = scenario.sale.filter(|_| admin.is_some());
    let sale = match args.sale {
        Some(sale) => Some(sale),
        None if wanted.is_some() => SaleId::parse(&format!("load-{}", Timestamp::now().as_millisecond())),
        None => SaleId::parse("demo"),
    };
    let sale = sale.ok_or_else(|| LoadError::Usage("--sale: 1 to 64 of a-z, 0-9 and -".into()))?;
    let target = Target::with(&args.url, sale, args.ca_file.as_deref())?;
    if target.is_secure() && !scenario.attackers.kinds.is_empty() {
        let why = "--url: the scenario's attackers speak no TLS, and would try nothing; give the http:// address of an instance";
        return Err(LoadError::Usage(why.into()));
    }
    let options = Options {
        target,
        scenario: scenario.name,
        visitors: scenario.visitors,
        arrivals: scenario.arrivals,
        part: args.part,
        run: args.run,
        start_at: args.start_at,
        history: args.history,
        behaviour,
        attackers: scenario.attackers,
        timeout: args.timeout.unwrap_or(scenario.timeout),
        seed: args.seed,
        identity_key: identity_key.transpose()?.map(|key| key.bytes().to_vec()),
        sources: args.source_ips,
        admin,
        thresholds: scenario.thresholds,
        require_drain: args.require_drain,
        quiet: args.quiet,
    };
    Ok((options, wanted))
}

/// A secret given as such, or in a file.
fn secret(value: Option<Secret>, file: Option<PathBuf>) -> Result<Option<Secret>, LoadError> {
    let Some(path) = file else { return Ok(value) };
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(Secret::from(text.trim_end_matches(['\r', '\n']).to_owned()))),
        Err(source) => Err(LoadError::File { path: path.display().to_string(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn parse(line: &str) -> Result<Options, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|e| e.to_string())?;
        options(line.load).map(|(options, _)| options).map_err(|e| e.to_string())
    }

    #[test]
    fn a_full_command_line_is_understood() {
        let line = "load --url http://127.0.0.1:8080 --sale demo --visitors 9 --ramp 5s --seats 2 --wish mixed \
                    --think 0s..2s --timeout 2m --seed 7 --identity-key 0123456789abcdef0123456789abcdef --source-ips 127.0.0.0/8 --vanish 0.1 \
                    --admin http://127.0.0.1:9090 --admin-token t --max join_p99=250ms --max redeem_p99=250ms";
        let options = parse(&line.split_whitespace().collect::<Vec<_>>().join(" ")).unwrap();
        assert_eq!((options.visitors, options.behaviour.seats, options.thresholds.len()), (9, (2, 2), 2));
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "load --visitors 0",
            "load --url https://example.org --ca-file /no/such/file",
            "load --admin http://127.0.0.1:9090",
            "load --max join_p99",
            "load --sale A",
            "load --vanish 2",
            "load --part 3/2",
            "load --part 1/2",
            "load --scenario no-such-file",
            "load --stretch 0",
            "load --identity-key a --identity-key-file b",
            "load --identity-key short",
            "load --html page.html",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
