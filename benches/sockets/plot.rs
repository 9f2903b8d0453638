//! What a line costs by its size, both logarithmic: one curve each for the servers, the crowd, Redis and PostgreSQL.

use crate::{
    sample::Figures,
    table::{group, short},
};
use std::fmt::Write;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 64.0;
/// Where the curves end; their names stand to the right.
const RIGHT: f64 = 660.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 400.0;
const NAME_HEIGHT: f64 = 20.0;
/// Cores.
const TICKS: [f64; 8] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0];
/// What is drawn, under which name, in which hue.
const CURVES: [(&str, &str, &str); 4] = [
    ("servers' cores", "the servers", "blue"),
    ("Redis' cores", "Redis", "red"),
    ("PostgreSQL's cores", "PostgreSQL", "teal"),
    ("crowds' cores", "the crowd, on the same machine", "grey"),
];
const STYLE: &str = "
  .paper { fill: #fff } text { font: 14px system-ui, sans-serif; fill: #5b646d; font-variant-numeric: tabular-nums }
  .title { font-size: 17px; font-weight: 600; fill: #1c2126 } .grid { stroke: #e4e7ea; stroke-width: 1 }
  path { fill: none; stroke-width: 2.4; stroke-linejoin: round; stroke: var(--c) } circle, .name { fill: var(--c) }
  .grey { --c: #5b646d } .grey path { stroke-dasharray: 6 5 } .teal { --c: #00796b } .blue { --c: #0b62b0 } .red { --c: #c01818 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #14181c } text { fill: #a3adb6 } .title { fill: #e8ebee } .grid { stroke: #2b3239 }
    .grey { --c: #a3adb6 } .teal { --c: #4fd1c0 } .blue { --c: #62b5ff } .red { --c: #ff7a70 }
  }";

/// The drawing, of what was measured at each size.
pub fn svg(measured: &[Figures]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"Cores used by the size of the line\">\n<style>{STYLE}\n</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\n\
         <text class=\"title\" x=\"{LEFT}\" y=\"28\">Cores used, by visitors who wait with a socket</text>\n"
    );
    let sizes: Vec<f64> = measured.iter().map(|of| value(of, "sockets")).collect();
    for tick in TICKS {
        let (y, label) = (y(tick), short(tick));
        writeln!(out, "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")
            .unwrap();
        let (x, y) = (LEFT - 8.0, y + 5.0);
        writeln!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>").unwrap();
    }
    for size in &sizes {
        let (x, y, label) = (x(*size, &sizes), BOTTOM + 22.0, group(*size as i64));
        writeln!(out, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"middle\">{label}</text>").unwrap();
    }
    let mut names: Vec<(f64, &str, &str)> = Vec::new();
    for (what, name, hue) in CURVES {
        let points: Vec<_> =
            measured.iter().zip(&sizes).map(|(of, size)| (x(*size, &sizes), y(value(of, what)))).collect();
        let path: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        write!(out, "<g class=\"{hue}\"><path d=\"M{}\"/>", path.join("L")).unwrap();
        points
            .iter()
            .for_each(|(x, y)| write!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.2\"/>").unwrap());
        out += "</g>\n";
        names.extend(points.last().map(|(_, y)| (*y, name, hue)));
    }
    // From the top down, none over another.
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut free = TOP;
    for (at, name, hue) in names {
        let y = at.max(free);
        free = y + NAME_HEIGHT;
        let x = RIGHT + 14.0;
        writeln!(
            out,
            "<g class=\"{hue}\"><text class=\"name\" x=\"{x}\" y=\"{:.1}\">{name}</text></g>",
            y + 5.0
        )
        .unwrap();
    }
    out + "</svg>\n"
}

fn value(of: &Figures, what: &str) -> f64 {
    of.iter().find(|(known, _)| *known == what).map_or(0.0, |(_, value)| *value)
}

fn x(size: f64, sizes: &[f64]) -> f64 {
    let (low, high) = (sizes[0].max(1.0), sizes[sizes.len() - 1].max(2.0));
    let share = if high > low { (size / low).ln() / (high / low).ln() } else { 1.0 };
    LEFT + 30.0 + (RIGHT - LEFT - 40.0) * share
}

fn y(cores: f64) -> f64 {
    let (low, high) = (TICKS[0], TICKS[TICKS.len() - 1]);
    BOTTOM - (BOTTOM - TOP) * (cores.max(low) / low).ln() / (high / low).ln()
}
