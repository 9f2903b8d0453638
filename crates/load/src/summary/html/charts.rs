//! Which charts a report has, and what each is good for.

use super::{
    axis::{Axis, clock, nines_of},
    chart::{Chart, Line},
};
use crate::summary::{
    Latency, Summary,
    text::{grouped, millis},
};

/// Looks of visitors' ranks, from the earliest fifth of them to the latest.
const RANK_LOOKS: [&str; 5] = ["r1", "r2", "r3", "r4", "r5"];
const TIME: &str = "time since the crowd was let loose";

type Points = Vec<(f64, Option<f64>)>;

/// All charts, in the order of a visitor's way.
pub(super) fn charts(summary: &Summary) -> Vec<Chart> {
    vec![
        arrivals(summary),
        line_length(summary),
        ranks(summary),
        admissions(summary),
        seats(summary),
        answers(summary),
        waits(summary),
    ]
}

fn arrivals(summary: &Summary) -> Chart {
    let series = &summary.series;
    let a_second = |counts: &[i64]| counts.iter().map(|n| *n as f64 / series.bucket_s).collect::<Vec<_>>();
    let (came, joined) = (a_second(&series.arrivals), a_second(&series.joined));
    let see = "Visitors come when the scenario drew them to, however slow the server is. The dashed line should lie on \
               the other: where it lags behind, visitors wait for their first answer.";
    Chart {
        title: "Arrivals",
        see: see.into(),
        unit: "visitors a second",
        along: TIME,
        axes: over_time(summary, top(&[&came, &joined]), 0.0),
        tips: tips(summary, |i| {
            format!("{:.1} visitors a second came, {:.1} got their first place", came[i], joined[i])
        }),
        lines: vec![
            Line { is_area: true, ..line("meant to arrive", "c1", steps(summary, &came)) },
            line("got their first place", "c2 dashed", steps(summary, &joined)),
        ],
    }
}

fn line_length(summary: &Summary) -> Chart {
    let series = &summary.series;
    let (waiting, sockets) = (floats(&series.in_line), floats(&series.sockets));
    let see = "It rises while more arrive than are admitted, and falls at the pace of admissions. More connections than \
               places: visitors at their turn, and those who have not left yet. A sudden drop of the connections alone \
               is a crowd that was cut off; its places should stay.";
    Chart {
        title: "The line",
        see: see.into(),
        unit: "places, connections",
        along: TIME,
        axes: over_time(summary, top(&[&waiting, &sockets]), 1.0),
        tips: tips(summary, |i| {
            let (waiting, sockets) = (series.in_line[i], series.sockets[i]);
            format!("{} places in the line, {} live connections", grouped(waiting), grouped(sockets))
        }),
        lines: vec![
            Line { is_area: true, ..line("places in the line", "c1", steps(summary, &waiting)) },
            line("live connections", "c2 dashed", steps(summary, &sockets)),
        ],
    }
}

fn ranks(summary: &Summary) -> Chart {
    let tracks = &summary.ranks;
    let first = |n: usize| tracks[n].points.first().map_or(0.0, |(at, _)| *at);
    let mut order: Vec<_> = (0..tracks.len()).collect();
    order.sort_by(|a, b| first(*a).total_cmp(&first(*b)));
    let mut lines = Vec::new();
    let mut named = None;
    for (place, n) in order.iter().enumerate() {
        let fifth = place * RANK_LOOKS.len() / order.len();
        let name = match fifth {
            _ if named == Some(fifth) => "",
            0 => "the first fifth to come",
            4 => "the last fifth",
            _ => "",
        };
        named = Some(fifth);
        let track = &tracks[*n];
        let points = held(&track.points, summary.duration_s);
        let tip = format!("visitor {}", track.visitor);
        lines.push(Line { tip, ..line(name, RANK_LOOKS[fifth], points) });
    }
    let highest =
        tracks.iter().flat_map(|track| &track.points).filter_map(|(_, rank)| *rank).max().unwrap_or(0);
    let see = format!(
        "{} drawn by lot from the visitors whose ranks were written down; each line is what one of them was shown. It \
         should only ever fall, and who came earlier should come to 0 earlier: first come, first served. A gap is a lost \
         connection; far from the head, ranks are shown every few seconds.",
        tracks.len()
    );
    Chart {
        title: "Ranks of sampled visitors",
        see,
        unit: "places ahead",
        along: TIME,
        axes: over_time(summary, highest as f64, 1.0),
        lines,
        tips: Vec::new(),
    }
}

fn admissions(summary: &Summary) -> Chart {
    let admitted = summary.series.admissions_a_second();
    let rate = summary.settings.as_ref().map(|settings| settings.rate);
    let mut lines = vec![Line { is_area: true, ..line("admitted", "c1", steps(summary, &admitted)) }];
    let see = "Should keep to the allowed rate while anybody waits, and stay below it where nobody does, where grants or \
               seats have run out, or the sale is paused; never for long above it. A grant counts when its visitor hears of \
               it: after a cut, many hear at once. Mean over a second.";
    let see = match rate {
        None => format!("{see} The allowed rate is not known: the run had no operator's token."),
        Some(rate) => {
            let name = format!("allowed: {rate} a second, when the run began");
            let points = vec![(0.0, Some(rate)), (summary.duration_s, Some(rate))];
            lines.push(line(name, "c3 dashed", points));
            see.into()
        }
    };
    Chart {
        title: "Admissions against the allowed rate",
        see,
        unit: "visitors a second",
        along: TIME,
        axes: over_time(summary, top(&[&admitted]).max(rate.unwrap_or(0.0) * 1.1), 0.0),
        tips: tips(summary, |i| format!("{:.1} admitted a second", admitted[i])),
        lines,
    }
}

fn seats(summary: &Summary) -> Chart {
    let sold = floats(&summary.series.seats_sold);
    let all = summary.seats as f64;
    let see = "Seats that visitors were told are theirs, sold or held. Should rise until the hall is full, and never \
               above it.";
    Chart {
        title: "Seats sold",
        see: see.into(),
        unit: "seats",
        along: TIME,
        axes: over_time(summary, top(&[&sold]).max(all), 1.0),
        tips: tips(summary, |i| {
            format!("{} of {} seats", grouped(summary.series.seats_sold[i]), grouped(summary.seats))
        }),
        lines: vec![
            Line { is_area: true, ..line("sold or held", "c1", steps(summary, &sold)) },
            line("seats in the hall", "c3 dashed", vec![(0.0, Some(all)), (summary.duration_s, Some(all))]),
        ],
    }
}

fn answers(summary: &Summary) -> Chart {
    let see = "So many percent of the visitors had their answer within that time. Both scales are logarithmic: each nine is \
               as wide as the last. A curve that stays low far to the right means that hardly anybody waited long. Counted \
               from the moment at which the visitor was meant to act, so a slow server is not flattered.";
    let names = [
        ("join", "arrival to place", "c1"),
        ("redeem", "click to booking", "c2 dashed"),
        ("refused", "click to refusal", "c3 dotted"),
        ("reconnect", "cut off to place again", "c4 dashdot"),
    ];
    let measured = || names.iter().filter_map(|(measure, ..)| summary.latencies.get(measure));
    let count = measured().map(|latency| latency.count).max().unwrap_or(0);
    let low = measured().filter_map(|l| l.curve.first()).map(|p| p.1).fold(f64::INFINITY, f64::min);
    let high = measured().map(|latency| latency.max_ms).fold(0.0, f64::max);
    let low = if low.is_finite() { low.max(0.1) } else { 1.0 };
    let line_of = |(measure, name, look): &(&str, &str, &'static str)| {
        let latency = summary.latencies.get(measure)?;
        let points = latency.curve.iter().map(|(p, ms)| (nines_of(*p), Some(*ms))).collect();
        let tip =
            format!("{name}: half within {}, 99 % within {}", millis(latency.p50_ms), millis(latency.p99_ms));
        Some(Line { tip, ..line(*name, look, points) })
    };
    Chart {
        title: "How soon visitors are answered",
        see: see.into(),
        unit: "within",
        along: "of the visitors",
        axes: Box::new(move |across, _| (Axis::percentiles(count, across), Axis::millis(low, high.max(low)))),
        lines: names.iter().filter_map(line_of).collect(),
        tips: Vec::new(),
    }
}

fn waits(summary: &Summary) -> Chart {
    let see = "From the place in the line to the turn. This is the line itself and no fault of the server: the visitors over \
               the rate, at the pace of the rate. Those who still waited at the end are not in it.";
    let latency = summary.latencies.get("wait");
    let (count, longest_s) = latency.map_or((0, 1.0), |latency| (latency.count, latency.max_ms / 1000.0));
    let points = |latency: &Latency| {
        let lines = latency.curve.iter().map(|(p, ms)| (nines_of(*p), Some(ms / 1000.0)));
        Line { is_area: true, ..line("place to turn", "c1", lines.collect()) }
    };
    Chart {
        title: "How long visitors wait for their turn",
        see: see.into(),
        unit: "within",
        along: "of the visitors",
        axes: Box::new(move |across, up| (Axis::percentiles(count, across), Axis::time(longest_s, up))),
        lines: latency.map(points).into_iter().collect(),
        tips: Vec::new(),
    }
}

fn line(name: impl Into<String>, look: &'static str, points: Points) -> Line {
    Line { name: name.into(), tip: String::new(), look, is_area: false, points }
}

fn over_time(summary: &Summary, highest: f64, least: f64) -> Box<dyn Fn(f64, f64) -> (Axis, Axis)> {
    let seconds = summary.duration_s;
    Box::new(move |across, up| (Axis::time(seconds, across), Axis::number(highest, least.max(0.001), up)))
}

fn floats(counts: &[i64]) -> Vec<f64> {
    counts.iter().map(|n| *n as f64).collect()
}

fn top(all: &[&[f64]]) -> f64 {
    all.iter().flat_map(|values| values.iter()).copied().fold(0.0, f64::max)
}

/// A rank holds until the next one is shown, or none is any more, or the run ends.
fn held(ranks: &[(f64, Option<u64>)], end: f64) -> Points {
    let mut points = Points::new();
    let mut shown = None;
    for (at, rank) in ranks {
        points.extend(shown.map(|rank| (*at, Some(rank))));
        shown = rank.map(|rank| rank as f64);
        points.push((*at, shown));
    }
    points.push((end, shown));
    points
}

/// Each value holds over its bucket.
fn steps(summary: &Summary, values: &[f64]) -> Points {
    let edge = |i: usize| (i as f64 * summary.series.bucket_s).min(summary.duration_s);
    values.iter().enumerate().flat_map(|(i, v)| [(edge(i), Some(*v)), (edge(i + 1), Some(*v))]).collect()
}

fn tips(summary: &Summary, words: impl Fn(usize) -> String) -> Vec<(f64, f64, String)> {
    let width = summary.series.bucket_s;
    let tip = |i: usize| {
        let from = i as f64 * width;
        (from, from + width, format!("after {}: {}", clock(from), words(i)))
    };
    (0..summary.series.arrivals.len()).map(tip).collect()
}
