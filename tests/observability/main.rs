//! Dashboards and alerts, as Prometheus itself judges them: rules by promtool, and every query of every panel
//! against a server under load.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test's helper may fail its test")]

#[allow(dead_code, reason = "shared with benches/troubles.rs, which uses another part of it")]
mod stage;

use serde_json::Value;
use stage::{Query, Stage, now, queries, wait_until};
use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

const FOLDER: &str = "grafana/prometheus";

/// Whether promtool is content, and what it says.
fn promtool(args: &[&str]) -> (bool, String) {
    let output = Command::new("promtool").args(args).output().expect("apt-get install prometheus");
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn promtool_is_content() {
    for (what, file) in [("config", "prometheus.yml"), ("rules", "alerts.yml")] {
        let (good, said) = promtool(&["check", what, &format!("{FOLDER}/{file}")]);
        assert!(good, "{said}");
    }
    let (good, said) = promtool(&["test", "rules", &format!("{FOLDER}/alerts_test.yml")]);
    assert!(good, "{said}");
}

/// Each condition of each alert is one that `alerts_test.yml` would miss.
#[test]
fn a_blunted_alert_is_seen() {
    let (alerts, tests) = ("alerts.yml", "alerts_test.yml");
    let read = |file: &str| fs::read_to_string(format!("{FOLDER}/{file}")).unwrap();
    for (sharp, blunt) in [
        (r#"waitroom_phase{phase="open"}"#, "waitroom_phase"),
        ("(waitroom_waiting) > 0", "(waitroom_waiting) >= 0"),
        ("(increase(waitroom_admissions_total[2m])) == 0", "(increase(waitroom_admissions_total[2m])) >= 0"),
        ("* 120 >= 3", "* 120 >= 0"),
        ("waitroom_grants_active + waitroom_bookings_held", "waitroom_grants_active"),
        ("< max by (sale) (waitroom_max_active)", "<= max by (sale) (waitroom_max_active)"),
        ("< min by (sale) (waitroom_seats_left)", "<= min by (sale) (waitroom_seats_left)"),
        ("unless on () (min(waitroom_store_up) == 0)", ""),
        ("waitroom_rank_age_seconds_bucket[2m]))) > 1", "waitroom_rank_age_seconds_bucket[2m]))) > 5"),
        ("sum by (le, instance)", "sum by (le)"),
        (r#"{outcome="busy"}"#, r#"{outcome!="booked"}"#),
        ("> 0.05", "> 0.5"),
        ("waitroom_store_up == 0\n", "waitroom_store_up == 1\n"),
        ("> 64 * 1024 * 1024", "> 16 * 1024 * 1024"),
        ("max by (sale) (waitroom_journal_waiting_bytes)", "max(waitroom_journal_waiting_bytes)"),
        ("sum(increase(waitroom_restores_total[10m])) > 0 or ", ""),
        ("or sum(increase(waitroom_journal_forks_total[10m])) > 0", ""),
        ("> waitroom:cpu:ratio) or waitroom:cpu:ratio", "> waitroom:cpu:ratio)"),
        ("waitroom:files:ratio > waitroom:cpu:ratio", "waitroom:files:ratio < waitroom:cpu:ratio"),
        ("[30s]) / 2 and on (instance, job) waitroom_build_info", "[30s]) / 2"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(alerts).contains(sharp), "{sharp}");
        fs::write(folder.path().join(alerts), read(alerts).replacen(sharp, blunt, 1)).unwrap();
        fs::write(folder.path().join(tests), read(tests)).unwrap();
        let (good, said) = promtool(&["test", "rules", folder.path().join(tests).to_str().unwrap()]);
        assert!(!good && said.contains("FAILED"), "{sharp} → {blunt}: {said}");
    }
}

#[test]
fn every_alert_has_its_paragraph_in_the_runbook() {
    let headings = |text: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_lowercase).collect()
    };
    let runbook = headings(&fs::read_to_string("docs/runbook.md").unwrap());
    let alerts = fs::read_to_string(format!("{FOLDER}/alerts.yml")).unwrap();
    let value = |key: &str| -> Vec<String> {
        let lines = alerts.lines().map(|line| line.trim().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned()).collect()
    };
    let (names, links) = (value("alert:"), value("runbook:"));
    assert_eq!((names.len(), links.len()), (8, 8));
    for (name, link) in names.iter().zip(&links) {
        assert_eq!(*link, format!("docs/runbook.md#{}", name.to_lowercase()));
        assert!(runbook.contains(&name.to_lowercase()), "{name}");
    }
}

#[test]
fn dashboards_fit_their_provisioning() {
    let read = |file: &str| fs::read_to_string(format!("grafana/{file}")).unwrap();
    let sources = read("provisioning/datasources/prometheus.yml");
    let folder = read("provisioning/dashboards/waitroom.yml");
    // The one folder that is mounted, and from where Grafana is told to provision itself.
    let readme = fs::read_to_string("README.md").unwrap();
    assert!(readme.contains("grafana:/waitroom:ro") && readme.contains("=/waitroom/provisioning"));
    assert!(folder.contains("path: /waitroom/dashboards"));
    for board in ["sale", "service"] {
        let board: Value = serde_json::from_str(&read(&format!("dashboards/{board}.json"))).unwrap();
        let mut ids = BTreeSet::new();
        for panel in board["panels"].as_array().unwrap() {
            let uid = panel["datasource"]["uid"].as_str().unwrap();
            assert!(sources.contains(&format!("uid: {uid}\n")), "{panel}");
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
            assert!(
                panel["description"].as_str().unwrap().len() > 40,
                "what does it tell, what to do? {panel}"
            );
        }
    }
}

#[test]
fn every_panel_shows_data_of_a_server_under_load() {
    let stage = Stage::start(&[]);
    let from = now();
    stage.sale("panels", &["--seats=600", "--rate=30", "--max-active=100"]);
    let mut crowd =
        stage.crowd("panels", &["--visitors=200", "--ramp=4s", "--think=0s..1s", "--require-drain"]);
    assert!(crowd.0.wait().unwrap().success(), "the load is not content");
    let prometheus = &stage.prometheus;
    let queries: Vec<_> = ["sale", "service"].iter().flat_map(|board| queries(board, "panels")).collect();
    let is_empty = |query: &Query| !prometheus.has_data(&query.expr, from);
    // The last of it comes with a scrape after the load.
    let patience = Instant::now() + Duration::from_secs(60);
    let mut empty: Vec<_> = queries.into_iter().filter(is_empty).collect();
    while !empty.is_empty() && Instant::now() < patience {
        sleep(Duration::from_millis(200));
        empty.retain(is_empty);
    }
    let empty: Vec<_> = empty.iter().map(|query| format!("{}: {}", query.panel, query.expr)).collect();
    assert!(empty.is_empty(), "{empty:#?}");
    let parked = "max_over_time(waitroom_parked_connections[5m]) > 10";
    assert!(prometheus.has_data(parked, from), "those who wait are not parked");
    // The guard itself: neither what is not there nor a quantile of nothing counts as data.
    assert!(!prometheus.has_data("waitroom_joins", from));
    assert!(!prometheus.has_data("histogram_quantile(0.99, 0 * waitroom_copy_rows_bucket)", from));
    page_is_as_prometheus_wants_it(&stage.metrics());

    let rules = prometheus.api("rules", &[]);
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 8);
    assert!(rules.iter().all(|rule| rule["health"] == "ok"), "{rules:#?}");
    // One that is pending may be this machine's business.
    let alerts = prometheus.api("alerts", &[])["alerts"].clone();
    assert!(alerts.as_array().unwrap().iter().all(|alert| alert["state"] != "firing"), "{alerts:#?}");
    stage.stores.redis.freeze();
    wait_until("the alert of a frozen Redis", || {
        let alerts = prometheus.api("alerts", &[]);
        let alerts = alerts["alerts"].as_array().unwrap();
        alerts.iter().any(|a| a["labels"]["alertname"] == "StoreAway" && a["labels"]["store"] == "Redis")
    });
    // A wait that was given up counts as one that took so long.
    let buckets = |le: &str| format!(r#"waitroom_probe_duration_seconds_bucket{{store="Redis", le="{le}"}}"#);
    let long = format!("{} - ignoring (le) {} > 0", buckets("+Inf"), buckets("1"));
    wait_until("a long wait", || prometheus.has_data(&long, from));
    let errors = r#"waitroom_store_errors_total{store="Redis", operation="probe"} > 0"#;
    wait_until("errors", || prometheus.has_data(errors, from));
    stage.stores.redis.thaw();
}

/// Every metric is described, and what is distributed has buckets: quantiles of a summary cannot be added up.
fn page_is_as_prometheus_wants_it(page: &str) {
    let first_words = |prefix: &str| -> BTreeSet<String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    assert!(first_words("# TYPE ").len() > 30);
    assert_eq!(first_words("# TYPE ").difference(&first_words("# HELP ")).count(), 0, "{page}");
    assert!(!page.contains(" summary\n"));
    assert!(page.contains("waitroom_join_duration_seconds_bucket{le=\"0.001\"}"), "{page}");
}
