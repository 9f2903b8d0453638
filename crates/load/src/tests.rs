//! Whole runs against the fake: an honest one is found honest, and each planted fault is found.

use super::{
    LoadError,
    arrivals::ramp,
    crowd::gather,
    fake::{Fault, options, run_against, start},
    history::{self, Event, tests::Disk},
    run::run_onto,
};
use serde_json::Value;
use std::{fs::File, path::Path, time::Duration};
use tokio::time::timeout;
use wire::domain::ids::SaleId;

async fn kinds(fault: Fault) -> Vec<String> {
    let report = run_against(fault).await;
    let found = !violations(&report).is_empty();
    assert_eq!(report.exit_status(), if found { 99 } else { 0 }, "{report}");
    violations(&report)
}

fn violations(report: &super::Report) -> Vec<String> {
    let json = serde_json::to_value(report).unwrap();
    let list = json["violations"].as_array().unwrap();
    list.iter().map(|v| v["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_run_is_found_honest() {
    let report = run_against(Fault::None).await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["outcomes"]["booked"], 60, "{report}");
    assert_eq!(json["bookings_compared"], 60);
    assert_eq!(json["places_checked"], 60);
    assert_eq!(json["durations"]["redeem"]["count"], 60);
    assert_eq!(violations(&report), Vec::<String>::new(), "{report}");
    assert_eq!(report.exit_status(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_are_thrown_out_come_back_to_their_places() {
    let report = run_against(Fault::Drain).await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["outcomes"]["booked"], 60, "{report}");
    assert!(json["reconnects"].as_u64() > Some(0), "{report}");
    assert_eq!(report.exit_status(), 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_out_of_order_is_caught() {
    assert_eq!(kinds(Fault::PlaceOrder).await, ["place_order"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_out_of_order_is_caught() {
    assert_eq!(kinds(Fault::GrantOrder).await, ["grant_order"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_sold_twice_is_caught() {
    let kinds = kinds(Fault::SeatTwice).await;
    assert!(kinds.contains(&"seat_twice".into()), "{kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_booking_is_caught() {
    assert_eq!(kinds(Fault::Missing).await, ["booking_missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_nobody_was_told_of_is_caught() {
    assert_eq!(kinds(Fault::Untold).await, ["booking_unanswered"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rank_that_rises_is_caught() {
    assert_eq!(kinds(Fault::RankRose).await, ["rank_rose"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_place_is_caught() {
    assert_eq!(kinds(Fault::PlaceLost).await, ["place_lost"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_of_a_part_is_caught() {
    assert_eq!(kinds(Fault::Partial).await, ["wrong_seats"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_left_waiting_is_counted_and_fails_a_run_that_must_drain() {
    let url = start(Fault::Stuck).await;
    let mut options = options(&url);
    options.timeout = Duration::from_secs(10);
    let report = super::run(options.clone()).await.unwrap();
    assert_eq!(report.unfinished.waiting, 1, "{report}");
    options.require_drain = true;
    options.visitors = 1;
    let url = start(Fault::Mute).await;
    options.target = super::Target::parse(&url, SaleId::parse("demo").unwrap()).unwrap();
    options.timeout = Duration::from_millis(300);
    let report = super::run(options).await.unwrap();
    assert_eq!((report.unfinished.never_joined, report.exit_status()), (1, 99), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_threshold_fails_the_run() {
    let mut options = options(&start(Fault::None).await);
    options.thresholds = vec!["redeem_p99=1us".parse().unwrap(), "join_p99=1h".parse().unwrap()];
    let report = super::run(options).await.unwrap();
    assert_eq!(report.exit_status(), 99);
    let json: Value = serde_json::to_value(&report).unwrap();
    assert_eq!(
        (&json["thresholds"][0]["held"], &json["thresholds"][1]["held"]),
        (&false.into(), &true.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_is_none_is_said_so() {
    let nobody = options("http://127.0.0.1:1");
    assert!(matches!(super::run(nobody).await, Err(LoadError::Unreachable(_))));
    let mut elsewhere = options(&start(Fault::None).await);
    elsewhere.target.sale = SaleId::parse("other").unwrap();
    assert!(matches!(super::run(elsewhere).await.unwrap_err(), LoadError::Unreachable(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_sale_ends_the_run_and_the_crowd() {
    let report = run_against(Fault::Closed).await;
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((&json["outcomes"]["closed"], report.exit_status()), (&60.into(), 0), "{report}");
    let url = start(Fault::Closed).await;
    let sale = SaleId::parse("demo").unwrap();
    assert!(timeout(Duration::from_secs(10), gather(&url, &sale, 3, Duration::ZERO)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_outlasts_a_server_that_is_away() {
    let sale = SaleId::parse("demo").unwrap();
    let away = gather("http://127.0.0.1:1", &sale, 3, Duration::ZERO);
    assert!(timeout(Duration::from_secs(1), away).await.is_err(), "it waits, and does not give up");
    let url = start(Fault::None).await;
    let lively = gather(&url, &sale, 3, Duration::ZERO);
    assert!(timeout(Duration::from_secs(1), lively).await.is_err(), "it goes on for ever");
}

/// Few visitors who want little, and no shop to ask at the end: such a run ends while the tasks that watch it are still
/// being stopped.
fn short(url: &str, history: std::path::PathBuf) -> super::Options {
    let mut options = options(url);
    options.visitors = 3;
    options.arrivals = ramp(Duration::from_millis(5));
    options.behaviour.think = (Duration::ZERO, Duration::ZERO);
    options.history = Some(history);
    options.admin = None;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_short_runs_leave_fifty_whole_histories() {
    let folder = tempfile::tempdir().unwrap();
    let url = start(Fault::None).await;
    for n in 0..50 {
        let path = folder.path().join(n.to_string());
        let report = super::run(short(&url, path.clone())).await.unwrap();
        assert_eq!(report.history_fault, None);
        let mut booked = 0;
        let part =
            history::read(&path, |_, entry| booked += u32::from(matches!(entry.3, Event::Booking { .. })));
        let footer = part.unwrap().footer.unwrap_or_else(|| panic!("run {n} left no whole history"));
        assert!(booked == 3 && footer.entries > 3 * 5, "run {n}: {booked} bookings, {footer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_cannot_be_completed_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    // Room for the header and a little more.
    let disk = |path: &Path| Ok(Disk { file: File::create_new(path)?, room: 1000 });
    let options = short(&start(Fault::None).await, path.clone());
    let report = run_onto(options.clone(), disk).await.unwrap();
    assert!(report.history_fault.is_some());
    assert_eq!(report.exit_status(), 74, "{report}");
    assert!(report.to_string().contains("the history is NOT whole"), "{report}");
    // And what was measured once is not overwritten.
    assert!(matches!(super::run(options).await, Err(LoadError::File { .. })));
}
