//! The proof that a run went right: `waitroom check` on what the crowd wrote down and on the stores, and our own look at
//! each place and each booking.

use crate::{
    instance::waitroom,
    node::PATIENCE,
    stage::{SALE, Stage},
    told::Told,
};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use uuid::Uuid;
use waitroom::store::{
    line::{Found, Survey},
    postgres::connect,
    redis::Redis,
};
use wire::domain::ids::SaleId;

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
        let line = survey(stage).await;
        let mut violations = told.lost(&line, &bookings(stage).await);
        let mut unjudged = Vec::new();
        for words in check(stage, histories) {
            match words.1 {
                true => violations.push(words.0),
                false => unjudged.push(words.0),
            }
        }
        Self { places: told.places, bookings: told.bookings.len(), violations, unjudged }
    }
}

/// What `waitroom check` says is violated (true), or could not be judged.
fn check(stage: &Stage, histories: &[PathBuf]) -> Vec<(String, bool)> {
    let mut check = waitroom(&["check"]);
    check.args(histories).arg(format!("--redis-url={}", stage.redis_url()));
    let output = check.arg(format!("--postgres-url={}", stage.postgres.url())).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut found = Vec::new();
    // Lines that are set in say more about the verdict before them.
    for line in said.lines() {
        match found.last_mut() {
            Some((verdict, _)) if line.starts_with(' ') => *verdict = format!("{verdict}\n{line}"),
            _ => found.push((line.to_owned(), line.contains("VIOLATED"))),
        }
    }
    found.retain(|(line, violated)| *violated || line.contains("too little"));
    if !matches!(output.status.code(), Some(0 | 75 | 99)) {
        let complaint = String::from_utf8_lossy(&output.stderr);
        found.push((format!("check ended with {:?}: {complaint}", output.status.code()), true));
    }
    found
}

/// The line, when nothing changes any more.
async fn survey(stage: &Stage) -> Survey {
    let redis = Redis::connect(&stage.redis_url(), "proof").await.unwrap();
    let line = redis.line(&SaleId::parse(SALE).unwrap());
    let began = Instant::now();
    loop {
        match line.survey().await {
            Ok(Found::Still(survey)) => return *survey,
            found => assert!(began.elapsed() < PATIENCE, "the line cannot be read: {found:?}"),
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn bookings(stage: &Stage) -> BTreeSet<Uuid> {
    let client = connect::postgres_single(&stage.postgres.url()).await.unwrap();
    let query = "SELECT id FROM bookings WHERE sale_id = $1 AND status <> 'void'";
    let rows = client.query(query, &[&SALE]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
