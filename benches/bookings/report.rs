//! The figures: medians of the rounds, as tables and as a file.

use crate::plan::{BATCHES, Cell, Who};
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
}

pub fn lines(
    everyone: &[(Who, &str)],
    cells: &[Cell],
    seen: &HashMap<(Who, Cell), Vec<Measured>>,
) -> Vec<Line> {
    let line = |who: Who, way: &str, cell: Cell| {
        let rounds = seen.get(&(who, cell))?;
        let mut per_s: Vec<f64> = rounds.iter().map(|m| m.bookings as f64 / m.seconds).collect();
        per_s.sort_by(f64::total_cmp);
        let bookings: usize = rounds.iter().map(|m| m.bookings).sum();
        let micros = |time: fn(&Measured) -> Duration| {
            rounds.iter().map(time).sum::<Duration>().as_secs_f64() * 1e6 / bookings as f64
        };
        Some(Line {
            way: way.to_owned(),
            connections: cell.connections,
            contended: cell.contended,
            batch: cell.batch,
            per_s: per_s[per_s.len() / 2],
            per_s_min: per_s[0],
            per_s_max: per_s[per_s.len() - 1],
            server_us: micros(|m| m.server),
            client_us: micros(|m| m.client),
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

/// A table for each number of connections, in Markdown.
pub fn print(lines: &[Line]) {
    let mut groups: Vec<(usize, bool)> =
        lines.iter().map(|line| (line.connections, line.contended)).collect();
    groups.dedup();
    for (connections, contended) in groups {
        let of: Vec<&Line> =
            lines.iter().filter(|l| (l.connections, l.contended) == (connections, contended)).collect();
        let contention = if contended { "a tenth contended" } else { "no contention" };
        println!(
            "\n**{connections} connection(s), {contention}**: bookings/s (ratio to save()); CPU µs a booking, PostgreSQL + client\n"
        );
        println!("| batch | {} |", BATCHES.map(|batch| batch.to_string()).join(" | "));
        println!("|---{}|", "|---".repeat(BATCHES.len()));
        let save = of[0].per_s;
        let mut ways: Vec<&str> = Vec::new();
        of.iter().for_each(|l| {
            if !ways.contains(&l.way.as_str()) {
                ways.push(&l.way)
            }
        });
        for way in ways {
            let cell = |batch| match of.iter().find(|l| l.way == way && l.batch == batch) {
                Some(l) => {
                    let (per_s, ratio) = (grouped(l.per_s), l.per_s / save);
                    format!("{per_s} ({ratio:.1}×); {:.0} + {:.0}", l.server_us, l.client_us)
                }
                None => String::new(),
            };
            println!("| {way} | {} |", BATCHES.map(cell).join(" | "));
        }
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
