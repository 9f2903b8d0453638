//! The line's scripts against a real Redis: order, admission, lapse.

use crate::world::World;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use tokio::time::sleep;
use uuid::Uuid;
use waitroom::store::{
    line::{Committed, Install, Line, LineSettings, Told, stream::Changes},
    redis::{Redis, Site},
};
use wire::domain::{
    booking::BookingStatus,
    ids::{GrantKey, SaleId, Seq, VisitorId},
    line::{Join, JoinMode, Poll, Position, TICK_MS, TICK_MS_MAX},
    phase::Phase,
    place::{LapseReason, Stage, Standing},
    seats::SeatSet,
};

const SEATS: usize = 100;

/// A line of its own, and the connection of one instance.
pub struct Bench {
    pub sale: SaleId,
    redis: Redis,
    pub line: Line,
    version: u64,
}

#[derive(Clone, Copy)]
pub struct Rules {
    pub rate: f64,
    pub max_active: u32,
    pub grant_ttl_ms: u64,
    pub claim_ms: u64,
    pub away_ms: u64,
}

pub const RULES: Rules =
    Rules { rate: 10_000.0, max_active: 1000, grant_ttl_ms: 60_000, claim_ms: 60_000, away_ms: 60_000 };

impl Bench {
    pub async fn new(rules: Rules) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let sale = SaleId::parse(&format!("line-{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap();
        let redis = Redis::connect(Site::parse(&World::shared().redis.url()).unwrap(), "one").await.unwrap();
        let line = redis.line(&sale);
        let none = SeatSet::new(SEATS);
        let install = Install {
            epoch: 1,
            first_epoch: 0,
            lost_epoch: 0,
            command: Phase::Scheduled,
            first_seq: 0,
            seats: SEATS,
            shift_ms: 0,
            booked_seats: &none,
            held: &HashSet::new(),
            visitors: &[],
        };
        assert!(line.install(&install).await.unwrap());
        let mut bench = Self { sale, redis, line, version: 0 };
        bench.command(rules, Phase::Open).await;
        bench
    }

    pub async fn command(&mut self, rules: Rules, command: Phase) {
        self.version += 1;
        let settings = LineSettings {
            version: self.version,
            command,
            rate: rules.rate,
            max_active: rules.max_active,
            grant_ttl_ms: rules.grant_ttl_ms,
            claim_ms: rules.claim_ms,
            away_ms: rules.away_ms,
            blocked: &SeatSet::new(SEATS),
            banned: &[],
        };
        assert!(self.line.apply(&settings).await.unwrap());
    }

    pub async fn join(&self, name: &str) -> Standing {
        self.join_as(name, Some(1), JoinMode::Join, None).await.unwrap()
    }

    pub async fn join_as(
        &self,
        name: &str,
        connection: Option<u64>,
        mode: JoinMode,
        token_seq: Option<Seq>,
    ) -> Option<Standing> {
        let join = Join { visitor: visitor(name), connection, poll_ms: 0, mode, token_seq, stranger: None };
        self.line.join(&[join]).await.unwrap().standings[0].place()
    }

    pub async fn poll(&self, name: &str) -> Option<Standing> {
        let poll = Poll { visitor: visitor(name), poll_ms: 0 };
        self.line.poll(&[poll]).await.unwrap().standings[0].place()
    }

    pub async fn crowd(&self, count: usize) {
        let join = |i| Join {
            visitor: visitor(&format!("v{i}")),
            connection: Some(i as u64),
            poll_ms: 0,
            mode: JoinMode::Join,
            token_seq: None,
            stranger: None,
        };
        self.line.join(&(0..count).map(join).collect::<Vec<_>>()).await.unwrap();
    }

    /// Ticks as one instance does; PostgreSQL has just proved that it can book.
    pub async fn tick(&self) -> waitroom::store::line::Tick {
        sleep(Duration::from_millis(95)).await;
        let (decided, tick) = self.line.tick(0).await.unwrap();
        assert!(decided);
        tick
    }

    /// As if the last tick had been so long ago: by Redis' clock, when that was.
    pub async fn let_pass(&self, ms: i64) -> i64 {
        let mut redis = World::shared().connect_redis().await;
        let (s, us): (i64, i64) = redis::cmd("TIME").query_async(&mut redis).await.unwrap();
        let (sale, ago) = (format!("waitroom:{{{}}}:sale", self.sale), s * 1000 + us / 1000 - ms);
        let mut set = redis::cmd("HSET");
        set.arg(sale).arg("last_tick").arg(ago).arg("bucket_at").arg(ago);
        set.query_async::<()>(&mut redis).await.unwrap();
        ago
    }

    /// All that the stream has told.
    pub async fn history(&self) -> Vec<Changes> {
        let mut reader = self.redis.events(&self.line).await.unwrap();
        let (mut changes, mut after) = (Vec::new(), Position { epoch: 1, n: 0 });
        loop {
            let (end, _) = self.line.position().await.unwrap().unwrap();
            if after.n >= end.n {
                return changes;
            }
            for entry in reader.read(after).await.unwrap() {
                assert_eq!(entry.position, Position { epoch: 1, n: after.n + 1 }, "numbered without a gap");
                after = entry.position;
                changes.push(entry.changes.unwrap());
            }
        }
    }

    pub async fn admitted(&self) -> Vec<(i64, Seq)> {
        let history = self.history().await;
        history.iter().flat_map(|c| c.admitted.iter().map(|a| (c.at, a.1))).collect()
    }
}

pub fn visitor(name: &str) -> VisitorId {
    VisitorId::parse(name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tickers_admit_no_more_than_one_would() {
    let rules = Rules { rate: 40.0, ..RULES };
    let bench = Bench::new(rules).await;
    bench.crowd(90).await;
    let started = Instant::now();
    let tickers = (0..6).map(|i| {
        let sale = bench.sale.clone();
        tokio::spawn(async move {
            let redis =
                Redis::connect(Site::parse(&World::shared().redis.url()).unwrap(), &format!("ticker{i}"))
                    .await
                    .unwrap();
            let line = redis.line(&sale);
            line.take_over(Position::default()).await.unwrap();
            while started.elapsed() < Duration::from_millis(1500) {
                line.tick(0).await.unwrap();
                sleep(Duration::from_millis(7)).await;
            }
        })
    });
    for ticker in tickers.collect::<Vec<_>>() {
        ticker.await.unwrap();
    }
    let admitted = bench.admitted().await;
    let seqs: Vec<Seq> = admitted.iter().map(|(_, seq)| *seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "first come, first served, and nobody twice");
    // In every window: rate × window + one tick, a late one.
    for (i, (from, _)) in admitted.iter().enumerate() {
        for (j, (to, _)) in admitted.iter().enumerate().skip(i) {
            let allowed = rules.rate * (to - from + TICK_MS_MAX) as f64 / 1000.0 + 1.0;
            assert!((j - i + 1) as f64 <= allowed, "{} admitted within {} ms", j - i + 1, to - from);
        }
    }
    // Of 60: a machine that stalls the tickers loses what they do not decide.
    assert!(seqs.len() >= 15, "the pace is used: {}", seqs.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_not_made_up_for() {
    let rules = Rules { rate: 20.0, ..RULES };
    let mut bench = Bench::new(rules).await;
    bench.crowd(50).await;
    bench.command(rules, Phase::Paused).await;
    for _ in 0..8 {
        assert_eq!(bench.tick().await.admitted, 0);
    }
    let opened = Instant::now();
    bench.command(rules, Phase::Open).await;
    let admitted = bench.tick().await.admitted;
    assert!(admitted as f64 <= rules.rate * opened.elapsed().as_secs_f64() + 1.0, "{admitted}");
}

/// The time between two ticks is what the second gives out, also when it is late by a stall; but not when it is as late as after
/// an outage, and nothing of a time in which the sale stood still or had another rate.
#[tokio::test(flavor = "multi_thread")]
async fn a_late_tick_makes_up_for_a_stall_and_for_nothing_else() {
    let rules = Rules { rate: 100.0, ..RULES };
    let mut bench = Bench::new(rules).await;
    bench.crowd(99).await;
    bench.tick().await;
    loop {
        let last = bench.let_pass(2 * TICK_MS).await;
        let tick = bench.line.tick(0).await.unwrap().1;
        let passed = tick.now_ms - last;
        // A busy machine may call too late for that.
        if passed <= TICK_MS_MAX {
            let allowed = rules.rate * passed as f64 / 1000.0;
            assert!((allowed - tick.admitted as f64).abs() <= 1.0, "{} in {passed} ms", tick.admitted);
            break;
        }
    }
    bench.let_pass(50 * TICK_MS).await;
    let after_outage = bench.line.tick(0).await.unwrap().1.admitted;
    assert!((10..=11).contains(&after_outage), "{after_outage} after an outage");
    for (rate, phases) in [(100.0, &[Phase::Paused, Phase::Open][..]), (101.0, &[Phase::Open])] {
        bench.let_pass(TICK_MS_MAX - 50).await;
        let since = Instant::now();
        for phase in phases {
            bench.command(Rules { rate, ..rules }, *phase).await;
        }
        let admitted = bench.line.tick(0).await.unwrap().1.admitted;
        let most = rate * since.elapsed().as_secs_f64() + 1.0;
        assert!((admitted as f64) <= most, "{admitted} right after {phases:?} at {rate}, {most} at most");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_are_bounded_by_max_active_and_by_free_seats() {
    let mut bench = Bench::new(Rules { max_active: 7, ..RULES }).await;
    bench.crowd(150).await;
    assert_eq!(bench.tick().await.admitted, 7);
    assert_eq!(bench.tick().await.admitted, 0);
    bench.line.leave(&[visitor("v0")]).await.unwrap();
    assert_eq!(bench.tick().await.admitted, 1, "a grant that left frees its slot");
    // A held booking keeps its slot until it is confirmed.
    let booked = |grant, status| {
        let (visitor, booking, seats) = (visitor("v1"), Uuid::from_u128(1), vec![5]);
        [Told::Booking(Committed { visitor, grant, booking, status, seats })]
    };
    let grant = Some(GrantKey { seq: 2, turn: 0 });
    bench.line.bookings(&booked(grant, BookingStatus::Held), &[]).await.unwrap();
    assert_eq!(bench.tick().await.admitted, 0);
    bench.line.bookings(&booked(None, BookingStatus::Confirmed), &[]).await.unwrap();
    assert_eq!(bench.tick().await.admitted, 1);
    bench.command(RULES, Phase::Open).await;
    bench.tick().await;
    bench.tick().await;
    let counts = bench.line.counts().await.unwrap();
    assert_eq!((counts.granted, counts.seats_left), (99, 99), "no more grants than free seats");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missed_turn_is_kept_once_and_served_ahead() {
    let rules = Rules { claim_ms: 200, ..RULES };
    let mut bench = Bench::new(rules).await;
    let kim = bench.join("kim").await;
    assert_eq!(bench.tick().await.admitted, 1);
    sleep(Duration::from_millis(700)).await;
    assert_eq!(bench.tick().await.lapsed, [1, 0, 0]);
    bench.command(rules, Phase::Paused).await;
    bench.join("lee").await;
    let back = bench.join("kim").await;
    assert_eq!((back.stage, back.seq, back.turn, back.rank), (Stage::Returned, kim.seq, 1, 0));
    bench.command(Rules { max_active: 1, ..rules }, Phase::Open).await;
    bench.tick().await;
    assert_eq!(bench.join("kim").await.stage, Stage::Granted);
    assert_eq!(bench.join("lee").await.stage, Stage::Waiting);
    sleep(Duration::from_millis(700)).await;
    assert_eq!(bench.tick().await.lapsed, [0, 1, 0], "the second miss ends it");
    let again = bench.join("kim").await;
    assert!(again.seq > kim.seq && again.fresh, "a new place at the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_absent_heads_are_passed_over_and_served_when_they_return() {
    let rules = Rules { away_ms: 2000, ..RULES };
    let mut bench = Bench::new(rules).await;
    bench.command(rules, Phase::Paused).await;
    for name in ["gone", "here", "brief"] {
        bench.join(name).await;
    }
    bench.line.gone(&[(visitor("gone"), 1)]).await.unwrap();
    bench.line.gone(&[(visitor("gone"), 1), (visitor("here"), 99)]).await.unwrap();
    // The instance's lease is what makes the others present.
    bench.tick().await;
    sleep(Duration::from_millis(2200)).await;
    bench.line.gone(&[(visitor("brief"), 1)]).await.unwrap();
    bench.command(rules, Phase::Open).await;
    bench.tick().await;
    let look = async |name| bench.poll(name).await.unwrap().stage;
    assert_eq!(look("here").await, Stage::Granted, "another socket's end does not count");
    assert_eq!(look("brief").await, Stage::Granted, "a short absence does not count");
    assert_eq!(look("gone").await, Stage::Returned, "seen again");
    bench.tick().await;
    assert_eq!(look("gone").await, Stage::Granted);
}

/// More words than a command takes at once go in several.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_any_size_is_told() {
    let bench = Bench::new(RULES).await;
    let seats = |i: u32| (0..4).map(|j| (4 * i + j) % (SEATS as u32)).collect();
    let batch = (0..5_000).map(|i: u32| {
        let (visitor, booking) = (visitor(&format!("v{i}")), Uuid::from_u128(i.into()));
        Told::Booking(Committed {
            visitor,
            grant: None,
            booking,
            status: BookingStatus::Held,
            seats: seats(i),
        })
    });
    bench.line.bookings(&batch.collect::<Vec<_>>(), &[]).await.unwrap();
    assert_eq!(bench.line.booked_seats(SEATS).await.unwrap().len(), SEATS);
    assert_eq!(bench.line.held().await.unwrap().len(), 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_added_to_every_deadline() {
    let bench = Bench::new(Rules { grant_ttl_ms: 3000, claim_ms: 2000, ..RULES }).await;
    bench.join("kim").await;
    let started = Instant::now();
    bench.tick().await;
    let before = bench.join("kim").await;
    // Ticks without a proof from PostgreSQL decide nothing, whatever is due.
    let until = Instant::now() + Duration::from_millis(5600);
    while Instant::now() < until {
        assert!(!bench.line.tick(10_000).await.unwrap().0);
        sleep(Duration::from_millis(200)).await;
    }
    let tick = bench.tick().await;
    assert_eq!(tick.lapsed, [0, 0, 0]);
    let after = bench.join("kim").await;
    let shift = after.deadline_ms - before.deadline_ms;
    assert!(shift >= 5500 && shift <= started.elapsed().as_millis() as i64, "{shift}");
    assert_eq!(after.claim_ms - before.claim_ms, shift);
    assert_eq!(tick.shift_ms, shift);
    let lapses: Vec<_> = bench.history().await.into_iter().flat_map(|c| c.lapsed).collect();
    assert_eq!(lapses, [], "nobody's time ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_restores_its_place_after_a_loss() {
    let bench = Bench::new(RULES).await;
    let late = bench.join_as("late", Some(1), JoinMode::Join, Some(1_000)).await.unwrap();
    let early = bench.join_as("early", Some(2), JoinMode::Join, Some(7)).await.unwrap();
    assert_eq!((late.seq, early.seq, early.rank), (1_000, 7, 0));
    assert_eq!(bench.join("new").await.seq, 1_001, "nobody gets a number that was given");
    // An ended place never comes back, token or not.
    bench.line.leave(&[visitor("early")]).await.unwrap();
    let again = bench.join_as("early", Some(2), JoinMode::Join, Some(7)).await.unwrap();
    assert!(again.seq > 1_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_place_ends_once_in_the_stream() {
    let bench = Bench::new(Rules { max_active: 10, ..RULES }).await;
    bench.crowd(30).await;
    bench.line.leave(&[visitor("v29")]).await.unwrap();
    bench.tick().await;
    bench.line.leave(&[visitor("v3")]).await.unwrap();
    bench.line.leave(&[visitor("v3")]).await.unwrap();
    let history = bench.history().await;
    let joined: Vec<_> = history.iter().filter_map(|c| c.joined).collect();
    assert_eq!(joined, [(1, 30)], "one entry for the batch");
    let left: Vec<_> = history.iter().flat_map(|c| &c.left).map(|(_, seq)| *seq).collect();
    assert_eq!(left, [30, 4]);
    let admitted: HashSet<_> = history.iter().flat_map(|c| &c.admitted).map(|a| a.1).collect();
    assert_eq!(admitted, (1..=10).collect());
    assert!(history.iter().all(|c| c.lapsed.iter().all(|(_, _, reason)| *reason == LapseReason::Left)));
}
