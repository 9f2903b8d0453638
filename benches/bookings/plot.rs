//! Bookings a second over the size of the batch, both logarithmic: one line a way, its name at its end. The fastest round
//! is drawn: others' work on the machine can only slow a turn down, so it is the least disturbed one.

use crate::{
    plan::BATCHES,
    report::{Line, grouped},
};
use std::{fmt::Write, path::Path};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 72.0;
/// Where the lines end; their names stand to the right.
const RIGHT: f64 = 740.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 508.0;
const NAME_HEIGHT: f64 = 19.0;
const TICKS: [f64; 11] =
    [100.0, 200.0, 500.0, 1_000.0, 2_000.0, 5_000.0, 10_000.0, 20_000.0, 50_000.0, 100_000.0, 200_000.0];

/// How each way is drawn: Java's are dashed, what does not survive a conflict and what does in other hues.
const STYLES: [(&str, &str, &str); 14] = [
    ("saveAll(): one transaction", "grey", ""),
    ("multi-row VALUES", "green", ""),
    ("unnest", "teal", ""),
    ("unnest, one statement", "blue", "thick"),
    ("unnest ON CONFLICT RETURNING", "violet", ""),
    ("COPY text", "yellow", ""),
    ("COPY binary", "orange", ""),
    ("COPY binary, pipelined", "red", "thick"),
    ("COPY to staging, ON CONFLICT", "pink", ""),
    ("Hibernate saveAll(), IDENTITY", "grey", "java"),
    ("Hibernate, UUIDs, batch_size", "violet", "java"),
    ("JDBC batch, rewritten", "green", "java"),
    ("pgjdbc CopyManager", "yellow", "java"),
    ("save(): autocommit", "grey", ""),
];
const STYLE_SHEET: &str = "
  .paper { fill: #fff } text { font: 14px system-ui, sans-serif; fill: #5b646d; font-variant-numeric: tabular-nums }
  .title { font-size: 17px; font-weight: 600; fill: #1c2126 } .grid { stroke: #e4e7ea; stroke-width: 1 }
  path { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke: var(--c) } circle, .name { fill: var(--c) }
  .name { paint-order: stroke; stroke: #fff; stroke-width: 4px }
  .thick path { stroke-width: 3.4 } .thick .name { font-weight: 700 } .java path { stroke-dasharray: 6 5 }
  .lead { stroke: var(--c); stroke-width: 0.8; opacity: 0.6 }
  .grey { --c: #5b646d } .green { --c: #2e7d32 } .teal { --c: #00796b } .blue { --c: #0b62b0 } .violet { --c: #6a3fa0 }
  .yellow { --c: #8a6d00 } .orange { --c: #c05600 } .red { --c: #c01818 } .pink { --c: #b0377e }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14181c } text { fill: #a3adb6 } .title { fill: #e8ebee } .grid { stroke: #2b3239 } .name { stroke: #14181c }
    .grey { --c: #a3adb6 } .green { --c: #7fcf82 } .teal { --c: #4fd1c0 } .blue { --c: #62b5ff } .violet { --c: #b79af0 }
    .yellow { --c: #e0c341 } .orange { --c: #ff9b4a } .red { --c: #ff7a70 } .pink { --c: #f08cc4 }
  }";

pub fn write(folder: &Path, lines: &[Line]) {
    std::fs::write(folder.join("bookings.svg"), svg(lines)).unwrap();
}

fn x(batch: usize) -> f64 {
    let decades = (BATCHES[BATCHES.len() - 1] as f64).log10();
    LEFT + 20.0 + (RIGHT - LEFT - 40.0) * (batch as f64).log10() / decades
}

/// The vertical axis: the ticks around what was measured.
struct Scale(Vec<f64>);

impl Scale {
    fn of(shown: &[&Line]) -> Self {
        let least = shown.iter().map(|l| l.per_s_max).fold(f64::MAX, f64::min);
        let below = TICKS.iter().filter(|tick| **tick <= least).count();
        Self(TICKS[below.saturating_sub(1)..].to_vec())
    }

    fn y(&self, per_s: f64) -> f64 {
        let (low, high) = (self.0[0], self.0[self.0.len() - 1]);
        BOTTOM - (BOTTOM - TOP) * (per_s / low).log10() / (high / low).log10()
    }
}

fn svg(lines: &[Line]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Bookings a second over the size of the batch, by way of writing\">\n<style>{STYLE_SHEET}\n</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"28\">Bookings a second, one connection, by size of the batch (fastest round)</text>\n"
    );
    let shown: Vec<&Line> = lines.iter().filter(|l| l.connections == 1 && !l.contended).collect();
    let scale = Scale::of(&shown);
    axes(&mut out, &scale);
    let mut curves: Vec<Curve> = STYLES.iter().filter_map(|style| Curve::of(style, &shown, &scale)).collect();
    spread(&mut curves);
    curves.iter().for_each(|curve| curve.draw(&mut out));
    out + "</svg>\n"
}

fn axes(out: &mut String, scale: &Scale) {
    for per_s in &scale.0 {
        let (y, label) = (scale.y(*per_s), grouped(*per_s));
        writeln!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")
            .unwrap();
        let (x, y) = (LEFT - 8.0, y + 5.0);
        writeln!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>").unwrap();
    }
    for batch in BATCHES {
        let (x, y, label) = (x(batch), BOTTOM + 22.0, grouped(batch as f64));
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>").unwrap();
    }
    let (x, y) = ((LEFT + RIGHT) / 2.0, BOTTOM + 42.0);
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">bookings in a batch (dashed: Java)</text>"
    )
    .unwrap();
}

struct Curve {
    name: &'static str,
    classes: String,
    points: Vec<(f64, f64)>,
    /// Where the name stands.
    name_y: f64,
}

impl Curve {
    fn of(&(name, hue, class): &(&'static str, &str, &str), shown: &[&Line], scale: &Scale) -> Option<Self> {
        let points: Vec<_> =
            shown.iter().filter(|l| l.way == name).map(|l| (x(l.batch), scale.y(l.per_s_max))).collect();
        let name_y = points.last()?.1;
        Some(Self { name, classes: format!("{hue} {class}"), points, name_y })
    }

    fn draw(&self, out: &mut String) {
        let Self { name, classes, points, name_y } = self;
        let (end_x, end_y) = points[points.len() - 1];
        let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        writeln!(out, "<g class=\"{classes}\"><path d=\"M{}\"/>", path.join("L")).unwrap();
        for (x, y) in points {
            write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>").unwrap();
        }
        // A single point has its name beside it.
        let name_x = if points.len() == 1 { end_x + 10.0 } else { RIGHT + 12.0 };
        if points.len() > 1 {
            let (from, to) = (end_x + 4.0, name_x - 4.0);
            write!(
                out,
                "<line class=\"lead\" x1=\"{from:.1}\" y1=\"{end_y:.1}\" x2=\"{to:.1}\" y2=\"{name_y:.1}\"/>"
            )
            .unwrap();
        }
        writeln!(out, "<text class=\"name\" x=\"{name_x:.1}\" y=\"{:.1}\">{name}</text></g>", name_y + 5.0)
            .unwrap();
    }
}

/// Moves names apart that would overlap, each as little as possible.
fn spread(curves: &mut [Curve]) {
    let mut at_end: Vec<&mut Curve> = curves.iter_mut().filter(|curve| curve.points.len() > 1).collect();
    at_end.sort_by(|a, b| a.name_y.total_cmp(&b.name_y));
    for _ in 0..200 {
        for i in 1..at_end.len() {
            let overlap = at_end[i - 1].name_y + NAME_HEIGHT - at_end[i].name_y;
            if overlap > 0.0 {
                at_end[i - 1].name_y -= overlap / 2.0;
                at_end[i].name_y += overlap / 2.0;
            }
        }
    }
}
