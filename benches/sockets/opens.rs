//! Sockets opened a second, while others are pushed ranks and while none are.

use crate::{
    Words,
    crowd::{Crowd, Manners, Order},
    machine,
    pushes::{NEAR, RATE, SWEEPS},
    rivals::{Kind, Work},
    stage::Stores,
    subject::Subject,
    table::Figures,
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// On their way in at once.
const AT_ONCE: usize = 1_000;
const LOOK_US: u64 = 2_000;

pub fn run(words: &Words) {
    let (rounds, sockets) = (words.get("--rounds", 3), words.get("--sockets", 10_000));
    let lines = words.get("--pushes", 20_000) / (NEAR * SWEEPS);
    let (stores, mut figures) = (Stores::start(), Figures::default());
    for round in 0..rounds {
        for lines in [lines, 0] {
            let pushed = if lines > 0 { "while pushing" } else { "nothing pushed" };
            for joins in [true, false] {
                let name = format!("opens-{round}-{lines}-{joins}");
                // The last line is that of the newcomers.
                let subject = Subject::ours(&stores, &name, lines + 1, RATE);
                let whose = if joins { "waitroom, joins" } else { "waitroom, handshakes" };
                let opened =
                    Opened { figures: &mut figures, whose: format!("{whose}, {pushed}"), lines, sockets };
                opened.measure(&subject, joins, &stores);
            }
            let per_s = (lines * NEAR * SWEEPS) as f64;
            let work = Work { pushes_per_s: per_s, watchers: lines * NEAR, ..Work::nothing() };
            for kind in [Kind::Axum, Kind::Bare] {
                let whose = format!("{}, handshakes, {pushed}", kind.name());
                let opened = Opened { figures: &mut figures, whose, lines, sockets };
                opened.measure(&Subject::rival(kind, work), false, &stores);
            }
        }
    }
    println!("{}", figures.markdown());
    for pushed in ["while pushing", "nothing pushed"] {
        let of = |whose: &str| figures.median(&format!("{whose}, {pushed}"), "opened/s").unwrap_or(f64::NAN);
        let joins = of("waitroom, joins");
        println!(
            "{pushed}: joins / axum's handshakes {:.2}, joins / the server's own handshakes {:.2}",
            joins / of("axum, tuned, handshakes"),
            joins / of("waitroom, handshakes")
        );
    }
    words.write("--json", &figures.json().to_string());
}

/// What it costs that a replica confirms each join, from the visitors' side.
pub fn confirmed(words: &Words) {
    let (rounds, sockets) = (words.get("--rounds", 5), words.get("--sockets", 10_000));
    let (mut stores, mut figures) = (Stores::replicated(), Figures::default());
    let names = ["not waited for", "a replica confirms"];
    for round in 0..rounds {
        for (waited_for, name) in (0..).zip(names) {
            stores.waited_for = waited_for;
            let subject = Subject::ours(&stores, &format!("confirmed-{round}-{waited_for}"), 1, RATE);
            let opened = Opened { figures: &mut figures, whose: name.to_owned(), lines: 0, sockets };
            opened.measure(&subject, true, &stores);
        }
    }
    println!("{}", figures.markdown());
    let [without, with] = names.map(|name| figures.median(name, "opened/s").unwrap_or(f64::NAN));
    println!("confirmed / not waited for: {:.2}", with / without);
    words.write("--json", &figures.json().to_string());
}

struct Opened<'a> {
    figures: &'a mut Figures,
    whose: String,
    lines: usize,
    sockets: usize,
}

impl Opened<'_> {
    fn measure(self, subject: &Subject, joins: bool, stores: &Stores) {
        let manners = subject.manners();
        let (paths, newcomers) = match subject {
            Subject::Ours(..) => (manners.paths[..self.lines].to_vec(), manners.paths[self.lines..].to_vec()),
            Subject::Rival(..) => (manners.paths.clone(), manners.paths.clone()),
        };
        let mut watchers = (self.lines > 0).then(|| {
            let mut watchers = Crowd::start(&Manners { paths, ..manners.clone() });
            watchers.come(self.lines * NEAR);
            subject.open();
            sleep(Duration::from_secs(3));
            watchers
        });
        let (at_once, look_us) = (AT_ONCE, LOOK_US);
        let manners = Manners { paths: newcomers, joins, at_once, look_us, from: [127, 41, 2], ..manners };
        let mut crowd = Crowd::start(&manners);
        let mut ranks = || watchers.as_mut().map_or(0, |watchers| watchers.ask(Order::Tell).ranks);
        let crowd_pid = crowd.pid();
        let cpu = || {
            let postgres = machine::cpu_of_postgres(stores.postgres.pid());
            let replica =
                stores.replica.as_ref().map_or(Duration::ZERO, |replica| machine::cpu(replica.pid()));
            [subject.cpu(), machine::cpu(stores.redis.pid()), replica, postgres, machine::cpu(crowd_pid)]
        };
        let (before, pushed, began) = (cpu(), ranks(), Instant::now());
        let seen = crowd.come(self.sockets);
        let after = cpu();
        let per_s = (ranks() - pushed) as f64 / began.elapsed().as_secs_f64();
        let each = |i: usize| (after[i] - before[i]).as_secs_f64() * 1e6 / self.sockets as f64;
        self.figures.add(
            &self.whose,
            &[
                ("opened/s", self.sockets as f64 * 1e3 / seen.coming_ms as f64),
                ("pushes/s", per_s),
                ("p99 ms", seen.in_ms[1] as f64),
                ("server µs", each(0)),
                ("Redis µs", each(1)),
                ("replica µs", each(2)),
                ("PostgreSQL µs", each(3)),
                ("crowd µs", each(4)),
            ],
        );
    }
}
