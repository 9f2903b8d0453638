//! Deployments that are killed, that meet, or whose host goes.

use crate::stage::{SMALL, Size, Stage};

/// A step's line, the how-manieth of its kind.
pub type At = (&'static str, usize);

/// All that a deployment that goes right says.
pub const STEPS: [At; 12] = [
    ("check", 0),
    ("check", 3),
    ("start", 0),
    ("start", 1),
    ("check", 4),
    ("check", 5),
    ("switch", 0),
    ("switch", 1),
    ("watch", 0),
    ("drain", 0),
    ("drain", 1),
    ("done", 0),
];

/// Killed at that line; one colour serves, and says so; then a deployment goes right.
pub fn is_killed_at(stage: &Stage, (word, nth): At) {
    let mut run = stage.tool.begin(&["deploy"]);
    let mut seen = 0;
    while let Some(line) = run.next() {
        if line.split_whitespace().nth(1) == Some(word) {
            seen += 1;
            if seen > nth {
                break;
            }
        }
    }
    let text = run.kill();
    let status = stage.tool.status();
    let serves = status["serves"].as_str().unwrap_or_default().to_owned();
    assert!(["blue", "green"].contains(&serves.as_str()), "{text}{status}");
    assert_eq!(status["colours"][&serves]["trouble"], serde_json::Value::Null, "{text}{status}");
    assert_eq!(status["under_way"], false, "{text}{status}");
    let said = stage.tool.say(&["deploy"]);
    assert_eq!(said.status, Some(0), "killed at {word} {nth}:\n{text}then\n{}", said.text);
    let status = stage.tool.status();
    assert_eq!(
        (&status["serves"], &status["interrupted"]),
        (&status["at_next_reload"], &false.into()),
        "{status}"
    );
}

pub async fn are_killed(size: Size, steps: &[At]) {
    let mut stage = Stage::set(size);
    stage.open_sale();
    let mut crowd = stage.crowd("");
    stage.until_waiting(u64::from(size.visitors) / 2);
    for at in steps {
        is_killed_at(&stage, *at);
    }
    stage.rate_is(200);
    let report = crowd.goes_home();
    let broken = stage.broken(&crowd.history, &report).await;
    assert!(broken.is_empty(), "{broken:#?}");
    assert_eq!(report["outcomes"]["booked"], size.visitors, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deployment_that_is_killed_leaves_one_colour_serving() {
    are_killed(SMALL, &[("switch", 0)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_deployments_do_not_meet_and_a_host_that_goes_takes_nobody_along() {
    let mut stage = Stage::set(SMALL);
    stage.open_sale();
    let mut crowd = stage.crowd("");
    stage.until_waiting(75);
    // Green's host goes as soon as it has the newcomers.
    let mut run = stage.tool.begin(&["deploy"]);
    // It has the lock when it speaks.
    run.next().unwrap();
    let second = stage.tool.say(&["back"]);
    assert_eq!(second.status, Some(75), "{}", second.text);
    assert!(second.text.contains("another deployment is under way"), "{}", second.text);
    assert_eq!(stage.tool.status()["under_way"], true);
    while run.next().unwrap().split_whitespace().nth(1) != Some("watch") {}
    stage.vanishes(1);
    let said = run.ends();
    assert_eq!(said.status, Some(1), "{}", said.text);
    assert_eq!(stage.tool.serves(), "blue", "{}", said.text);
    let refused = stage.tool.leaves("blue", "Connection timed out");
    assert!(refused.text.contains("nothing was changed"), "{}", refused.text);
    stage.is_back(1);
    // Blue's host goes while it drains: green serves on.
    let mut run = stage.tool.begin(&["deploy"]);
    while run.next().unwrap().split_whitespace().nth(1) != Some("drain") {}
    stage.vanishes(0);
    let said = run.ends();
    assert_eq!(said.status, Some(0), "{}", said.text);
    assert_eq!(stage.tool.serves(), "green");
    stage.is_back(0);
    stage.rate_is(200);
    let report = crowd.goes_home();
    let broken = stage.broken(&crowd.history, &report).await;
    assert!(broken.is_empty(), "{broken:#?}");
}
