//! All connections end at once, as when a balancer dies: until when does the last have his place again?
//! `cargo bench --bench sockets -- cut [--sockets 100000] [--each 17000] [--rounds 1]`.
//!
//! Everyone comes back as the page does, within half a second, and later where he was not let in; with his place token. The sale is not open:
//! each must stand exactly where he stood.

use crate::{Words, crowd::Order, fleet::Fleet, machine, sample::Sample, table::Figures};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Nobody waits longer than this for the last.
const PATIENCE: Duration = Duration::from_secs(180);

pub fn run(words: &Words) {
    let sockets = words.get("--sockets", 100_000);
    let (mut fleet, mut figures) = (Fleet::start(words), Figures::default());
    if !fleet.grow(sockets) {
        return;
    }
    let all = fleet.seen().waiting;
    for _ in 0..words.get("--rounds", 1) {
        sleep(Duration::from_secs(5));
        let before = Sample::take(&mut fleet, true);
        let began = Instant::now();
        fleet.order(|_| Order::Cut);
        let mut back = fleet.seen();
        while back.came - before.seen.came < all {
            assert!(began.elapsed() < PATIENCE && machine::memory().1 == 0, "not all came back: {back:?}");
            sleep(Duration::from_millis(100));
            back = fleet.seen();
        }
        let after = Sample::take(&mut fleet, true);
        let mut round = vec![
            ("back after s, p50", back.in_ms[0] as f64 / 1e3),
            ("p99", back.in_ms[1] as f64 / 1e3),
            ("the last", back.coming_ms as f64 / 1e3),
        ];
        round.extend(after.thoroughly_since(&before, fleet.instances.len()));
        figures.add("cut", &round);
        eprintln!("{:?}", back.troubles);
        assert_eq!(back.set_back, 0, "places were lost");
    }
    println!("{}", figures.turned());
    words.write("--json", &figures.json().to_string());
    let (said, status) = fleet.prove();
    println!("{said}");
    // Of turns it has nothing to say, since there were none: 75.
    assert!(matches!(status, Some(0 | 75)), "the journal does not prove it");
}
