//! What each flood costs honest visitors: join, ping and redeem, by turns without anyone and with attackers of one kind, who are a
//! process of their own beside the server's. `cargo bench --bench floods [-- KIND…]`; read in docs/security.md.
#![allow(clippy::unwrap_used, reason = "a measurement may fail")]

use load::{
    Target,
    attack::{
        Attack, Attackers, Kind,
        peer::{Heard, Peer, message},
    },
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};
use waitroom::embedded::{Postgres, Redis};
use wire::domain::ids::SaleId;

/// How often each turn is taken; SECONDS=… says how long one is.
const TURNS: usize = 3;
/// Between two honest visitors.
const PACE: Duration = Duration::from_millis(50);
/// Attackers have begun when it is over.
const BEGIN: Duration = Duration::from_secs(4);
/// No answer is waited for longer; so long it counts.
const PATIENCE: Duration = Duration::from_secs(20);
const TOKEN: &str = "the-admin-token-of-the-bench";
/// How many of each kind; sockets that stay are many, floods are as many as two cores can send.
const FLOODS: [(&str, &[(Kind, u32)]); 12] = [
    ("5,000 silent", &[(Kind::Silent, 5_000)]),
    ("5,000 slow heads", &[(Kind::Slow, 5_000)]),
    ("5,000 sockets that never join", &[(Kind::Idler, 5_000)]),
    ("pings", &[(Kind::Pinger, 50)]),
    ("fragments", &[(Kind::Fragmenter, 50)]),
    ("malformed frames", &[(Kind::Garbler, 50)]),
    ("leave and join", &[(Kind::Jumper, 50)]),
    ("forged tokens", &[(Kind::Forger, 10)]),
    ("ghosts", &[(Kind::Ghost, 20)]),
    ("polls", &[(Kind::Poller, 20)]),
    ("plans that nobody reads", &[(Kind::Deaf, 100)]),
    ("a plan of 31 MiB", &[]),
];

/// The server, as a process of its own.
struct Served {
    child: Child,
    public: SocketAddr,
    admin: SocketAddr,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let more = rustix::process::Resource::Nofile;
    let limit = rustix::process::getrlimit(more);
    let _ = rustix::process::setrlimit(
        more,
        rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum },
    );
    if let [attack, to, sale, attackers] = &args[..]
        && attack == "attack"
    {
        return runtime.block_on(attacks(to, sale, attackers));
    }
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start_at(&folder.path().join("redis")).unwrap();
    let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
    println!(
        "{:<30} {:>17} {:>17} {:>17}  {:>9} {:>9} {:>7} {:>9}",
        "p99 in ms: none, with, times", "join", "ping", "redeem", "server", "attackers", "MB", "sockets"
    );
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| name.contains(arg.as_str()));
    for (name, flood) in FLOODS.into_iter().filter(|(name, _)| wanted(name)) {
        let server = serve(&redis, &postgres, &[]);
        runtime.block_on(measure(name, flood, &server));
    }
    if wanted("one address") {
        let server = serve(&redis, &postgres, &[("WAITROOM_ADDRESS_SOCKETS", "100")]);
        runtime.block_on(one_address(&server));
    }
}

fn turn() -> Duration {
    let seconds = std::env::var("SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn serve(redis: &Redis, postgres: &Postgres, more: &[(&str, &str)]) -> Served {
    let (public, admin) = (free(), free());
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.arg("serve").stdout(Stdio::null()).stderr(Stdio::null()).envs(more.iter().copied());
    for (name, value) in [
        ("REDIS_URL", redis.url()),
        ("POSTGRES_URL", postgres.url()),
        ("LISTEN", public.to_string()),
        ("ADMIN_LISTEN", admin.to_string()),
        ("ADMIN_TOKEN", TOKEN.into()),
        ("SIGNING_KEYS", "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into()),
    ] {
        command.env(format!("WAITROOM_{name}"), value);
    }
    let server = Served { child: command.spawn().unwrap(), public, admin };
    for _ in 0..300 {
        if ureq::get(format!("http://{admin}/readyz")).call().is_ok() {
            return server;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the server does not come up")
}

/// Attackers, for as long as nobody ends them.
async fn attacks(to: &str, sale: &str, attackers: &str) {
    let target = Target::parse(&format!("http://{to}"), SaleId::parse(sale).unwrap()).unwrap();
    let attackers: Attackers = serde_json::from_str(attackers).unwrap();
    let attack = Attack::begin(&attackers, &target, to.parse().unwrap(), 7, (1, 1));
    sleep(BEGIN + turn()).await;
    println!("{}", json!(attack.answers()));
}

/// Times of one turn, in ms.
#[derive(Default)]
struct Times([Vec<f64>; 3]);

/// The 99th percentile.
fn p99(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

async fn measure(name: &str, flood: &[(Kind, u32)], server: &Served) {
    let (mut none, mut with) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    let (mut cpu, mut attackers_cpu, mut answers) = (0.0, 0.0, BTreeMap::<String, u64>::new());
    let mut memory = (0.0_f64, 0.0_f64);
    for turn in 0..TURNS {
        let sale = create(server, &format!("none-{}-{turn}", server.child.id())).await;
        let Times(calm) = honest(server, &sale).await;
        none.iter_mut().zip(calm).for_each(|(all, some)| all.extend(some));
        let sale = create(server, &format!("with-{}-{turn}", server.child.id())).await;
        let child = begin(server, &sale, flood);
        sleep(BEGIN).await;
        let pid = server.child.id();
        let before = (seconds(pid), child.as_ref().map_or(0.0, |child| seconds(child.id())));
        let plan = flood.is_empty().then(|| tokio::spawn(plans(server.admin)));
        let Times(hurt) = honest(server, &sale).await;
        plan.inspect(tokio::task::JoinHandle::abort);
        with.iter_mut().zip(hurt).for_each(|(all, some)| all.extend(some));
        cpu += seconds(pid) - before.0;
        attackers_cpu += child.as_ref().map_or(0.0, |child| seconds(child.id()) - before.1);
        memory = (memory.0.max(resident_mb(pid)), memory.1.max(sockets_mb()));
        if let Some(child) = child {
            let said = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
            let said: BTreeMap<String, BTreeMap<String, u64>> =
                serde_json::from_slice(&said.stdout).unwrap_or_default();
            said.into_values()
                .flatten()
                .for_each(|(answer, count)| *answers.entry(answer).or_default() += count);
        }
    }
    let times = none.iter_mut().zip(&mut with).map(|(none, with)| {
        let (none, with) = (p99(none), p99(with));
        format!("{none:>5.1} {with:>5.1} {:>4.1}x", with / none)
    });
    let times: Vec<String> = times.collect();
    let all = turn().as_secs_f64() * TURNS as f64 / 100.0;
    println!(
        "{name:<30} {}  {:>7.0} % {:>7.0} % {:>7.0} {:>9.1}",
        times.join(" "),
        cpu / all,
        attackers_cpu / all,
        memory.0,
        memory.1
    );
    println!("{:<30} {answers:?}", "");
}

fn begin(server: &Served, sale: &str, flood: &[(Kind, u32)]) -> Option<Child> {
    let mut attackers: serde_json::Map<String, Value> =
        flood.iter().map(|(kind, count)| (kind.as_str().to_owned(), json!(count))).collect();
    attackers.insert("addresses".into(), json!(250));
    // NICE=19: what is left of the machine is theirs, as if they were elsewhere.
    let mut command = Command::new("nice");
    command.args(["-n", &std::env::var("NICE").unwrap_or("0".into())]).arg(std::env::current_exe().unwrap());
    command.args(["attack", &server.public.to_string(), sale, &Value::Object(attackers).to_string()]);
    (!flood.is_empty()).then(|| command.stdout(Stdio::piped()).spawn().unwrap())
}

/// Honest visitors, who come at their pace, each from an address of his own, book a seat and go.
async fn honest(server: &Served, sale: &str) -> Times {
    let (times, path) = (Arc::new(Mutex::new(Times::default())), format!("/v1/sales/{sale}"));
    let (mut ticks, start, mut all) = (interval(PACE), Instant::now(), Vec::new());
    for n in 0_u32.. {
        ticks.tick().await;
        if start.elapsed() > turn() {
            break;
        }
        let (times, path, to, due) = (times.clone(), path.clone(), server.public, start + PACE * n);
        all.push(tokio::spawn(async move {
            sleep_until(due).await;
            let [_, _, c, d] = n.to_be_bytes();
            let from = IpAddr::V4(Ipv4Addr::new(127, 77, c, d.max(1)));
            let mut steps = [PATIENCE.as_secs_f64() * 1e3; 3];
            let _ = timeout(PATIENCE, visit(from, to, &path, due, &mut steps)).await;
            let mut times = times.lock().unwrap();
            times.0.iter_mut().zip(steps).for_each(|(all, step)| all.push(step));
        }));
    }
    for one in all {
        one.await.unwrap();
    }
    std::mem::take(&mut *times.lock().unwrap())
}

async fn visit(
    from: IpAddr,
    to: SocketAddr,
    path: &str,
    due: Instant,
    steps: &mut [f64; 3],
) -> std::io::Result<()> {
    let mut peer = Peer::connect(Some(from), to).await?;
    if peer.upgrade(path).await?.is_err() {
        return Ok(());
    }
    peer.say(&message(&json!({ "type": "join" }))).await?;
    wait_for(&mut peer, "joined").await?;
    steps[0] = due.elapsed().as_secs_f64() * 1e3;
    let token = wait_for(&mut peer, "granted").await?["token"].clone();
    let at = Instant::now();
    peer.say(&message(&json!({ "type": "ping" }))).await?;
    wait_for(&mut peer, "pong").await?;
    steps[1] = at.elapsed().as_secs_f64() * 1e3;
    let at = Instant::now();
    let best = json!({ "count": 1 });
    peer.say(&message(&json!({ "type": "redeem", "request": "r", "token": token, "best": best }))).await?;
    wait_for(&mut peer, "booking").await?;
    steps[2] = at.elapsed().as_secs_f64() * 1e3;
    Ok(())
}

async fn wait_for(peer: &mut Peer, kind: &str) -> std::io::Result<Value> {
    loop {
        match peer.hear().await? {
            Heard::Message(said) if said["type"] == kind => return Ok(said),
            Heard::Message(_) => {}
            Heard::Close(_) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

fn hall(seats: usize, name: &str) -> Value {
    let rows = seats.div_ceil(500);
    let seat =
        |row: usize, seat: usize| json!({ "seat_guid": format!("{name}{row}-{seat}"), "category": "Hall" });
    let row = |row: usize| json!({ "row_number": row, "seats": (0..500).map(|s| seat(row, s)).collect::<Vec<_>>() });
    json!({ "name": "Hall", "categories": [{ "name": "Hall" }],
        "zones": [{ "name": "Z", "rows": (0..rows).map(row).collect::<Vec<_>>() }] })
}

async fn create(server: &Served, sale: &str) -> String {
    // Turns for all, attackers too: what is measured is not how long an honest visitor waits for his.
    let body = json!({ "id": sale, "name": "Flood", "plan": hall(20_000, ""), "rate": 5_000, "max_active": 1_000_000,
        "grant_ttl_s": 60, "max_seats": 1, "anonymous": true });
    assert_eq!(post(server.admin, "", body.to_string()).await, 201);
    let opened = json!({ "phase": "open" }).to_string();
    assert_eq!(patch(server.admin, sale, opened).await, 200);
    sale.to_owned()
}

/// Plans of 31 MiB, one after the other.
async fn plans(admin: SocketAddr) {
    for n in 0.. {
        let id = format!("big-{}-{n}", Instant::now().elapsed().as_nanos() + u128::from(std::process::id()));
        let plan = hall(430_000, &"x".repeat(24));
        let body = json!({ "id": id, "name": "Big", "plan": plan, "rate": 1, "max_active": 1, "grant_ttl_s": 60,
            "max_seats": 1, "anonymous": true });
        let body = body.to_string();
        let megabytes = body.len() >> 20;
        println!("{:<30} {megabytes} MiB: HTTP {}", "", post(admin, "", body).await);
    }
}

async fn post(admin: SocketAddr, path: &str, body: String) -> u16 {
    send("POST", format!("http://{admin}/v1/admin/sales{path}"), body).await
}

async fn patch(admin: SocketAddr, sale: &str, body: String) -> u16 {
    send("PATCH", format!("http://{admin}/v1/admin/sales/{sale}"), body).await
}

async fn send(method: &'static str, url: String, body: String) -> u16 {
    let call = move || {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let call = if method == "POST" { agent.post(&url) } else { agent.patch(&url) };
        let call = call.header("Authorization", format!("Bearer {TOKEN}")).content_type("application/json");
        call.send(body).map_or(0, |answer| answer.status().as_u16())
    };
    tokio::task::spawn_blocking(call).await.unwrap()
}

/// 50,000 sockets asked for by one address that may have 100.
async fn one_address(server: &Served) {
    let sale = create(server, &format!("one-{}", server.child.id())).await;
    let mut held = Vec::new();
    let mut answers = BTreeMap::<String, u64>::new();
    let path = format!("/v1/sales/{sale}");
    let others = tokio::spawn({
        let (sale, public) = (sale.clone(), server.public);
        let admin = server.admin;
        async move {
            let child = Command::new("true").spawn().unwrap();
            honest(&Served { child, public, admin }, &sale).await
        }
    });
    for _ in 0..50_000 {
        let from = Some(IpAddr::V4(Ipv4Addr::new(127, 88, 0, 1)));
        let asked = async {
            let mut peer = Peer::connect(from, server.public).await?;
            Ok::<_, std::io::Error>((peer.upgrade(&path).await?, peer))
        };
        let answer = match timeout(PATIENCE, asked).await {
            Ok(Ok((Ok(()), peer))) => {
                held.push(peer);
                "101".into()
            }
            Ok(Ok((Err(status), _))) => status.to_string(),
            Ok(Err(error)) => error.kind().to_string(),
            Err(_) => "no answer".into(),
        };
        *answers.entry(answer).or_default() += 1;
    }
    let Times(mut times) = others.await.unwrap();
    let times = times.each_mut().map(|times| p99(times));
    println!("50,000 sockets of one address: {answers:?}; others meanwhile {times:.1?} ms");
}

/// CPU that a process has used.
fn seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ').skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// What the kernel holds for TCP, of all processes.
fn sockets_mb() -> f64 {
    let stat = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages =
        stat.lines().find_map(|line| line.strip_prefix("TCP:")?.rsplit_once("mem ")?.1.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4.0 / 1024.0
}
