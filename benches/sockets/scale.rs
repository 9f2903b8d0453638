//! What a second instance is worth: joins and pushes a second by one and by two, by turns, each held to so many cores by its control
//! group. The crowd, Redis and PostgreSQL have the rest of the machine.
//!
//! There are more visitors than one can serve at the contract's pace: all of them near, in lines of a thousand.

use crate::{
    Words,
    cgroup::Cgroup,
    crowd::{Crowd, Manners, Order, ask_all},
    machine,
    pushes::{NEAR, RATE},
    stage::{Instance, Stores, until_journaled},
    subject::Sales,
    table::Figures,
};
use rustix::process::Pid;
use std::{
    thread::{scope, sleep},
    time::{Duration, Instant},
};

/// On their way in at once, of each crowd.
const AT_ONCE: usize = 1_000;
const LOOK_US: u64 = 2_000;
const SETTLES: Duration = Duration::from_secs(4);

pub fn run(words: &Words) {
    let (rounds, seconds) = (words.get("--rounds", 3), words.get("--seconds", 15));
    let (lines, cores) = (words.get("--sockets", 18_000) / NEAR, words.get("--cores", 0.3));
    let (stores, mut figures) = (Stores::start(), Figures::default());
    for round in 0..rounds {
        for count in [1, 2] {
            let instances: Vec<_> = (0..count).map(|_| Instance::start(&stores)).collect();
            let sales = Sales::make(&instances[0], &format!("scale-{round}-{count}"), lines, RATE);
            for (instance, sale) in instances.iter().flat_map(|one| sales.ids().map(move |sale| (one, sale)))
            {
                instance.await_sale(&sale);
            }
            let hold = |one: &Instance| Cgroup::hold(Pid::from_raw(one.pid() as i32)?, cores);
            let held: Option<Vec<_>> = instances.iter().map(hold).collect();
            let Some(_held) = held else {
                return eprintln!("needs root and the cpu controller of control groups");
            };
            measure(&mut figures, &instances, &sales, lines * NEAR, seconds);
            sales.ids().for_each(|sale| instances[0].close(&sale));
            until_journaled(&instances);
            for sale in sales.ids() {
                let (said, status) = stores.prove(&sale);
                assert_eq!(status, Some(0), "{said}");
            }
        }
    }
    println!("{}", figures.markdown());
    for what in ["joins/s", "pushes/s"] {
        let of = |whose| figures.median(whose, what).unwrap_or(f64::NAN);
        println!("{what}, two / one: {:.2}", of("2 instances") / of("1 instances"));
    }
    words.write("--json", &figures.json().to_string());
}

fn measure(figures: &mut Figures, instances: &[Instance], sales: &Sales, sockets: usize, seconds: u64) {
    let manners = |(k, one): (usize, &Instance)| Manners {
        from: [127, 41, k as u8],
        at_once: AT_ONCE,
        look_us: LOOK_US,
        ..Manners::waiting(one.port, sales.paths())
    };
    let each = sockets / instances.len();
    let cpu = || instances.iter().map(|one| machine::cpu(one.pid())).sum::<Duration>().as_secs_f64();
    let mut crowds: Vec<_> = instances.iter().enumerate().map(|one| Crowd::start(&manners(one))).collect();
    let (before, began) = (cpu(), Instant::now());
    scope(|scope| crowds.iter_mut().for_each(|crowd| drop(scope.spawn(move || crowd.come(each)))));
    let (coming, coming_cpu) = (began.elapsed().as_secs_f64(), cpu() - before);
    sales.ids().for_each(|sale| instances[0].open(&sale));
    sleep(SETTLES);
    let ranks = |crowds: &mut [Crowd], order: Order| {
        let all = ask_all(crowds, |_| order);
        assert!(all.iter().all(|seen| (seen.rose, seen.dropped) == (0, 0)), "{:?}", all[0].troubles);
        all.iter().map(|seen| seen.ranks).sum::<u64>()
    };
    let (pushed, before, began) = (ranks(&mut crowds, Order::Watch), cpu(), Instant::now());
    sleep(Duration::from_secs(seconds));
    let (pushed, cpu) = ((ranks(&mut crowds, Order::Tell) - pushed) as f64, cpu() - before);
    let seconds = began.elapsed().as_secs_f64();
    figures.add(
        &format!("{} instances", instances.len()),
        &[
            ("joins/s", sockets as f64 / coming),
            ("CPU µs a join", coming_cpu * 1e6 / sockets as f64),
            ("of a core, joining", coming_cpu / coming),
            ("pushes/s", pushed / seconds),
            ("CPU µs a push", cpu * 1e6 / pushed),
            ("of a core, pushing", cpu / seconds),
        ],
    );
}
