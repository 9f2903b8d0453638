//! Several instances on one Redis and one PostgreSQL, each with a crowd of its own, and one line for all of them.

use crate::{
    Words,
    crowd::{Crowd, Manners, Order, Seen, ask_all},
    machine,
    stage::{Instance, Stores, until_journaled},
};
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

pub const SALE: &str = "million";
/// Below this much memory the machine could give, a run ends itself.
const GUARD_GB: f64 = 2.0;

pub struct Fleet {
    pub crowds: Vec<Crowd>,
    pub instances: Vec<Instance>,
    pub stores: Stores,
    /// Sockets of one instance at most.
    each: usize,
    come_per_s: f64,
    guard: u64,
    /// Of each crowd, as ordered so far.
    ordered: Vec<usize>,
}

impl Fleet {
    /// With one instance, and a sale of that rate that is not open.
    pub fn start(words: &Words) -> Self {
        let stores = Stores::start();
        // A hundred processes want these cores, and what everyone waits for would get a hundredth of them.
        machine::serve_first(&[stores.redis.pid(), stores.postgres.pid()]);
        let first = Instance::start(&stores);
        first.make_sale(SALE, words.get("--rate", 100.0));
        let mut fleet = Self {
            crowds: Vec::new(),
            instances: vec![first],
            stores,
            each: words.get("--each", 19_000),
            come_per_s: words.get("--come", 5_000.0),
            guard: (words.get("--guard", GUARD_GB) * 1e9) as u64,
            ordered: Vec::new(),
        };
        fleet.add_crowd();
        fleet
    }

    fn add_crowd(&mut self) {
        let k = self.crowds.len();
        let path = format!("/v1/sales/{SALE}/ws");
        let manners = Manners {
            from: [127, 42 + (k / 250) as u8, (k % 250) as u8],
            keeps_places: true,
            leaves: true,
            at_once: 50,
            look_us: 20_000,
            ..Manners::waiting(self.instances[k].port, vec![path])
        };
        self.crowds.push(Crowd::start(&manners));
        self.ordered.push(0);
    }

    /// Until so many wait, on as many instances as they need. Tells whether the machine could take it.
    pub fn grow(&mut self, to: usize) -> bool {
        let count = to.div_ceil(self.each);
        while self.instances.len() < count {
            let instance = Instance::start(&self.stores);
            instance.await_sale(SALE);
            self.instances.push(instance);
            self.add_crowd();
        }
        self.order(|_| Order::Churn { per_s: 0.0, returning: 0 });
        let share = |k: usize| to / count + usize::from(k < to % count);
        let more: Vec<usize> = (0..count).map(|k| share(k).saturating_sub(self.ordered[k])).collect();
        let all = more.iter().sum::<usize>().max(1);
        let per_s = |k: usize| self.come_per_s * more[k] as f64 / all as f64;
        ask_all(&mut self.crowds, |k| Order::Come { count: more[k], per_s: per_s(k) });
        (0..count).for_each(|k| self.ordered[k] += more[k]);
        let (total, began) = (self.ordered.iter().sum::<usize>() as u64, Instant::now());
        let mut last = (0, Instant::now());
        loop {
            let seen = self.seen();
            // Who had his turn just now, and whoever comes in his stead, does not hold us up.
            if seen.open + seen.away >= total && seen.waiting + 1_000.min(total / 20) >= total {
                eprintln!("{} wait, after {:.0} s", seen.waiting, began.elapsed().as_secs_f64());
                return true;
            }
            if last.1.elapsed() > Duration::from_secs(10) {
                let per_s = (seen.waiting.saturating_sub(last.0)) as f64 / last.1.elapsed().as_secs_f64();
                let free = machine::memory().0 as f64 / 1e9;
                eprintln!(
                    "{} of {total} wait, {per_s:.0}/s, {free:.1} GB left {:?}",
                    seen.waiting, seen.troubles
                );
                last = (seen.waiting, Instant::now());
            }
            if !self.has_room() {
                return false;
            }
            sleep(Duration::from_millis(500));
        }
    }

    /// Whether the machine has memory left; says so if not.
    pub fn has_room(&self) -> bool {
        let (available, swapped) = machine::memory();
        let has_room = available > self.guard && swapped == 0;
        if !has_room {
            eprintln!(
                "stopped: {:.1} GB left, {:.1} GB swapped",
                available as f64 / 1e9,
                swapped as f64 / 1e9
            );
        }
        has_room
    }

    pub fn seen(&mut self) -> Seen {
        Seen::all(&ask_all(&mut self.crowds, |_| Order::Tell))
    }

    /// All of them, their share of what is to be done by all.
    pub fn order(&mut self, order: impl Fn(f64) -> Order) {
        let count = self.crowds.len() as f64;
        ask_all(&mut self.crowds, |_| order(1.0 / count));
    }

    /// Crowd and servers but one end, the sale closes, and what the journal has of it is proved. Tells what was said, and the exit status.
    pub fn prove(&mut self) -> (String, Option<i32>) {
        // First the crowd: closed out, it would come back and be refused for ever. All at once, and the servers but one with it: to hear
        // of a million who go, one by one, takes them minutes.
        Crowd::end(&mut self.crowds);
        Instance::end(&mut self.instances[1..]);
        self.crowds.clear();
        self.instances.truncate(1);
        self.instances[0].close(SALE);
        until_journaled(&self.instances);
        sleep(Duration::from_secs(3));
        let began = Instant::now();
        let (said, status) = self.stores.prove(SALE);
        (format!("{said}\n(read in {:.1} s)", began.elapsed().as_secs_f64()), status)
    }
}
