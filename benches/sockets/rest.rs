//! CPU of sockets at rest: nobody is admitted, each is pinged every 20 s and answers.

use crate::{
    Words,
    crowd::{Crowd, Order},
    rivals::{Kind, Work},
    stage::Stores,
    subject::Subject,
    table::Figures,
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// As the server does.
const PING_S: u64 = 20;
/// Of the server without a socket.
const EMPTY: Duration = Duration::from_secs(10);

pub fn run(words: &Words) {
    let (rounds, sockets) = (words.get("--rounds", 3), words.get("--sockets", 19_000));
    let periods = words.get("--periods", 2);
    let (stores, mut figures) = (Stores::start(), Figures::default());
    for round in 0..rounds {
        let subject = Subject::ours(&stores, &format!("rest-{round}"), 1, 1.0);
        sleep(Duration::from_secs(1));
        let before = subject.cpu();
        sleep(EMPTY);
        let empty = (subject.cpu() - before).as_secs_f64() / EMPTY.as_secs_f64();
        measure(&mut figures, "waitroom", &subject, sockets, periods, empty);
        drop(subject);
        let work = Work { ping_s: PING_S, ..Work::nothing() };
        let bare = Subject::rival(Kind::Bare, work);
        sleep(Duration::from_secs(1));
        let before = bare.cpu();
        sleep(EMPTY);
        let empty = (bare.cpu() - before).as_secs_f64() / EMPTY.as_secs_f64();
        measure(&mut figures, Kind::Bare.name(), &bare, sockets, periods, empty);
    }
    println!("{}", figures.markdown());
    for what in ["CPU ms a second", "beyond an empty one"] {
        let of = |whose| figures.median(whose, what).unwrap_or(f64::NAN);
        println!("{what}, waitroom / {}: {:.2}", Kind::Bare.name(), of("waitroom") / of(Kind::Bare.name()));
    }
    words.write("--json", &figures.json().to_string());
}

fn measure(figures: &mut Figures, whose: &str, subject: &Subject, count: usize, periods: u32, empty: f64) {
    let mut crowd = Crowd::start(&subject.manners());
    crowd.come(count);
    // The first pings are behind them.
    sleep(Duration::from_secs(PING_S + 2));
    let (cpu, seen, began) = (subject.cpu(), crowd.ask(Order::Tell), Instant::now());
    sleep(Duration::from_secs(PING_S) * periods);
    let (after, took) = (crowd.ask(Order::Tell), began.elapsed().as_secs_f64());
    let cpu = (subject.cpu() - cpu).as_secs_f64() / took;
    assert_eq!(after.dropped, 0, "sockets were dropped: {:?}", after.troubles);
    figures.add(
        whose,
        &[
            ("pings/s", (after.pings - seen.pings) as f64 / took),
            ("CPU ms a second", cpu * 1e3),
            ("empty", empty * 1e3),
            ("beyond an empty one", (cpu - empty) * 1e3),
        ],
    );
}
