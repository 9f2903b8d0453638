//! The same ranks by polling: what each asking costs, beside a socket that is told.
//! `cargo bench --bench sockets -- polls [--sockets N] [--every SECONDS]`.

use crate::{
    Words,
    crowd::{Crowd, Manners, Order},
    machine,
    rivals::{Kind, Work},
    sample::RedisSays,
    stage::Stores,
    subject::Subject,
    table::Figures,
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Admissions a second: each poll finds another rank.
const RATE: f64 = 100.0;

pub fn run(words: &Words) {
    let (rounds, every) = (words.get("--rounds", 3), words.get("--every", 5_u32));
    let (stores, mut figures) = (Stores::start(), Figures::default());
    let polls = Polls { count: words.get("--sockets", 10_000), every_s: every, stores: &stores };
    for round in 0..rounds {
        let name = format!("waitroom, asked each {every} s");
        polls.measure(
            &mut figures,
            &name,
            &Subject::ours(&stores, &format!("polls-{round}"), 1, RATE),
            every,
        );
        let name = format!("axum, asked each {every} s");
        polls.measure(&mut figures, &name, &Subject::rival(Kind::Axum, Work::nothing()), every);
        polls.measure(
            &mut figures,
            "waitroom, pushed",
            &Subject::ours(&stores, &format!("pushed-{round}"), 1, RATE),
            0,
        );
    }
    println!("{}", figures.markdown());
    words.write("--json", &figures.json().to_string());
}

struct Polls<'a> {
    count: usize,
    every_s: u32,
    stores: &'a Stores,
}

impl Polls<'_> {
    fn measure(&self, figures: &mut Figures, whose: &str, subject: &Subject, every_s: u32) {
        let mut manners = subject.manners();
        if every_s > 0 {
            let path = |path: String| path.trim_end_matches("/ws").to_owned();
            let paths = manners.paths.into_iter().map(path).collect();
            manners = Manners { paths, polls_ms: every_s * 1_000, ..manners };
        }
        let mut crowd = Crowd::start(&manners);
        crowd.come(self.count);
        subject.open();
        sleep(Duration::from_secs(u64::from(self.every_s) + 1));
        let (redis, postgres) = (self.stores.redis.pid(), self.stores.postgres.pid());
        let cpu = || [subject.cpu(), machine::cpu(redis), machine::cpu_of_postgres(postgres)];
        let commands = || RedisSays::ask(&self.stores.redis.url()).commands;
        let (before, asked, began) = (cpu(), commands(), Instant::now());
        let seen = crowd.ask(Order::Watch);
        sleep(Duration::from_secs(u64::from(self.every_s)) * 4);
        let (last, took) = (crowd.ask(Order::Tell), began.elapsed().as_secs_f64());
        let (after, ranks) = (cpu(), (last.ranks - seen.ranks) as f64);
        let cores = |i: usize| (after[i] - before[i]).as_secs_f64() / took;
        let commands = (commands() - asked) / took;
        assert_eq!(last.dropped, 0, "{:?}", last.troubles);
        figures.add(
            whose,
            &[
                ("ranks/s", ranks / took),
                ("server, µs a rank", cores(0) * took * 1e6 / ranks),
                ("Redis, µs a rank", cores(1) * took * 1e6 / ranks),
                ("Redis' commands a rank", commands * took / ranks),
                ("server, of a core", cores(0)),
                ("Redis, of a core", cores(1)),
                ("PostgreSQL, of a core", cores(2)),
                ("rank's age p50 s", last.age_ms[0] as f64 / 1e3),
            ],
        );
    }
}
