use super::*;
use crate::{
    clicks::Clicks,
    summary::{Broken, Latency, Limit, PartSummary, Series, Track},
};

const HOSTILE: &str = "<script>alert('x')</script>&\"\u{8}";

fn summary() -> Summary {
    let curve = vec![(0.0, 1.0), (50.0, 4.0), (90.0, 20.0)];
    let latency =
        Latency { count: 20, p50_ms: 4.0, p90_ms: 20.0, p99_ms: 25.0, p999_ms: 25.0, max_ms: 25.0, curve };
    let names = ["join", "redeem", "refused", "reconnect", "wait"];
    let counts = || BTreeMap::from([(HOSTILE.to_owned(), 1)]);
    Summary {
        run: HOSTILE.into(),
        scenario: HOSTILE.into(),
        sale: HOSTILE.into(),
        seats: 10,
        started_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        duration_s: 0.7,
        visitors: 20,
        arrived: 20,
        joined: 20,
        admitted: 3,
        bookings: 2,
        seats_sold: 4,
        outcomes: BTreeMap::from([("booked", 2)]),
        refused: counts(),
        clicks: Clicks { answered: 4, stale: 1, blind: 0 },
        lapsed: counts(),
        cuts: counts(),
        reconnects: 0,
        redeems_unknown: 0,
        breaches: 1,
        breach_examples: vec![HOSTILE.into()],
        latencies: names.into_iter().map(|name| (name, latency.clone())).collect(),
        series: Series {
            bucket_s: 0.25,
            arrivals: vec![20, 0, 0],
            joined: vec![18, 2, 0],
            admitted: vec![0, 1, 2],
            in_line: vec![18, 19, 17],
            sockets: vec![18, 20, 20],
            seats_sold: vec![0, 2, 4],
        },
        ranks: vec![Track { visitor: 3, points: vec![(0.1, Some(3)), (0.3, None), (0.5, Some(1))] }],
        settings: None,
        lag_ms: None,
        parts: vec![PartSummary {
            part: (1, 1),
            file: HOSTILE.into(),
            visitors: 20,
            entries: 99,
            died: true,
            lag_ms: None,
        }],
        notes: vec![HOSTILE.into()],
        verdicts: Some(Verdicts {
            thresholds: vec![Limit {
                name: HOSTILE.into(),
                limit: HOSTILE.into(),
                value: HOSTILE.into(),
                held: true,
            }],
            violations: vec![Broken { kind: HOSTILE.into(), count: 1, examples: vec![HOSTILE.into()] }],
        }),
    }
}

/// The first fault: a tag that is not closed in order, or an attribute without quotes. `<meta>` closes itself.
pub(crate) fn fault(page: &str) -> Option<String> {
    let mut open = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>")?;
    while let Some(at) = rest.find('<') {
        let end = rest[at..].find('>')? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '/']).next()?;
        if tag.matches('"').count() % 2 == 1 || tag.contains('<') {
            return Some(format!("<{tag}>"));
        }
        if let Some(closed) = tag.strip_prefix('/') {
            if open.pop() != Some(closed) {
                return Some(format!("</{closed}> closes nothing"));
            }
        } else if name != "meta" && !tag.ends_with('/') {
            open.push(name);
        }
    }
    open.pop().map(|name| format!("<{name}> is not closed"))
}

/// What would make a browser ask for something, or run something.
pub(crate) fn reaches_out(page: &str) -> Vec<&'static str> {
    let ways = [
        "<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "://", " onload",
        " onerror",
    ];
    ways.into_iter().filter(|way| page.contains(way)).collect()
}

#[test]
fn the_page_is_well_formed_and_stands_alone_whatever_its_names_are() {
    let page = html(&summary());
    assert_eq!(fault(&page), None);
    assert_eq!(reaches_out(&page), Vec::<&str>::new());
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;\u{fffd}"));
    assert!(!page.contains("NaN") && !page.contains("inf "), "a number that is none");
}

#[test]
fn planted_faults_of_a_page_are_seen() {
    let page = html(&summary());
    assert!(fault(&page.replacen("</figure>", "", 1)).is_some());
    assert!(fault(&page.replacen("class=\"grid\"", "class=\"grid", 1)).is_some());
    assert_eq!(reaches_out("<img src='http://x'>"), ["<img", "src=", "://"]);
}

#[test]
fn everything_that_was_asked_for_is_there() {
    let page = html(&summary());
    for title in
        ["Arrivals", "The line", "Ranks of", "Admissions against", "Seats sold", "How soon", "How long"]
    {
        assert!(page.contains(&format!("<h2>{title}")), "{title}");
    }
    assert_eq!((page.matches("chart wide").count(), page.matches("chart narrow").count()), (7, 7));
    assert!(page.contains("visitor 3") && page.contains("The allowed rate is not known"));
}

#[test]
fn a_page_says_whether_the_run_held() {
    let said = |verdicts: Option<Verdicts>, breaches: u64| {
        let page = html(&Summary { verdicts, breaches, ..summary() });
        ["Not judged", "✓ All thresholds held", "✗ A threshold or a promise was broken"]
            .map(|text| page.contains(text))
    };
    let limit = |held| Limit { name: "join_p99".into(), limit: "9 ms".into(), value: "8 ms".into(), held };
    let verdicts = |held| Some(Verdicts { thresholds: vec![limit(held)], violations: Vec::new() });
    assert_eq!(said(None, 0), [true, false, false]);
    assert_eq!(said(verdicts(true), 0), [false, true, false]);
    assert_eq!(said(verdicts(true), 1), [false, false, true]);
    assert_eq!(said(verdicts(false), 0), [false, false, true]);
    let violations = vec![Broken { kind: "rank_rose".into(), count: 2, examples: Vec::new() }];
    assert_eq!(said(Some(Verdicts { thresholds: Vec::new(), violations }), 0), [false, false, true]);
}

#[test]
fn a_run_in_which_nothing_happened_has_a_page_too() {
    let empty = Summary {
        duration_s: 0.0,
        latencies: BTreeMap::new(),
        series: Series { bucket_s: 0.25, ..Series::default() },
        ranks: Vec::new(),
        seats: 0,
        ..summary()
    };
    let page = html(&empty);
    assert_eq!(fault(&page), None);
    assert!(!page.contains("NaN"));
}
