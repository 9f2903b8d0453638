//! `waitroom load`: the load generator.

use super::{Exit, ExitError, limits, load_report::ReportArgs, output};
use crate::{
    domain::ids::SaleId,
    load::{
        Admin, Behaviour, LoadError, Options, Report, SourceSpec, Target, Threshold, WishKind,
        behaviour::{parse_counts, parse_duration, parse_durations},
    },
    settings::{IdentityKey, Secret},
};
use anyhow::Context;
use clap::Args;
use std::{fs, path::PathBuf, time::Duration};

/// Sends a crowd of simulated visitors to a sale and checks what they see.
///
/// Visitors arrive when they were drawn to arrive, however slow the server is; latencies count from that
/// moment. At the end the order of places and grants, the seats and the bookings are checked.
///
/// Exit status: 0 all well; 64 wrong usage; 69 the server is not there or is no waiting room; 74 the report
/// cannot be written; 99 a promise or a threshold was broken.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The waiting room's public address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// The sale's id.
    #[arg(long, default_value = "demo", value_parser = |id: &str| SaleId::parse(id).ok_or("1 to 64 of a-z, 0-9 and -"))]
    sale: SaleId,
    /// How many visitors come.
    #[arg(long, default_value_t = 2000)]
    visitors: usize,
    /// Over what time they arrive.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    ramp: Duration,
    /// How many seats a visitor wants: `2`, or `1..2`.
    #[arg(long, default_value = "1..2", value_parser = parse_counts)]
    seats: (u32, u32),
    /// Whether the server or the visitor picks the seats.
    #[arg(long, value_enum, default_value_t = WishKind::Best)]
    wish: WishKind,
    /// How long a visitor looks at the seats before he books: `1s`, or `0s..2s`.
    #[arg(long, default_value = "0s..2s", value_parser = parse_durations)]
    think: (Duration, Duration),
    /// How likely a waiting visitor's connection is to break off once; he comes back.
    #[arg(long, default_value_t = 0.0, value_parser = parse_chance, value_name = "0..1")]
    vanish: f64,
    /// How long the run may go on after the last arrival.
    #[arg(long, default_value = "120s", value_parser = parse_duration)]
    timeout: Duration,
    /// The dice: the same seed, the same crowd.
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    /// A threshold, such as `join_p99=250ms` or `redeem_max=1s`; may be given several times.
    #[arg(long, value_name = "NAME_pXX=DURATION")]
    max: Vec<Threshold>,
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

/// Makes the run and prints its report to stdout.
pub fn run(args: LoadArgs) -> anyhow::Result<Exit> {
    if !args.report.merge.is_empty() {
        return args.report.merge(args.json.as_deref());
    }
    limits::raise_open_files();
    let report = try_run(args).map_err(|error| match error.downcast::<LoadError>() {
        Ok(LoadError::Usage(why)) => ExitError::new(Exit::Usage, why).into(),
        Ok(LoadError::Unreachable(why)) => ExitError::new(Exit::Unreachable, why).into(),
        Ok(file) => ExitError::new(Exit::File, file.to_string()).into(),
        Err(bug) => bug,
    })?;
    Ok(match report.exit_status() {
        0 => Exit::Done,
        69 => Exit::Unreachable,
        _ => Exit::Broken,
    })
}

fn try_run(args: LoadArgs) -> anyhow::Result<Report> {
    let (json, report_args) = (args.json.clone(), args.report.clone());
    let options = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let report = runtime.context("cannot start the runtime")?.block_on(crate::load::run(options))?;
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
    report_args.after_run(None, &report)?;
    Ok(report)
}

fn options(args: LoadArgs) -> Result<Options, LoadError> {
    args.report.check(None)?;
    if args.visitors == 0 {
        return Err(LoadError::Usage("--visitors must be at least 1".into()));
    }
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
    Ok(Options {
        target: Target::parse(&args.url, args.sale)?,
        visitors: args.visitors,
        ramp: args.ramp,
        behaviour: Behaviour {
            seats: args.seats,
            wish: args.wish,
            think: args.think,
            vanish_chance: args.vanish,
            ..Behaviour::default()
        },
        timeout: args.timeout,
        seed: args.seed,
        identity_key: identity_key.transpose()?.map(|key| key.bytes().to_vec()),
        sources: args.source_ips,
        admin,
        thresholds: args.max,
        require_drain: args.require_drain,
        quiet: args.quiet,
    })
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
        options(line.load).map_err(|e| e.to_string())
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
            "load --url https://example.org",
            "load --admin http://127.0.0.1:9090",
            "load --max join_p99",
            "load --sale A",
            "load --vanish 2",
            "load --identity-key a --identity-key-file b",
            "load --identity-key short",
            "load --html page.html",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
