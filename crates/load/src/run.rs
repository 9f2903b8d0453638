//! A run: the crowd arrives, lives, and is asked what it saw.

use super::{
    Behaviour, LoadError, SourceSpec, Target, Threshold,
    arrivals::{self, Wave},
    attack::{Attack, Attackers},
    connect::Dialer,
    facts::VisitorFacts,
    hangup::hangup,
    history::{Clock, Header, Recorder, VERSION},
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
use jiff::Timestamp;
use rustix::{
    process::{Resource, Rlimit, Signal, getrlimit, setrlimit},
    time::{ClockId, clock_gettime},
};
use std::{
    fs::File,
    future::pending,
    io::{self, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{Instant, sleep, sleep_until, timeout_at},
};
use wire::domain::{identity, sale::SaleSettings};

/// Ranks are written down of about so many visitors.
const RANKS_OF: usize = 2_000;
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
    /// The scenario's name.
    pub scenario: String,
    /// How many visitors, over all parts.
    pub visitors: usize,
    /// When they arrive.
    pub arrivals: Vec<Wave>,
    /// Which part of them this process plays, of how many: from 1.
    pub part: (u32, u32),
    /// Names the run in all its parts; drawn if none is given.
    pub run: Option<String>,
    /// When the run begins, so that all parts begin together; at once if none is given.
    pub start_at: Option<Timestamp>,
    /// Where the history is written.
    pub history: Option<PathBuf>,
    /// How they behave.
    pub behaviour: Behaviour,
    /// Who attacks meanwhile.
    pub attackers: Attackers,
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
    run_onto(options, |path| {
        // A file that may not grow (`ulimit -f`) is a fault to report, and no death by a signal that nobody handles.
        let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
        File::create_new(path)
    })
    .await
}

/// [`run`], with a history on whatever is opened for it.
pub(super) async fn run_onto<W: Write + Send + 'static>(
    options: Options,
    open: impl FnOnce(&Path) -> io::Result<W>,
) -> Result<Report, LoadError> {
    let address = options.target.resolve().await?;
    let target = options.target.clone();
    let plan = blocking(move || http::plan(&target)).await?;
    let mut settings = None;
    if let Some(admin) = options.admin.clone() {
        let sale = options.target.sale.clone();
        settings = Some(blocking(move || http::settings(&admin, &sale)).await?);
    }
    let visitors = in_part(options.visitors, options.part).count();
    raise_file_limit(visitors)?;
    let sources = sources(&options, visitors, address);
    let dialer = Dialer::new(&options.target, address, sources).map_err(LoadError::Usage)?;
    wait_for_start(&options).await;
    let mut scene = Scene::new(plan, options.behaviour);
    let run_id = options.run.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    if let Some(path) = &options.history {
        let (clock, header) = header(&options, &run_id, &scene, settings);
        // What was measured once is not overwritten: `open` refuses a file that exists.
        let recorder = open(path).and_then(|file| Recorder::start(file, clock, &header));
        scene.recorder = Some(recorder.map_err(|error| file_fault(path, error))?);
    }
    let facts = (0..visitors).map(|_| Mutex::default()).collect();
    let run = Arc::new(Run { world: World { scene, dialer }, facts });

    let attack = Attack::begin(&options.attackers, &options.target, address, options.seed, options.part);
    let interrupted = crowd_through(&run, &options, &run_id).await;
    let answers = attack.answers();
    drop(attack);
    let duration = run.world.scene.start.elapsed();
    let export = match options.admin.clone() {
        // The others' bookings are not this part's to miss; `waitroom check` sees all.
        Some(admin) if options.part.1 == 1 => {
            let sale = options.target.sale.clone();
            Some(blocking(move || http::export(&admin, &sale)).await)
        }
        _ => None,
    };
    let mut report = conclude(&run, &options, duration, interrupted, export);
    report.were_attacked(answers);
    if let (Some(recorder), Some(path)) = (&run.world.scene.recorder, &options.history) {
        let lag_us = report.lag_us();
        report.history_fault =
            recorder.finish(Instant::now(), lag_us).err().map(|error| file_fault(path, error).to_string());
    }
    Ok(report)
}

/// The numbers of the visitors whom this part plays.
fn in_part(visitors: usize, (part, parts): (u32, u32)) -> impl Iterator<Item = usize> {
    (part.saturating_sub(1) as usize..visitors).step_by(parts.max(1) as usize)
}

async fn wait_for_start(options: &Options) {
    if let Some(at) = options.start_at
        && let Ok(wait) = Duration::try_from(at.duration_since(Timestamp::now()))
    {
        sleep(wait).await;
    }
}

fn header(options: &Options, run: &str, scene: &Scene, settings: Option<SaleSettings>) -> (Clock, Header) {
    let clock = Clock::new();
    let visitors = in_part(options.visitors, options.part).count() as u64;
    let machine = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let header = Header {
        history: VERSION,
        run: run.into(),
        part: options.part,
        scenario: options.scenario.clone(),
        sale: options.target.sale.to_string(),
        seats: scene.plan.seats.len() as u64,
        visitors,
        started_at: Timestamp::now(),
        started_us: clock.us(scene.start),
        machine: machine.trim().into(),
        ranks_of_every: options.visitors.div_ceil(RANKS_OF) as u32,
        settings,
    };
    (clock, header)
}

fn file_fault(path: &Path, source: io::Error) -> LoadError {
    LoadError::File { path: path.display().to_string(), source }
}

/// Lets all arrive and waits until their stories have ended; whether that was cut short by Ctrl-C.
async fn crowd_through(run: &Arc<Run>, options: &Options, run_id: &str) -> bool {
    let watched = run.clone();
    let _lag =
        Background(tokio::spawn(async move { watch_lag(&watched.world.scene.meters).await }).abort_handle());
    let watched = run.clone();
    let (visitors, quiet) = (run.facts.len() as u64, options.quiet);
    let shown = async move { progress::show(&watched.world.scene.meters, visitors, quiet).await };
    let _progress = Background(tokio::spawn(shown).abort_handle());
    let mut tasks = JoinSet::new();
    let all = async {
        arrive(run, options, run_id, &mut tasks).await;
        let end = Instant::now() + options.timeout;
        while let Ok(Some(_)) = timeout_at(end, tasks.join_next()).await {}
    };
    let interrupted = tokio::select! {
        () = all => false,
        () = told_to_stop() => true,
    };
    // Whoever is still there is sent home; what he saw is in `facts`.
    tasks.shutdown().await;
    interrupted
}

/// Ctrl-C, SIGTERM (`timeout`, a supervisor) or SIGHUP (the terminal is gone): what was seen until then is reported and its history is whole.
async fn told_to_stop() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => pending().await,
        }
    };
    let hung_up = async {
        match hangup() {
            Ok(Some(mut hangup)) => drop(hangup.recv().await),
            Ok(None) | Err(_) => pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
        () = hung_up => {}
    }
}

/// Starts each visitor at his time. Nothing here waits for anything but the clock.
async fn arrive(run: &Arc<Run>, options: &Options, run_id: &str, tasks: &mut JoinSet<()>) {
    let start = run.world.scene.start;
    let lifetime_s = (arrivals::end(&options.arrivals) + options.timeout).as_secs() + IDENTITY_SPARE_S;
    let expires_s = jiff::Timestamp::now().as_second().saturating_add_unsigned(lifetime_s);
    let times = arrivals::draw(options.visitors, &options.arrivals, options.seed);
    for (slot, n) in in_part(times.len(), options.part).enumerate() {
        let intended = start + times[n];
        if intended > Instant::now() {
            sleep_until(intended).await;
        }
        // The run's id, so that a second run with the same seed is a second crowd, not the same people again.
        let identity = options.identity_key.as_ref().map(|key| {
            let sub = format!("load-{run_id}-{n}");
            identity::sign(key, &sub, options.target.sale.as_str(), expires_s)
        });
        let mut random = Random::part(options.seed, n as u64);
        let is_bot = random.chance(options.behaviour.bot_share);
        let mut visitor = Box::new(Visitor::new(n as u32, random, identity, intended));
        if is_bot {
            visitor.turn_bot(intended);
        }
        let run = run.clone();
        tasks.spawn(async move {
            live(&run.world, &run.facts[slot], visitor, intended).await;
        });
        while tasks.try_join_next().is_some() {}
    }
}

async fn watch_lag(meters: &Meters) {
    loop {
        let intended = Instant::now() + LAG_LOOK;
        sleep_until(intended).await;
        meters.record(Measure::LoopLag, intended.elapsed());
    }
}

fn sources(options: &Options, visitors: usize, address: SocketAddr) -> Option<Sources> {
    let many = visitors > CONNECTIONS_AN_ADDRESS;
    let here = address.is_ipv4() && address.ip().is_loopback();
    let spec = options.sources.clone().or_else(|| here.then_some(SourceSpec::LOOPBACK));
    if many && spec.is_none() {
        eprintln!("more than {CONNECTIONS_AN_ADDRESS} connections from one address: give --source-ips");
    }
    spec.map(|spec| Sources::new(&spec, visitors))
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
    report.generator_cpu_s = cpu_s();
    report.interrupted = interrupted;
    report.require_drain = options.require_drain;
    report.bookings_compared = export.map(|rows| rows.len());
    report.export_fault = export_fault;
    report
}

/// CPU that this process has used, in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Runs what blocks off the event loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    spawn_blocking(work).await.map_err(|e| LoadError::Unreachable(e.to_string()))?
}
