//! What `make deploy-test` plays: docs/blue-green.md. VISITORS, ROUNDS; COLOURS_OLD is the release before, which every second
//! round moves to; COLOURS_BIN is what is deployed in place of this build.

use crate::{
    broken::{Green, are_refused},
    crowd::{Newcomers, away_ms, most_reconnects},
    interrupted::{STEPS, are_killed},
    machine::build,
    stage::{SMALL, Size, Stage},
};
use std::{env, path::PathBuf, time::Instant};

fn number(name: &str, otherwise: u32) -> u32 {
    env::var(name).ok().map_or(otherwise, |text| text.parse().unwrap())
}

/// So many visitors, who come at a pace, and a drain that sends them on no faster.
fn size() -> Size {
    let visitors = number("VISITORS", 2000);
    let over_s = (visitors / 375).max(5);
    Size { visitors, over_s, rate: (visitors / 400).max(4), drain_s: over_s * 3 / 2 + 5, watch_s: 5 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make deploy-test"]
async fn the_room_moves_time_after_time() {
    let (size, rounds) = (size(), number("ROUNDS", 20));
    let old = env::var_os("COLOURS_OLD").map(PathBuf::from);
    let mut stage = Stage::set(size);
    println!(
        "{} visitors who come within {} s, drain_s {}, {}\n\n\
         | round | to | release | moved | away p50, p99, max | most back in 1 s | newcomers: served, longest, refused | bookings | broken |\n\
         |---|---|---|---|---|---|---|---|---|",
        size.visitors,
        size.over_s,
        size.drain_s,
        if old.is_some() { "every second round to the release before" } else { "one release" },
    );
    let mut failed = 0;
    for round in 0..rounds as usize {
        let (to, name) = ((round + 1) % 2, ["blue", "green"][(round + 1) % 2]);
        let (release, program) = match &old {
            Some(old) if to == 0 => ("before", old.clone()),
            _ => ("this", build()),
        };
        stage.colours[to].program_is(&program);
        stage.open_sale();
        let mut crowd = stage.crowd("vanish = 0.02\n");
        stage.until_waiting(u64::from(size.visitors) * 9 / 10);
        let newcomers = Newcomers::come(&stage.nginx.address, &stage.sale());
        let began = Instant::now();
        stage.tool.moves("deploy", name);
        let moved = began.elapsed().as_secs();
        stage.rate_is(1000);
        let (report, fared) = (crowd.goes_home(), newcomers.stop());
        let broken = stage.broken(&crowd.history, &report).await;
        let away = away_ms(&crowd.history);
        let percentile =
            |percent: usize| away.get((away.len() * percent / 100).min(away.len().saturating_sub(1)));
        println!(
            "| {} | {name} | {release} | {} in {moved} s | {:?}, {:?}, {:?} ms | {} | {}, {:.2} s, {:?} | {} | {} |",
            round + 1,
            away.len(),
            percentile(50).unwrap_or(&0),
            percentile(99).unwrap_or(&0),
            percentile(100).unwrap_or(&0),
            most_reconnects(&crowd.history),
            fared.served,
            fared.longest.as_secs_f64(),
            fared.refused,
            report["bookings"],
            broken.len(),
        );
        if !broken.is_empty() || report["outcomes"]["booked"] != size.visitors {
            println!("{broken:#?}\n{report}");
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "rounds in which a promise was broken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make deploy-test"]
async fn all_broken_greens_leave_the_room_with_blue() {
    // GREEN=DiesServing: that one alone.
    let wanted = env::var("GREEN").ok();
    let greens = Green::ALL
        .into_iter()
        .filter(|green| wanted.as_ref().is_none_or(|name| *name == format!("{green:?}")));
    let greens: Vec<_> = greens.collect();
    let fared = are_refused(size(), &greens).await;
    println!("newcomers beside {greens:?}: {fared:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make deploy-test"]
async fn a_deployment_that_is_killed_at_any_step_leaves_one_colour_serving() {
    are_killed(SMALL, &STEPS).await;
}
