//! Many instances, one line: `cargo bench --bench sockets -- million --at 10000,100000,1007000 --minutes 10 --churn 3000`.
//!
//! Starts Redis, PostgreSQL and as many instances and crowds as so many sockets need (19,000 each). At each of `--at` it
//! stays: first `--quiet` seconds in which nobody comes or goes but by his turn, then while `--churn` visitors a second (of the last
//! size; fewer at smaller ones) go and come back, nine of ten to their places: for `--quiet` seconds, at the last size for `--minutes`. The
//! sale is open and admits `--rate` (100) a second; whose turn has come leaves, and a new one comes. Everything is looked at
//! each `--every` seconds, and in the end the journal is proved. Below 2 GB of free memory it ends itself (`--guard`).
//!
//! `--out FOLDER` keeps million-table.md, million.json, million.svg (cost by size, while nobody comes or goes), each look in
//! million-looks.csv and what `check` said in million-check.txt.

use crate::{
    Words,
    crowd::Order,
    fleet::{Fleet, SALE},
    plot,
    sample::{self, Sample},
    table::{Figures, short},
};
use std::{
    fmt::Write,
    fs,
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

/// Of those who go, so many of a hundred come back to their places.
const RETURNING: u32 = 90;

/// One size, with or without coming and going.
struct Part {
    name: String,
    churn_per_s: f64,
    length: Duration,
}

struct Run {
    fleet: Fleet,
    figures: Figures,
    /// Of each size, while nobody came or went.
    quiet: Vec<sample::Figures>,
    /// A line a look.
    looks: String,
    every: Duration,
    /// Where all of it is kept.
    folder: Option<PathBuf>,
}

pub fn run(words: &Words) {
    let sizes = words.text("--at").unwrap_or("10000").split(',');
    let sizes: Vec<usize> = sizes.map(|size| size.parse().unwrap()).collect();
    let (churn, minutes) = (words.get("--churn", 3_000.0), words.get("--minutes", 10.0));
    let quiet = Duration::from_secs(words.get("--quiet", 60));
    let every = Duration::from_secs(words.get("--every", 5));
    let fleet = Fleet::start(words);
    let (looks, folder) = (String::new(), words.text("--out").map(PathBuf::from));
    let mut run = Run { fleet, figures: Figures::default(), quiet: Vec::new(), looks, every, folder };
    let last = *sizes.last().unwrap();
    for (i, size) in sizes.iter().enumerate() {
        if !run.fleet.grow(*size) {
            break;
        }
        if i == 0 {
            run.fleet.instances[0].open(SALE);
        }
        let name = short(*size as f64);
        let long = if *size == last { Duration::from_secs_f64(minutes * 60.0) } else { quiet };
        let churn_per_s = churn * *size as f64 / last as f64;
        let parts = [
            Part { name: format!("{name} wait"), churn_per_s: 0.0, length: quiet },
            Part { name: format!("{name}, coming and going"), churn_per_s, length: long },
        ];
        if !parts.into_iter().all(|part| run.play(&part)) {
            break;
        }
    }
    run.end();
}

impl Run {
    /// Tells whether it came to its end.
    fn play(&mut self, part: &Part) -> bool {
        self.fleet.order(|share| Order::Churn { per_s: part.churn_per_s * share, returning: RETURNING });
        // Until everyone has been told in this part, ages are those of the one before.
        sleep(self.every);
        self.fleet.order(|_| Order::Watch);
        let (began, first) = (Instant::now(), Sample::take(&mut self.fleet, true));
        let (mut before, mut has_room) = (None, true);
        while has_room && began.elapsed() < part.length {
            sleep(self.every);
            let now = Sample::take(&mut self.fleet, false);
            self.look(&part.name, &now.since(before.as_ref().unwrap_or(&first)));
            before = Some(now);
            has_room = self.fleet.has_room();
        }
        let last = Sample::take(&mut self.fleet, true);
        let figures = last.thoroughly_since(&first, self.fleet.instances.len());
        self.figures.add(&part.name, &figures);
        if part.churn_per_s == 0.0 {
            self.quiet.push(figures);
        }
        if !last.seen.troubles.is_empty() {
            eprintln!("so far: {:?}", last.seen.troubles);
        }
        has_room
    }

    fn look(&mut self, part: &str, figures: &[(&'static str, f64)]) {
        if self.looks.is_empty() {
            let names: Vec<_> = figures.iter().map(|(name, _)| *name).collect();
            writeln!(self.looks, "part,{}", names.join(",")).unwrap();
        }
        let values: Vec<_> = figures.iter().map(|(_, value)| format!("{value:.3}")).collect();
        writeln!(self.looks, "\"{part}\",{}", values.join(",")).unwrap();
        // At once: a run of hours may be ended before its time.
        self.keep("million-looks.csv", &self.looks);
    }

    fn keep(&self, name: &str, text: &str) {
        if let Some(folder) = &self.folder {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    fn end(mut self) {
        self.fleet.order(|_| Order::Churn { per_s: 0.0, returning: RETURNING });
        let table = self.figures.turned();
        println!("{table}");
        // Before the proof: whatever it says, this was measured.
        self.keep("million-table.md", &table);
        self.keep("million.json", &self.figures.json().to_string());
        self.keep("million.svg", &plot::svg(&self.quiet));
        let (said, status) = self.fleet.prove();
        println!("{said}");
        self.keep("million-check.txt", &said);
        assert_eq!(status, Some(0), "the journal does not prove it");
    }
}
