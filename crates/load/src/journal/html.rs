//! The report as one page that may be published: it needs nothing else, and names nobody.

use super::{numbers::Bucket, report::Report};
use crate::{
    checker::{Promise, Status},
    summary::{
        html::{
            axis::{Axis, clock},
            chart::{Chart, Line, escape},
            figures, page, table,
        },
        text::grouped,
    },
};
use std::fmt::Write;

const TIME: &str = "time since the line began";

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        let mut out = format!("<p class=\"when\">{}</p>\n", escape(&self.when()));
        let (class, text) = match self.status {
            Status::Proved => ("held", "✓ Every promise that the journal can show was kept."),
            Status::TooLittle => ("", "Nothing was found broken, but not everything could be judged."),
            Status::Violated => ("broken", "✗ A promise was broken."),
        };
        let _ = writeln!(out, "<p class=\"verdict {class}\">{text}</p>");
        let _ = writeln!(out, "<p>{}</p>", escape(&self.reach()));
        out.push_str(&figures(&self.rows()));
        out.push_str("<div class=\"charts\">\n");
        self.charts().iter().for_each(|chart| out.push_str(&chart.html()));
        out.push_str("</div>\n<div class=\"tables\">\n");
        out.push_str(&self.promises());
        out.push_str(&self.settings_table());
        out.push_str(&self.head_table());
        out.push_str("</div>\n");
        page(&format!("The journal of sale {}", self.sale), &out)
    }

    fn promises(&self) -> String {
        let row = |verdict: &crate::checker::Verdict<super::Rule>| {
            let status = match verdict.status {
                Status::Proved => "✓ proved".into(),
                Status::TooLittle => "not all judged".into(),
                Status::Violated => format!("✗ broken {} times", grouped(verdict.violations)),
            };
            let examples = verdict.examples.iter().map(|example| example.text.clone());
            let why = verdict.lacking.iter().cloned().chain(examples).collect::<Vec<_>>().join("; ");
            vec![verdict.invariant.title().into(), status, grouped(verdict.checked), why]
        };
        let rows: Vec<_> = self.verdicts.iter().map(row).collect();
        table("What was promised", &["promise", "", "looked at", "for example"], &rows)
    }

    fn settings_table(&self) -> String {
        let Some(settings) = &self.settings else { return String::new() };
        let seconds = |ms: i64| format!("{} s", ms as f64 / 1000.0);
        let rows = [
            ("admissions a second", settings.rate.to_string()),
            ("live turns and held bookings at once", grouped(settings.max_active)),
            ("a turn lives", seconds(settings.grant_ttl_ms)),
            ("it must be used within", seconds(settings.claim_ms)),
            ("an absent place is passed over after", seconds(settings.away_ms)),
        ];
        let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
        table("The settings that were in force last", &["setting", "value"], &rows)
    }

    fn head_table(&self) -> String {
        let Some(head) = &self.head else { return String::new() };
        let rows = [
            ("hash", head.hash.to_string()),
            ("batch", head.batch.to_string()),
            ("epoch and entry", format!("{}-{}", head.epoch, head.n)),
            ("written", head.time.to_string()),
        ];
        let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
        table("The head of the chain", &["", "value"], &rows)
    }

    fn charts(&self) -> Vec<Chart> {
        vec![self.arrivals(), self.order(), self.admissions(), self.absent(), self.sold()]
    }

    fn arrivals(&self) -> Chart {
        let (drawn, waiting) = (self.values(|b| b.drawn as f64), self.values(|b| b.waiting as f64));
        let top = drawn.iter().chain(&waiting).copied().fold(0.0, f64::max);
        Chart {
            title: "Who came, and who waited",
            see: "Places drawn, and how many of them waited for their turn.".into(),
            unit: "places",
            along: TIME,
            axes: self.axes(top),
            tips: self.tips(|b| format!("{} places drawn, {} waiting", grouped(b.drawn), grouped(b.waiting))),
            lines: vec![
                Line { is_area: true, ..line("waiting", "c1", self.steps(&waiting)) },
                line("places drawn", "c2 dashed", self.steps(&drawn)),
            ],
        }
    }

    fn order(&self) -> Chart {
        let reached = self.values(|b| b.reached as f64);
        let top = reached.iter().copied().fold(0.0, f64::max);
        Chart {
            title: "In which order",
            see: "How far down the line turns were given: the number of the last place that was served in its order. First \
                  come, first served is a line that never falls."
                .into(),
            unit: "place in the line",
            along: TIME,
            axes: self.axes(top),
            tips: self.tips(|b| format!("served down to place {}", grouped(b.reached))),
            lines: vec![Line { is_area: true, ..line("served down to", "c1", self.steps(&reached)) }],
        }
    }

    fn admissions(&self) -> Chart {
        let width = self.series.bucket_s;
        let (admitted, rate) = (self.values(|b| b.admitted as f64 / width), self.values(|b| b.rate));
        let top = admitted.iter().chain(&rate).copied().fold(0.0, f64::max);
        Chart {
            title: "Admissions against the rate",
            see: "Turns given a second, and how many the sale's rate allowed. Below it where nobody waited, turns or seats had \
                  run out, or the sale was paused."
                .into(),
            unit: "turns a second",
            along: TIME,
            axes: self.axes(top),
            tips: self.tips(move |b| format!("{:.1} a second, allowed {}", b.admitted as f64 / width, b.rate)),
            lines: vec![
                Line { is_area: true, ..line("admitted", "c1", self.steps(&admitted)) },
                line("allowed", "c3 dashed", self.steps(&rate)),
            ],
        }
    }

    fn absent(&self) -> Chart {
        let (away, lapsed) = (self.values(|b| b.passed_over as f64), self.values(|b| b.lapsed as f64));
        let top = away.iter().chain(&lapsed).copied().fold(0.0, f64::max);
        Chart {
            title: "Who was passed over",
            see: "Places whose turn came while nobody was there, and turns that ended unused. Both keep their places once.".into(),
            unit: "places",
            along: TIME,
            axes: self.axes(top),
            tips: self.tips(|b| format!("{} passed over, {} turns ended unused", grouped(b.passed_over), grouped(b.lapsed))),
            lines: vec![
                Line { is_area: true, ..line("passed over", "c1", self.steps(&away)) },
                line("turns that ended unused", "c2 dashed", self.steps(&lapsed)),
            ],
        }
    }

    fn sold(&self) -> Chart {
        let sold = self.values(|b| b.sold as f64);
        let all = self.numbers.seats as f64;
        Chart {
            title: "Seats sold",
            see: "Seats that were booked or held.".into(),
            unit: "seats",
            along: TIME,
            axes: self.axes(sold.iter().copied().fold(all, f64::max)),
            tips: self.tips(|b| format!("{} seats", grouped(b.sold))),
            lines: vec![
                Line { is_area: true, ..line("sold or held", "c1", self.steps(&sold)) },
                line("seats in the hall", "c3 dashed", vec![(0.0, Some(all)), (self.end(), Some(all))]),
            ],
        }
    }

    fn values(&self, value: impl Fn(&Bucket) -> f64) -> Vec<f64> {
        self.series.buckets.iter().map(value).collect()
    }

    fn end(&self) -> f64 {
        self.duration_s().max(self.series.bucket_s)
    }

    fn axes(&self, top: f64) -> Box<dyn Fn(f64, f64) -> (Axis, Axis)> {
        let seconds = self.end();
        Box::new(move |across, up| (Axis::time(seconds, across), Axis::number(top, 1.0, up)))
    }

    /// Each value holds over its stretch of time.
    fn steps(&self, values: &[f64]) -> Vec<(f64, Option<f64>)> {
        let edge = |i: usize| (i as f64 * self.series.bucket_s).min(self.end());
        values.iter().enumerate().flat_map(|(i, v)| [(edge(i), Some(*v)), (edge(i + 1), Some(*v))]).collect()
    }

    fn tips(&self, words: impl Fn(&Bucket) -> String) -> Vec<(f64, f64, String)> {
        let width = self.series.bucket_s;
        let tip = |(i, bucket)| {
            let from = i as f64 * width;
            (from, from + width, format!("after {}: {}", clock(from), words(bucket)))
        };
        self.series.buckets.iter().enumerate().map(tip).collect()
    }
}

fn line(name: &str, look: &'static str, points: Vec<(f64, Option<f64>)>) -> Line {
    Line { name: name.into(), tip: String::new(), look, is_area: false, points }
}
