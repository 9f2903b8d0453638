//! A run: the crowd arrives, lives, and is asked what it saw.

use super::{
    Behaviour, LoadError, SourceSpec, Target, Threshold,
    connect::Dialer,
    facts::VisitorFacts,
    http::{self, Admin, ExportRow},
    meters::{Measure, Meters},
    progress,
    random::Random,
    report::Report,
    scene::Scene,
    session::{World, live},
    sources::{CONNECTIONS_AN_ADDRESS, Sources},
    verify::verify,
    visitor::Visitor,
};
use crate::domain::identity;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{Instant, sleep_until, timeout_at},
};

/// How often the generator looks how late its own event loop is.
const LAG_LOOK: Duration = Duration::from_millis(10);
/// Files that a run needs beside its sockets.
const FILES_BESIDE: u64 = 64;
/// How much longer than the run its identities are good for, in seconds.
const IDENTITY_SPARE_S: u64 = 3600;

/// What to run.
#[derive(Clone)]
pub struct Options {
    /// Where.
    pub target: Target,
    /// How many visitors.
    pub visitors: usize,
    /// Over what time they arrive.
    pub ramp: Duration,
    /// How they behave.
    pub behaviour: Behaviour,
    /// How long the run may go on after the last arrival.
    pub timeout: Duration,
    /// What the dice are thrown with.
    pub seed: u64,
    /// The shop's HS256 key; anonymous visitors without.
    pub identity_key: Option<Vec<u8>>,
    /// Where connections come from.
    pub sources: Option<SourceSpec>,
    /// Whom to ask for the list of bookings.
    pub admin: Option<Admin>,
    /// What must not be exceeded.
    pub thresholds: Vec<Threshold>,
    /// Whether every visitor's story must have ended.
    pub require_drain: bool,
    /// No progress.
    pub quiet: bool,
}

/// A run that is under way.
struct Run {
    world: World,
    /// One a visitor: he writes into his own, so there is no crowd at the lock.
    facts: Vec<Mutex<VisitorFacts>>,
}

/// Stops a task when it is no longer needed.
struct Background(AbortHandle);

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes the run and says what came out.
pub async fn run(options: Options) -> Result<Report, LoadError> {
    let address = options.target.resolve().await?;
    let target = options.target.clone();
    let plan = blocking(move || http::plan(&target)).await?;
    if let Some(admin) = options.admin.clone() {
        let sale = options.target.sale.clone();
        blocking(move || http::check_admin(&admin, &sale)).await?;
    }
    raise_file_limit(options.visitors)?;
    let sources = sources(&options, address);
    let dialer = Dialer::new(&options.target, address, sources).map_err(LoadError::Usage)?;
    let scene =
        Scene { plan, behaviour: options.behaviour, meters: Meters::default(), start: Instant::now() };
    let facts = (0..options.visitors).map(|_| Mutex::default()).collect();
    let run = Arc::new(Run { world: World { scene, dialer }, facts });

    let interrupted = crowd_through(&run, &options).await;
    let duration = run.world.scene.start.elapsed();
    let export = match options.admin.clone() {
        Some(admin) => {
            let sale = options.target.sale.clone();
            Some(blocking(move || http::export(&admin, &sale)).await)
        }
        None => None,
    };
    Ok(conclude(&run, &options, duration, interrupted, export))
}

/// Lets all arrive and waits until their stories have ended; whether that was cut short by Ctrl-C.
async fn crowd_through(run: &Arc<Run>, options: &Options) -> bool {
    let watched = run.clone();
    let _lag =
        Background(tokio::spawn(async move { watch_lag(&watched.world.scene.meters).await }).abort_handle());
    let watched = run.clone();
    let (visitors, quiet) = (options.visitors as u64, options.quiet);
    let shown = async move { progress::show(&watched.world.scene.meters, visitors, quiet).await };
    let _progress = Background(tokio::spawn(shown).abort_handle());
    let mut tasks = JoinSet::new();
    let all = async {
        arrive(run, options, &mut tasks).await;
        let end = Instant::now() + options.timeout;
        while let Ok(Some(_)) = timeout_at(end, tasks.join_next()).await {}
    };
    let interrupted = tokio::select! {
        () = all => false,
        _ = tokio::signal::ctrl_c() => true,
    };
    // Whoever is still there is sent home; what he saw is in `facts`.
    tasks.shutdown().await;
    interrupted
}

/// Starts each visitor at his time. Nothing here waits for anything but the clock.
async fn arrive(run: &Arc<Run>, options: &Options, tasks: &mut JoinSet<()>) {
    let start = run.world.scene.start;
    // So that a second run with the same seed is a second crowd, not the same people again.
    let run_id = uuid::Uuid::new_v4().simple().to_string();
    let lifetime_s = (options.ramp + options.timeout).as_secs() + IDENTITY_SPARE_S;
    let expires_s = jiff::Timestamp::now().as_second().saturating_add_unsigned(lifetime_s);
    for (n, after) in arrivals(options.visitors, options.ramp, options.seed).into_iter().enumerate() {
        let intended = start + after;
        if intended > Instant::now() {
            sleep_until(intended).await;
        }
        let identity = options.identity_key.as_ref().map(|key| {
            let sub = format!("load-{run_id}-{n}");
            identity::sign(key, &sub, options.target.sale.as_str(), expires_s)
        });
        let visitor = Box::new(Visitor::new(Random::part(options.seed, n as u64), identity, intended));
        let run = run.clone();
        tasks.spawn(async move {
            live(&run.world, &run.facts[n], visitor, intended).await;
        });
        while tasks.try_join_next().is_some() {}
    }
}

/// When each visitor arrives after the start: uniform draws, sorted, which is what independent people make
/// (a Poisson process of which the number is known), bunches and gaps included.
fn arrivals(visitors: usize, ramp: Duration, seed: u64) -> Vec<Duration> {
    let mut random = Random::new(seed);
    let mut arrivals: Vec<_> = (0..visitors).map(|_| ramp.mul_f64(random.unit())).collect();
    arrivals.sort_unstable();
    arrivals
}

async fn watch_lag(meters: &Meters) {
    loop {
        let intended = Instant::now() + LAG_LOOK;
        sleep_until(intended).await;
        meters.record(Measure::LoopLag, intended.elapsed());
    }
}

fn sources(options: &Options, address: SocketAddr) -> Option<Sources> {
    let many = options.visitors > CONNECTIONS_AN_ADDRESS;
    let here = address.is_ipv4() && address.ip().is_loopback();
    let spec = options.sources.clone().or_else(|| (many && here).then_some(SourceSpec::LOOPBACK));
    if many && spec.is_none() {
        eprintln!("more than {CONNECTIONS_AN_ADDRESS} connections from one address: give --source-ips");
    }
    spec.map(|spec| Sources::new(&spec, options.visitors))
}

/// A socket is an open file.
fn raise_file_limit(visitors: usize) -> Result<(), LoadError> {
    let needed = visitors as u64 + FILES_BESIDE;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), maximum: limit.maximum };
    if limit.maximum.is_none_or(|maximum| maximum >= needed) && setrlimit(Resource::Nofile, raised).is_ok() {
        return Ok(());
    }
    let had = limit.maximum.unwrap_or(0);
    Err(LoadError::Usage(format!(
        "--visitors {visitors} needs {needed} open files, the limit is {had}: ulimit -n"
    )))
}

fn conclude(
    run: &Run,
    options: &Options,
    duration: Duration,
    interrupted: bool,
    export: Option<Result<Vec<ExportRow>, LoadError>>,
) -> Report {
    let scene = &run.world.scene;
    let take = |facts: &Mutex<VisitorFacts>| {
        std::mem::take(&mut *facts.lock().unwrap_or_else(PoisonError::into_inner))
    };
    let facts: Vec<_> = run.facts.iter().map(take).collect();
    let lag = scene.meters.percentile(Measure::LoopLag, 100.0).unwrap_or_default();
    let lag_us = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
    let (export, export_fault) = match export {
        Some(Ok(rows)) => (Some(rows), None),
        Some(Err(error)) => (None, Some(error.to_string())),
        None => (None, None),
    };
    let findings = verify(&facts, lag_us, export.as_deref(), &scene.plan);
    let verdicts = options.thresholds.iter().map(|t| t.judge(&scene.meters)).collect();
    let mut report = Report::new(&scene.meters, &facts, findings, verdicts);
    report.sale = options.target.sale.to_string();
    report.seed = options.seed;
    report.duration_s = duration.as_secs_f64();
    report.interrupted = interrupted;
    report.require_drain = options.require_drain;
    report.bookings_compared = export.map(|rows| rows.len());
    report.export_fault = export_fault;
    report
}

/// Runs what blocks off the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    spawn_blocking(work).await.map_err(|e| LoadError::Unreachable(e.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_fixed_by_the_seed_and_fill_the_ramp() {
        let ramp = Duration::from_secs(10);
        let times = arrivals(1000, ramp, 7);
        assert_eq!(times, arrivals(1000, ramp, 7));
        assert_ne!(times, arrivals(1000, ramp, 8));
        assert!(times.is_sorted() && times.iter().all(|t| *t < ramp));
        let first_half = times.iter().filter(|t| **t < ramp / 2).count();
        assert!((400..600).contains(&first_half), "{first_half}");
    }
}
