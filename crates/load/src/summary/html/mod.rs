//! The summary as one HTML file that needs nothing else: no script, no font, no request.

pub(crate) mod axis;
pub(crate) mod chart;
mod charts;

use super::{
    Summary, Verdicts,
    text::{grouped, millis, words},
};
use crate::clicks::Clicks;
use chart::escape;
use std::{collections::BTreeMap, fmt::Write};

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn html(summary: &Summary) -> String {
    let title = format!("Load run: {} on {}", words(&summary.scenario), summary.sale);
    let mut out = String::new();
    let _ = writeln!(out, "<p class=\"when\">{}</p>", escape(&when(summary)));
    out.push_str(&verdicts(summary.verdicts.as_ref(), summary.breaches));
    if !summary.notes.is_empty() {
        out.push_str("<ul class=\"notes\">\n");
        for note in &summary.notes {
            let _ = writeln!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str(&tiles(summary));
    out.push_str("<div class=\"charts\">\n");
    charts::charts(summary).iter().for_each(|chart| out.push_str(&chart.html()));
    out.push_str("</div>\n<div class=\"tables\">\n");
    out.push_str(&latencies(summary));
    out.push_str(&counts("How the visitors' stories ended", "outcome", &summary.outcomes));
    out.push_str(&counts("Refusals", "reason", &summary.refused));
    out.push_str(&clicks(&summary.clicks));
    out.push_str(&counts("Lapses", "reason", &summary.lapsed));
    out.push_str(&counts("Ends of connections", "close code", &summary.cuts));
    out.push_str(&breaches(summary));
    out.push_str(&settings(summary));
    out.push_str(&parts(summary));
    out.push_str("</div>\n");
    page(&title, &out)
}

/// A page of this look around what it says.
pub(crate) fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}</main>\n\
         </body>\n</html>\n"
    )
}

fn when(summary: &Summary) -> String {
    format!(
        "{:.0} · {} · {} visitors for {} seats · run {}",
        summary.started_at,
        millis(summary.duration_s * 1000.0),
        grouped(summary.visitors),
        grouped(summary.seats),
        summary.run
    )
}

/// Whether what was promised held.
fn verdicts(verdicts: Option<&Verdicts>, breaches: u64) -> String {
    let Some(verdicts) = verdicts else {
        return "<p class=\"verdict\">Not judged: this page was made from the histories alone.</p>\n".into();
    };
    let (class, text) = match verdicts.held() && breaches == 0 {
        true => ("held", "✓ All thresholds held, and no promise was broken."),
        false => ("broken", "✗ A threshold or a promise was broken."),
    };
    let mut out = format!("<p class=\"verdict {class}\">{text}</p>\n");
    let mark = |held| if held { "✓ held" } else { "✗ broken" };
    let rows = verdicts.thresholds.iter().map(|limit| {
        vec![limit.name.clone(), limit.limit.clone(), limit.value.clone(), mark(limit.held).into()]
    });
    out.push_str(&table("Thresholds", &["threshold", "at most", "was", ""], &rows.collect::<Vec<_>>()));
    let rows = verdicts
        .violations
        .iter()
        .map(|broken| vec![words(&broken.kind), grouped(broken.count), broken.examples.join("; ")]);
    out.push_str(&table("Broken promises", &["promise", "times", "for example"], &rows.collect::<Vec<_>>()));
    out
}

/// The figures that one looks for first.
fn tiles(summary: &Summary) -> String {
    let p99 = |name: &str| summary.latencies.get(name).map_or_else(|| "–".into(), |l| millis(l.p99_ms));
    let lag = summary.lag_ms.map_or_else(|| "unknown".into(), millis);
    let tiles = [
        ("visitors arrived", grouped(summary.arrived)),
        ("got a place", grouped(summary.joined)),
        ("admitted", grouped(summary.admitted)),
        ("bookings", grouped(summary.bookings)),
        ("seats sold", format!("{} of {}", grouped(summary.seats_sold), grouped(summary.seats))),
        ("reconnects", grouped(summary.reconnects)),
        ("join, 99 % within", p99("join")),
        ("redeem, 99 % within", p99("redeem")),
        ("wait, 99 % within", p99("wait")),
        ("generator late at worst", lag),
    ];
    figures(&tiles)
}

/// Figures with their names, side by side.
pub(crate) fn figures(figures: &[(&str, String)]) -> String {
    let mut out = String::from("<dl class=\"tiles\">\n");
    for (name, value) in figures {
        let _ = writeln!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(value));
    }
    out.push_str("</dl>\n");
    out
}

fn latencies(summary: &Summary) -> String {
    let row = |(name, l): (&&str, &super::Latency)| {
        let times = [l.p50_ms, l.p90_ms, l.p99_ms, l.p999_ms, l.max_ms].map(millis);
        [words(name), grouped(l.count)].into_iter().chain(times).collect::<Vec<_>>()
    };
    let rows: Vec<_> = summary.latencies.iter().map(row).collect();
    table("Latencies", &["", "count", "50 %", "90 %", "99 %", "99.9 %", "longest"], &rows)
}

fn counts<N: AsRef<str>>(title: &str, what: &str, counts: &BTreeMap<N, u64>) -> String {
    let rows: Vec<_> = counts.iter().map(|(name, n)| vec![words(name.as_ref()), grouped(*n)]).collect();
    table(title, &[what, "count"], &rows)
}

fn clicks(clicks: &Clicks) -> String {
    let stale = format!("{} ({:.2} %)", grouped(clicks.stale), clicks.stale_percent());
    let rows = [
        ("answered", grouped(clicks.answered)),
        ("on a seat just taken, shown free", stale),
        ("on a seat shown as taken", grouped(clicks.blind)),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(what, count)| vec![what.into(), count]).collect();
    table("Clicks on seats", &["clicks", "count"], &rows)
}

fn breaches(summary: &Summary) -> String {
    let rows: Vec<_> = summary.breach_examples.iter().map(|words| vec![words.clone()]).collect();
    let title = format!("Messages that break the contract: {}", grouped(summary.breaches));
    table(&title, &["the first of them"], &rows)
}

fn settings(summary: &Summary) -> String {
    let Some(settings) = &summary.settings else { return String::new() };
    let rows = [
        ("admissions a second", settings.rate.to_string()),
        ("live grants at once", grouped(settings.max_active)),
        ("a grant lives", format!("{} s", settings.grant_ttl_s)),
        ("it must be used within", format!("{} s", settings.claim_s)),
        ("an absent place is passed over after", format!("{} s", settings.away_s)),
        ("seats a visitor", grouped(settings.max_seats)),
        (
            "a hold lasts",
            if settings.hold_ttl_s == 0 { "no holds".into() } else { format!("{} s", settings.hold_ttl_s) },
        ),
    ];
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| vec![name.into(), value]).collect();
    table("The sale's settings when the run began", &["setting", "value"], &rows)
}

fn parts(summary: &Summary) -> String {
    let row = |part: &super::PartSummary| {
        let lag = part.lag_ms.map_or_else(|| "died".into(), millis);
        let name = format!("{} of {}", part.part.0, part.part.1);
        vec![name, part.file.clone(), grouped(part.visitors), grouped(part.entries), lag]
    };
    let rows: Vec<_> = summary.parts.iter().map(row).collect();
    table("Parts of the run", &["part", "history", "visitors", "entries", "late at worst"], &rows)
}

/// Rows under their titles; nothing if there are none. Columns of numbers are set to the right.
pub(crate) fn table(title: &str, titles: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let is_number = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let right: Vec<_> =
        (0..titles.len()).map(|n| n > 0 && rows.iter().all(|row| is_number(&row[n]))).collect();
    let class = |n: usize| if right[n] { " class=\"n\"" } else { "" };
    let mut out = format!("<section>\n<h2>{}</h2>\n<div class=\"scroll\"><table>\n<tr>", escape(title));
    for (n, title) in titles.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(n), escape(title));
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for (n, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(n), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n</section>\n");
    out
}

#[cfg(test)]
pub(crate) mod tests;
