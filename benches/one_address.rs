//! What one address gets of a sale: a program that joins as fast as it can, from one address, against people who come at their pace from
//! addresses of their own. By turns without a limit, by the defaults, and with work before a place (`-- BITS`; 18). Read in
//! docs/security.md.
#![allow(clippy::unwrap_used, reason = "a measurement may fail")]

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use clap::Parser;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    thread::{self, sleep},
    time::{Duration, Instant},
};
use waitroom::{
    app::App,
    embedded::{Postgres, Redis},
    settings::ServeArgs,
};
use wire::domain::work::Work;

/// How long it goes on.
const RUN: Duration = Duration::from_secs(30);
/// People who come a second.
const PEOPLE_PER_S: u64 = 30;
/// Connections of the program, and how many cores work for it where work is asked for.
const CONNECTIONS: usize = 16;
/// Places that lead to a seat, in a small sale.
const SERVED: usize = 400;
const TOKEN: &str = "the-admin-token-of-the-bench";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Where a place stands, and whether it is the program's.
type Places = Arc<Mutex<Vec<(u64, bool)>>>;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Redis::start_at(&folder.path().join("redis")).unwrap();
    let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let bits = std::env::args().skip(1).find_map(|bits| bits.parse().ok()).unwrap_or(18_u8);
    let work = format!("proof_of_work={bits}");
    let before = Instant::now();
    let worked = (0..50).map(|n| Work { challenge: format!("k1.{n}.x"), bits }.solve()).count() as f64;
    println!("{:.0} proofs of {bits} bits a second on one core", worked / before.elapsed().as_secs_f64());
    println!(
        "{:<34} {:>8} {:>8} {:>14} {:>9} {:>10}",
        "", "program", "people", "of first 400", "of all", "join p99"
    );
    for (n, (name, settings)) in [
        ("no limit", &["address_places=0"][..]),
        ("2,000 an address (default)", &[]),
        ("200 an address", &["address_places=200"]),
        ("no limit, work", &["address_places=0", work.as_str()]),
        ("2,000 an address, work", &[work.as_str()]),
        ("200 an address, work", &["address_places=200", work.as_str()]),
    ]
    .into_iter()
    .enumerate()
    {
        let flags = [
            format!("redis_url={}", redis.url()),
            format!("postgres_url={}", postgres.url()),
            format!("admin_token={TOKEN}"),
            "listen=127.0.0.1:0".into(),
            "admin_listen=127.0.0.1:0".into(),
            "trusted_proxies=127.0.0.1".into(),
            "drain_s=1".into(),
            "signing_keys=k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=".into(),
        ];
        let all = flags.iter().map(String::as_str).chain(settings.iter().copied());
        let all = all.map(|flag| {
            let (key, value) = flag.split_once('=').unwrap();
            format!("--{}={value}", key.replace('_', "-"))
        });
        let settings =
            Cli::parse_from(std::iter::once("serve".to_owned()).chain(all)).serve.resolve().unwrap();
        let app = runtime.block_on(App::start(&settings)).unwrap();
        let (public, admin) =
            (format!("http://{}", app.public_addr()), format!("http://{}", app.admin_addr()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let running = runtime.spawn(app.run(async { stopped.await.unwrap_or_default() }));
        measure(name, &public, &admin, n);
        let _ = stop.send(());
        runtime.block_on(running).unwrap();
    }
}

fn measure(name: &str, public: &str, admin: &str, n: usize) {
    let sale = format!("sale-{n}");
    create(admin, &sale);
    let url = format!("{public}/v1/sales/{sale}/places");
    // A telephone works for itself; here all would share two cores, so it is done before.
    let people = (0..RUN.as_secs() * PEOPLE_PER_S).map(|i| format!("10.{}.{}.1", i / 250, i % 250));
    let people: VecDeque<(String, Option<String>)> =
        people.map(|from| (from.clone(), work(&join(&url, &from, None)))).collect();
    let (people, places, times) =
        (Arc::new(Mutex::new(people)), Places::default(), Arc::new(Mutex::new(Vec::new())));
    // Whoever joined to see whether work is asked for is in line already, where it is not.
    let before = if people.lock().unwrap().iter().any(|(_, proof)| proof.is_none()) {
        format!("{sale}-b")
    } else {
        sale
    };
    if before.ends_with("-b") {
        create(admin, &before);
    }
    let url = format!("{public}/v1/sales/{before}/places");
    let start = Instant::now();
    let program: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (url, places) = (url.clone(), places.clone());
            thread::spawn(move || {
                while start.elapsed() < RUN {
                    let mut answer = join(&url, "192.0.2.1", None);
                    if let Some(proof) = work(&answer) {
                        answer = join(&url, "192.0.2.1", Some(&proof));
                    }
                    match seq(&answer) {
                        Some(seq) => places.lock().unwrap().push((seq, true)),
                        None => sleep(Duration::from_millis(20)),
                    }
                }
            })
        })
        .collect();
    let pace = Duration::from_secs(1).div_f64(PEOPLE_PER_S as f64);
    let crowd: Vec<_> = (0..8)
        .map(|lane| {
            let (url, people, places, times) = (url.clone(), people.clone(), places.clone(), times.clone());
            thread::spawn(move || {
                for step in (lane..).step_by(8) {
                    let due = start + pace * step;
                    sleep(due.saturating_duration_since(Instant::now()));
                    let Some((from, proof)) = people.lock().unwrap().pop_front() else { return };
                    let answer = join(&url, &from, proof.as_deref());
                    times.lock().unwrap().push(due.elapsed());
                    places.lock().unwrap().push((seq(&answer).unwrap(), false));
                }
            })
        })
        .collect();
    crowd.into_iter().chain(program).for_each(|one| one.join().unwrap());
    let (mut places, mut times) = (places.lock().unwrap().clone(), times.lock().unwrap().clone());
    places.sort_unstable();
    times.sort_unstable();
    let of = |places: &[(u64, bool)]| places.iter().filter(|(_, program)| *program).count();
    let (program, all) = (of(&places), places.len());
    let first = of(&places[..SERVED.min(all)]) * 100 / SERVED.min(all);
    let p99 = times[times.len() * 99 / 100].as_secs_f64() * 1_000.0;
    println!(
        "{name:<34} {program:>8} {:>8} {first:>12} % {:>7} % {p99:>7.1} ms",
        all - program,
        program * 100 / all
    );
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

fn join(url: &str, from: &str, proof: Option<&str>) -> Value {
    thread_local!(static AGENT: ureq::Agent = agent());
    let body = proof.map_or(json!({}), |proof| json!({ "proof": proof }));
    AGENT.with(|agent| {
        let call = agent.post(url).header("X-Forwarded-For", from).send_json(body);
        call.ok().and_then(|mut answer| answer.body_mut().read_json().ok()).unwrap_or_default()
    })
}

fn work(answer: &Value) -> Option<String> {
    serde_json::from_value::<Work>(answer.get("proof")?.clone()).ok().map(|work| work.solve())
}

fn seq(answer: &Value) -> Option<u64> {
    let payload = answer["place"].as_str()?.split('.').nth(1)?;
    let payload: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    payload["seq"].as_u64()
}

fn create(admin: &str, sale: &str) {
    let seats: Vec<_> =
        (0..SERVED).map(|seat| json!({ "seat_guid": format!("A-{seat}"), "category": "Hall" })).collect();
    let plan = json!({ "name": "Hall", "categories": [{ "name": "Hall" }],
        "zones": [{ "name": "Z", "rows": [{ "row_number": 1, "seats": seats }] }] });
    let body = json!({ "id": sale, "name": "Small", "plan": plan, "rate": 10, "max_active": 10, "grant_ttl_s": 60,
        "max_seats": 1, "anonymous": true });
    let call = agent().post(format!("{admin}/v1/admin/sales"));
    assert_eq!(
        call.header("Authorization", format!("Bearer {TOKEN}")).send_json(body).unwrap().status(),
        201
    );
}
