//! The figures: medians of the rounds, as tables and as a file.

use crate::{
    plan::{BATCHES, Cell, Who},
    ways::Way,
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, fs, path::Path, time::Duration};

/// One turn of one way.
#[derive(Default)]
pub struct Measured {
    pub seconds: f64,
    pub server: Duration,
    pub client: Duration,
    pub booked: usize,
    /// Asked for; under contention some are not booked.
    pub bookings: usize,
    pub round: u32,
}

impl Measured {
    fn per_s(&self) -> f64 {
        self.bookings as f64 / self.seconds
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Of sorted values.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

/// One way in one cell, over all rounds.
#[derive(Serialize, Deserialize)]
pub struct Line {
    pub way: String,
    pub connections: usize,
    pub contended: bool,
    pub batch: usize,
    /// Bookings settled a second: the median of the rounds, and the slowest and fastest.
    pub per_s: f64,
    pub per_s_min: f64,
    pub per_s_max: f64,
    /// CPU time a booking, over all rounds.
    pub server_us: f64,
    pub client_us: f64,
    /// Bookings a second in proportion to pipelined COPY in the same cell and round: the median, the least and the
    /// most. As the two are seconds apart, this is less noisy than the medians' ratio.
    pub to_copy: f64,
    pub to_copy_min: f64,
    pub to_copy_max: f64,
    pub rounds: usize,
}

pub fn lines(
    everyone: &[(Who, &str)],
    cells: &[Cell],
    seen: &HashMap<(Who, Cell), Vec<Measured>>,
) -> Vec<Line> {
    let line = |who: Who, way: &str, cell: Cell| {
        let rounds = seen.get(&(who, cell))?;
        let per_s = sorted(rounds.iter().map(Measured::per_s));
        let copy = &seen[&(Who::Rust(Way::CopyPipelined), cell)];
        let to_copy = sorted(rounds.iter().filter_map(|m| {
            let copy = copy.iter().find(|copy| copy.round == m.round)?;
            Some(m.per_s() / copy.per_s())
        }));
        let bookings: usize = rounds.iter().map(|m| m.bookings).sum();
        let micros = |time: fn(&Measured) -> Duration| {
            rounds.iter().map(time).sum::<Duration>().as_secs_f64() * 1e6 / bookings as f64
        };
        Some(Line {
            way: way.to_owned(),
            connections: cell.connections,
            contended: cell.contended,
            batch: cell.batch,
            per_s: median(&per_s),
            per_s_min: per_s[0],
            per_s_max: per_s[per_s.len() - 1],
            server_us: micros(|m| m.server),
            client_us: micros(|m| m.client),
            to_copy: median(&to_copy),
            to_copy_min: to_copy[0],
            to_copy_max: to_copy[to_copy.len() - 1],
            rounds: rounds.len(),
        })
    };
    let of_cell = |cell: &Cell| {
        let cell = *cell;
        everyone.iter().filter_map(move |(who, way)| line(*who, way, cell))
    };
    cells.iter().flat_map(of_cell).collect()
}

pub fn write(folder: &Path, lines: &[Line]) {
    fs::write(folder.join("bookings.json"), serde_json::to_string_pretty(lines).unwrap() + "\n").unwrap();
    print(lines);
}

pub fn read(folder: &Path) -> Vec<Line> {
    serde_json::from_str(&fs::read_to_string(folder.join("bookings.json")).unwrap()).unwrap()
}

/// Two tables for each number of connections, in Markdown.
pub fn print(lines: &[Line]) {
    let mut groups: Vec<(usize, bool)> =
        lines.iter().map(|line| (line.connections, line.contended)).collect();
    groups.dedup();
    for group in groups {
        let of: Vec<&Line> = lines.iter().filter(|l| (l.connections, l.contended) == group).collect();
        let contention = if group.1 { "a tenth contended" } else { "no contention" };
        println!("\n## {} connection(s), {contention}", group.0);
        println!(
            "\nBookings/s: median and fastest round (ratio of the medians to save()); CPU µs a booking, PostgreSQL + client\n"
        );
        let save = of[0].per_s;
        table(&of, |l| {
            let (per_s, fastest, ratio) = (grouped(l.per_s), grouped(l.per_s_max), l.per_s / save);
            format!("{per_s}, {fastest} ({ratio:.1}×); {:.0} + {:.0}", l.server_us, l.client_us)
        });
        println!("\nTo pipelined COPY in the same round: median (least–most)\n");
        table(&of, |l| format!("{:.2} ({:.2}–{:.2})", l.to_copy, l.to_copy_min, l.to_copy_max));
    }
}

fn table(lines: &[&Line], cell: impl Fn(&Line) -> String) {
    println!("| batch | {} |", BATCHES.map(|batch| grouped(batch as f64)).join(" | "));
    println!("|---{}|", "|---".repeat(BATCHES.len()));
    let mut ways: Vec<&str> = Vec::new();
    for line in lines {
        if !ways.contains(&line.way.as_str()) {
            ways.push(&line.way);
        }
    }
    for way in ways {
        let of = |batch| lines.iter().find(|l| l.way == way && l.batch == batch);
        println!(
            "| {way} | {} |",
            BATCHES.map(|batch| of(batch).map_or_else(String::new, |l| cell(l))).join(" | ")
        );
    }
}

pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
