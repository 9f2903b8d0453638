//! In every run of the tests: the room moves in mid-sale, and comes back.

use crate::{
    crowd::Newcomers,
    stage::{SMALL, Stage},
};
use std::process::Command;

/// What it calls worse, and what settings it refuses.
#[test]
fn the_tools_own_tests() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/blue-green");
    let mut tests = Command::new("python3");
    let output = tests.args(["-B", "-m", "unittest", "discover", "-s", folder]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("Ran 6 tests"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_room_moves_to_green_and_back_in_mid_sale() {
    let mut stage = Stage::set(SMALL);
    stage.open_sale();
    let mut crowd = stage.crowd("vanish = 0.1\n");
    stage.until_waiting(100);
    let newcomers = Newcomers::come(&stage.nginx.address, &stage.sale());
    let rehearsed = stage.tool.say(&["deploy", "--dry-run"]);
    assert_eq!(rehearsed.status, Some(0), "{}", rehearsed.text);
    assert!(!stage.colours[1].service("alive"), "a rehearsal starts nothing");
    let said = stage.tool.moves("deploy", "green");
    assert!(
        said.text.contains("blue knows him too") && said.text.contains("blue is drained"),
        "{}",
        said.text
    );
    assert!(!stage.colours[0].service("alive"));
    stage.tool.moves("back", "blue");
    stage.rate_is(200);
    let (report, fared) = (crowd.goes_home(), newcomers.stop());
    let broken = stage.broken(&crowd.history, &report).await;
    assert!(broken.is_empty(), "{broken:#?}");
    // They were moved, twice, and all the same everyone booked.
    assert!(report["reconnects"].as_u64() > Some(100), "{report}");
    assert_eq!(report["outcomes"]["booked"], 150, "{report}");
    assert!(fared.served > 30 && fared.refused.is_empty(), "{fared:?}");
}
