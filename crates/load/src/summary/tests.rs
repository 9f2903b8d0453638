use super::*;
use std::{fs, path::Path};
use tempfile::TempDir;

/// The start of the crowd, by the clock of the entries.
const START: u64 = 1_000_000;

fn header(part: (u32, u32), visitors: u64, settings: &str) -> String {
    format!(
        r#"{{"history":1,"run":"r","part":[{},{}],"scenario":"steady","sale":"demo","seats":10,"visitors":{visitors},"started_at":"2026-11-22T10:00:00Z","started_us":{START},"machine":"m","ranks_of_every":1,"settings":{settings}}}"#,
        part.0, part.1
    )
}

/// The lines of a file: times are in milliseconds after the start.
fn file(header: &str, entries: &[(u64, u32, u32, &str)], end_ms: Option<u64>) -> String {
    let mut text = format!("{header}\n");
    for (ms, visitor, connection, what) in entries {
        text.push_str(&format!("[{},{visitor},{connection},{what}]\n", START + ms * 1000));
    }
    if let Some(ms) = end_ms {
        let (ended, n) = (START + ms * 1000, entries.len());
        text.push_str(&format!("{{\"ended_us\":{ended},\"entries\":{n},\"lag_us\":3000}}\n"));
    }
    text
}

fn joined(state: &str, rank: u64) -> String {
    format!(
        r#"{{"joined":{{"visitor":null,"seq":5,"epoch":1,"state":"{state}","rank":{rank},"total":2,"phase":"open"}}}}"#
    )
}

fn booking(request: &str, status: &str) -> String {
    format!(
        r#"{{"booking":{{"request":{request},"booking":"00000000-0000-0000-0000-000000000007","seats":["a","b"],"status":"{status}","hold_expires_in_ms":null}}}}"#
    )
}

const GRANTED: &str = r#"{"granted":{"expires_in_ms":9000,"claim_in_ms":900,"max_seats":2}}"#;

fn redeem(request: &str, intended_ms: u64) -> String {
    let intended = START + intended_ms * 1000;
    format!(
        r#"{{"redeem":{{"request":"{request}","intended":{intended},"token":"own","seats":null,"best":2}}}}"#
    )
}

/// Visitor 0 waits, is cut off, comes back, is refused, and books. 1 waits and leaves. 2 is never answered.
fn three_visitors() -> Vec<(u64, u32, u32, String)> {
    let arrive = |ms: u64| format!(r#"{{"arrive":{{"intended":{}}}}}"#, START + ms * 1000);
    let join = || r#"{"join":{"again":false}}"#.to_owned();
    vec![
        (1, 0, 0, arrive(0)),
        (2, 0, 1, join()),
        (8, 0, 1, joined("waiting", 1)),
        (101, 1, 0, arrive(100)),
        (102, 1, 1, join()),
        (112, 1, 1, joined("waiting", 2)),
        (300, 0, 1, r#"{"cut":1012}"#.into()),
        (310, 2, 0, arrive(305)),
        (311, 2, 1, join()),
        (400, 0, 2, join()),
        (500, 0, 2, joined("waiting", 0)),
        (600, 1, 1, r#"{"rank":1}"#.into()),
        (700, 1, 1, r#""leave""#.into()),
        (704, 1, 1, r#"{"lapsed":"left"}"#.into()),
        (705, 1, 1, r#"{"cut":null}"#.into()),
        (1008, 0, 2, GRANTED.into()),
        (1009, 0, 2, GRANTED.into()),
        (1100, 0, 2, redeem("r1", 1095).replace(r#"null,"best":2"#, r#"["A-1","A-2"],"best":null"#)),
        (1105, 0, 2, r#"{"refused":{"request":"r1","reason":"seat_taken","shown_free":true}}"#.into()),
        (1200, 0, 2, redeem("r2", 1200)),
        (1220, 0, 2, booking("\"r2\"", "held")),
        (1400, 0, 2, booking("null", "confirmed")),
        (1401, 0, 2, r#"{"breach":"a rank rose"}"#.into()),
        (1500, 0, 2, r#"{"cut":null}"#.into()),
        (2000, 2, 1, r#"{"cut":4503}"#.into()),
    ]
}

fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

fn one_file(part: (u32, u32), of: impl Fn(u32) -> bool, end_ms: Option<u64>) -> String {
    let all = three_visitors();
    let mine: Vec<_> =
        all.iter().filter(|(_, v, ..)| of(*v)).map(|(t, v, c, what)| (*t, *v, *c, &**what)).collect();
    let visitors = (0..3).filter(|v| of(*v)).count() as u64;
    file(&header(part, visitors, "null"), &mine, end_ms)
}

fn whole() -> Summary {
    let folder = tempfile::tempdir().unwrap();
    summarise(&[write(&folder, "whole", &one_file((1, 1), |_| true, Some(2500)))]).unwrap()
}

#[test]
fn a_small_run_is_summed_up_as_by_hand() {
    let summary = whole();
    assert_eq!((summary.visitors, summary.arrived, summary.joined, summary.admitted), (3, 3, 2, 1));
    assert_eq!((summary.bookings, summary.seats_sold, summary.reconnects, summary.breaches), (1, 2, 1, 1));
    assert_eq!((summary.duration_s, summary.lag_ms, summary.redeems_unknown), (2.5, Some(3.0), 0));
    assert_eq!(summary.outcomes, BTreeMap::from([("booked", 1), ("left", 1), ("never_joined", 1)]));
    let counts = |all: &[(&str, u64)]| all.iter().map(|(name, n)| (name.to_string(), *n)).collect();
    assert_eq!(summary.refused, counts(&[("seat_taken", 1)]));
    assert_eq!(summary.clicks, Clicks { answered: 1, stale: 1, blind: 0 });
    assert_eq!(summary.lapsed, counts(&[("left", 1)]));
    assert_eq!(summary.cuts, counts(&[("1012", 1), ("4503", 1), ("none", 2)]));
    assert_eq!(summary.breach_examples, ["visitor 0: a rank rose"]);
    let max = |name: &str| (summary.latencies[name].count, summary.latencies[name].max_ms.round());
    // Joins count from when the visitors were meant to arrive, at 0 and 100 ms; redeems from 1095 and 1200 ms.
    assert_eq!((max("join"), max("reconnect"), max("wait")), ((2, 12.0), (1, 200.0), (1, 1000.0)));
    assert_eq!((max("refused"), max("redeem")), ((1, 10.0), (1, 20.0)));
    assert!(
        summary.notes.iter().any(|note| note.starts_with("1 who arrived never got a place")),
        "{:?}",
        summary.notes
    );
}

#[test]
fn its_course_is_drawn_bucket_by_bucket() {
    let Summary { series, ranks, .. } = whole();
    assert_eq!(series.bucket_s, 0.25);
    assert_eq!(series.arrivals, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(series.joined, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(series.in_line, [2, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(series.sockets, [2, 3, 2, 2, 2, 2, 1, 1, 0, 0, 0]);
    assert_eq!(series.admitted, [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(series.seats_sold, [0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2]);
    let first = [(0.008, Some(1)), (0.3, None), (0.5, Some(0)), (1.008, Some(0)), (1.008, None)];
    assert_eq!(ranks[0], Track { visitor: 0, points: first.into() });
    assert_eq!(ranks[1].points, [(0.112, Some(2)), (0.6, Some(1)), (0.704, None)]);
}

#[test]
fn two_parts_are_one_whole() {
    let folder = tempfile::tempdir().unwrap();
    let first = write(&folder, "1", &one_file((1, 2), |v| v == 1, Some(2000)));
    let second = write(&folder, "2", &one_file((2, 2), |v| v != 1, Some(2500)));
    let merged = summarise(&[second, first.clone()]).unwrap();
    let parts: Vec<_> = merged.parts.iter().map(|part| (part.part, part.visitors)).collect();
    assert_eq!(parts, [((1, 2), 1), ((2, 2), 2)]);
    let whole = whole();
    assert_eq!(Summary { parts: whole.parts.clone(), ..merged }, whole);
    let half = summarise(&[first]).unwrap();
    assert!(half.notes[0].starts_with("Only 1 of 2 parts"), "{:?}", half.notes);
}

#[test]
fn a_run_that_died_is_summed_up_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let whole = one_file((1, 1), |_| true, None);
    let cut = whole.find(r#""booking""#).unwrap();
    let summary = summarise(&[write(&folder, "died", &whole[..cut])]).unwrap();
    assert!(summary.parts[0].died && summary.notes[0].contains("(died) died"), "{:?}", summary.notes);
    assert_eq!((summary.duration_s, summary.lag_ms, summary.redeems_unknown), (1.2, None, 1));
    assert_eq!(summary.outcomes["still_granted"], 1);
    assert!(summary.to_string().contains("note: Part 1 (died) died"));
}

#[test]
fn entries_that_were_lost_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = one_file((1, 1), |_| true, Some(2500));
    let line = whole.lines().nth(5).unwrap();
    let summary = summarise(&[write(&folder, "lost", &whole.replacen(&format!("{line}\n"), "", 1))]).unwrap();
    assert!(
        summary.notes.iter().any(|note| note.contains("lines were added or lost")),
        "{:?}",
        summary.notes
    );
}

#[test]
fn bad_files_give_the_readers_errors() {
    let folder = tempfile::tempdir().unwrap();
    let garbled = one_file((1, 1), |_| true, Some(2500)).replacen("rank\":1", "rnak\":1", 1);
    let garbled = write(&folder, "garbled", &garbled);
    assert!(matches!(summarise(&[garbled]), Err(HistoryError::Line(_, _, _))));
    assert!(matches!(summarise(&[Path::new("/nowhere").into()]), Err(HistoryError::File(_, _))));
    let good = write(&folder, "good", &one_file((1, 1), |_| true, Some(2500)));
    assert!(matches!(summarise(&[good.clone(), good]), Err(HistoryError::Mixed(_))));
    assert!(matches!(summarise(&[]), Err(HistoryError::Mixed(_))));
}

#[test]
fn a_turn_that_was_missed_and_came_again_counts_twice_and_a_released_hold_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, granted) = (joined("waiting", 0), joined("granted", 0));
    let (held, released) = (booking("\"r1\"", "held"), booking("null", "released"));
    let redeem = redeem("r1", 60);
    let join = r#"{"join":{"again":false}}"#;
    let entries = [
        (1, 0, 1, join),
        (2, 0, 1, &waiting),
        (10, 0, 1, GRANTED),
        (20, 0, 1, r#"{"lapsed":"missed"}"#),
        (21, 0, 1, join),
        (30, 0, 1, &waiting),
        (31, 0, 1, r#"{"cut":null}"#),
        (40, 0, 2, join),
        (50, 0, 2, &granted),
        (51, 0, 2, GRANTED),
        (60, 0, 2, &redeem),
        (70, 0, 2, &held),
        (80, 0, 2, &released),
    ];
    let text = file(&header((1, 1), 1, "null"), &entries, Some(90));
    let summary = summarise(&[write(&folder, "missed", &text)]).unwrap();
    assert_eq!((summary.admitted, summary.bookings, summary.seats_sold), (2, 1, 0));
    assert_eq!((summary.series.in_line.last(), summary.series.seats_sold.last()), (Some(&0), Some(&0)));
    assert_eq!(summary.latencies["wait"].count, 2);
    assert_eq!(summary.outcomes, BTreeMap::from([("other", 1)]));
}

#[test]
fn the_way_back_counts_from_the_loss_of_the_last_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (waiting, join) = (joined("waiting", 0), r#"{"join":{"again":false}}"#);
    let entries = [
        (1, 0, 1, join),
        (2, 0, 1, &*waiting),
        (10, 0, 2, join),
        (11, 0, 2, &waiting),
        // The older tab is replaced: the visitor is still there.
        (20, 0, 1, r#"{"cut":4409}"#),
        (100, 0, 2, r#"{"cut":null}"#),
        // An attempt that reached nobody.
        (150, 0, 3, r#"{"cut":null}"#),
        (200, 0, 4, join),
        (210, 0, 4, &waiting),
    ];
    let text = file(&header((1, 1), 1, "null"), &entries, Some(1000));
    let summary = summarise(&[write(&folder, "tabs", &text)]).unwrap();
    let back = &summary.latencies["reconnect"];
    assert_eq!((back.count, back.max_ms.round(), summary.reconnects), (1, 110.0, 2));
    assert_eq!(summary.series.sockets, [1, 1, 1, 1, 1]);
    assert_eq!(summary.series.in_line, [1, 1, 1, 1, 1]);
}
