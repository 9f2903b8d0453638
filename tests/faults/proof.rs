//! The proof that a run went right: `waitroom check` on what the crowd wrote down and on the stores, and our own look at
//! each place and each booking.

use crate::{
    instance::waitroom,
    nodes::PATIENCE,
    stage::{SALE, Stage},
    told::Told,
};
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use uuid::Uuid;
use waitroom::store::postgres::connect;
use wire::domain::{ids::Seq, place::Stage as Standing};

/// What a run showed.
#[derive(Debug, Default)]
pub struct Proof {
    pub places: usize,
    pub bookings: usize,
    /// Broken promises, in words.
    pub violations: Vec<String>,
    /// What could not be judged, in words.
    pub unjudged: Vec<String>,
}

impl Proof {
    pub async fn of(stage: &Stage, histories: &[PathBuf]) -> Self {
        let told = Told::of(histories);
        let line = records(stage).await;
        let mut violations = told.lost(&line, &bookings(stage).await);
        let mut unjudged = Vec::new();
        for words in check(stage, histories) {
            match words.1 {
                true => violations.push(words.0),
                false => unjudged.push(words.0),
            }
        }
        for part in 1..=histories.len() {
            judged_by_the_crowd(stage, part, &mut violations, &mut unjudged);
        }
        Self { places: told.places, bookings: told.bookings.len(), violations, unjudged }
    }
}

/// What the load generator itself found, and how its visitors fared.
fn judged_by_the_crowd(stage: &Stage, part: usize, violations: &mut Vec<String>, unjudged: &mut Vec<String>) {
    let report = std::fs::read_to_string(stage.path(&format!("load-{}.json", part - 1))).unwrap_or_default();
    let Ok(report) = serde_json::from_str::<Value>(&report) else {
        violations.push(format!("part {part} of the crowd left no report"));
        return;
    };
    for found in report["violations"].as_array().into_iter().flatten() {
        violations.push(format!("part {part} of the crowd saw: {found}"));
    }
    let [unfinished, ends, closes, out] =
        ["unfinished", "outcomes", "closes", "dial_failures"].map(|name| &report[name]);
    unjudged.push(format!(
        "part {part}: ends {ends}, without one {unfinished}, closes {closes}, not let in {out}"
    ));
    let turned_away = ends["turned_away"].as_u64().unwrap_or(0);
    if turned_away > 0 {
        violations
            .push(format!("{turned_away} visitors of part {part} were turned away: {}", report["errors"]));
    }
}

/// What `waitroom check` says of the histories and the stores, and of the journal: violated (true), or not judged.
fn check(stage: &Stage, histories: &[PathBuf]) -> Vec<(String, bool)> {
    let postgres = format!("--postgres-url={}", stage.postgres.url());
    let mut seen = waitroom(&["check"]);
    seen.args(histories).arg(format!("--redis-url={}", stage.redis.url())).arg(&postgres);
    [verdicts("check", seen), of_the_journal(stage)].concat()
}

fn of_the_journal(stage: &Stage) -> Vec<(String, bool)> {
    let mut journal = waitroom(&["check", "--sale", SALE]);
    journal.arg(format!("--postgres-url={}", stage.postgres.url()));
    verdicts("check --sale", journal)
}

/// What the journal alone shows broken.
pub fn journal(stage: &Stage) -> Vec<String> {
    of_the_journal(stage).into_iter().filter(|(_, violated)| *violated).map(|(text, _)| text).collect()
}

fn verdicts(name: &str, mut check: Command) -> Vec<(String, bool)> {
    let output = check.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found: Vec<(String, bool)> = Vec::new();
    for line in said.lines() {
        match found.last_mut() {
            // Lines that are set in say more about the verdict before them.
            Some((verdict, _)) if line.starts_with(' ') => *verdict = format!("{verdict}\n{line}"),
            _ => found.push((format!("{name}: {line}"), line.contains("VIOLATED"))),
        }
    }
    found.retain(|(line, violated)| *violated || line.contains("too little"));
    let code = output.status.code();
    if !matches!(code, Some(0 | 75)) && found.iter().all(|(_, violated)| !violated) {
        let complaint = String::from_utf8_lossy(&output.stderr);
        found.push((format!("{name} ended with {code:?}: {said}{complaint}"), true));
    }
    found
}

/// How each visitor's place stands in Redis, and its number, when nothing changes any more.
pub async fn records(stage: &Stage) -> HashMap<String, (Standing, Seq)> {
    let began = Instant::now();
    let key = |name| format!("waitroom:{{{SALE}}}:{name}");
    loop {
        if let Some(home) = stage.redis.home() {
            let node = &stage.redis.nodes[home];
            let position = || node.say::<(String, u64)>(&["HMGET", &key("sale"), "epoch", "n"]);
            let before = position();
            let records: HashMap<String, String> = node.say(&["HGETALL", &key("places")]);
            if before == position() {
                return records.into_iter().map(|(visitor, record)| (visitor, read(&record))).collect();
            }
        }
        assert!(began.elapsed() < PATIENCE, "the line never stands still");
        sleep(Duration::from_millis(200)).await;
    }
}

fn read(record: &str) -> (Standing, Seq) {
    let mut fields = record.split(':');
    let stage = Standing::parse(fields.next().unwrap()).unwrap();
    (stage, fields.next().unwrap().parse().unwrap())
}

pub async fn bookings(stage: &Stage) -> BTreeSet<Uuid> {
    let client = connect::postgres_single(&stage.postgres.url()).await.unwrap();
    let query = "SELECT id FROM bookings WHERE sale_id = $1 AND status <> 'void'";
    let rows = client.query(query, &[&SALE]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
