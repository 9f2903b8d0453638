//! What one call to Redis does in a large line: the same few commands for however many visitors, and of what is due no more than some
//! milliseconds' worth. Counted, not timed.

use crate::world::{Server, World};
use redis::{Commands, Connection};
use serde_json::json;
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};
use waitroom::{
    embedded,
    store::{
        line::{Install, Line, LineSettings, Tick, stream::Changes},
        redis::{Redis, Site},
    },
};
use wire::domain::{
    ids::{SaleId, VisitorId},
    line::{Join, JoinMode, Left, Position, TICK_MS_MAX},
    phase::Phase,
    place::Stage,
    seats::SeatSet,
};

const SEATS: usize = 10_000;
/// Lapses and admissions of one call, and deadlines moved, as in `lua/tick.lua`.
const BATCH: u64 = 300;
const SHIFTS: u64 = 1_000;

/// A second. A machine that is busy with others must be able to give it out.
const RATE: f64 = 2_000.0;

/// A Redis of its own, whose commands are counted, and a line in it.
struct Large {
    redis: Redis,
    line: Line,
    asks: RefCell<Connection>,
    version: u64,
    _server: embedded::Redis,
    _folder: tempfile::TempDir,
}

fn visitors(range: std::ops::Range<u64>) -> Vec<VisitorId> {
    range.map(|i| VisitorId::parse(&format!("v{i}")).unwrap()).collect()
}

fn join(visitor: &VisitorId, token_seq: Option<u64>) -> Join {
    let (connection, mode) = (Some(1), JoinMode::Join);
    Join { visitor: visitor.clone(), connection, poll_ms: 0, mode, token_seq, stranger: None }
}

impl Large {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = embedded::Redis::start_at(&folder.path().join("redis")).unwrap();
        let redis = Redis::connect(Site::parse(&server.url()).unwrap(), "one").await.unwrap();
        let line = redis.line(&SaleId::parse("large").unwrap());
        let (none, held) = (SeatSet::new(SEATS), HashSet::new());
        let install = Install {
            epoch: 1,
            first_epoch: 0,
            lost_epoch: 0,
            command: Phase::Scheduled,
            first_seq: 0,
            seats: SEATS,
            shift_ms: 0,
            booked_seats: &none,
            held: &held,
            visitors: &[],
        };
        assert!(line.install(&install).await.unwrap());
        let asks = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
        let mut this = Self { redis, line, asks: asks.into(), version: 0, _server: server, _folder: folder };
        this.command(Phase::Paused).await;
        this
    }

    async fn command(&mut self, command: Phase) {
        self.version += 1;
        let (none, ms) = (SeatSet::new(SEATS), 600_000);
        let settings = LineSettings {
            version: self.version,
            command,
            rate: RATE,
            max_active: 100_000,
            grant_ttl_ms: ms,
            claim_ms: ms,
            away_ms: ms,
            blocked: &none,
            banned: &[],
        };
        assert!(self.line.apply(&settings).await.unwrap());
    }

    async fn join(&self, visitors: &[VisitorId]) {
        let joins: Vec<_> = visitors.iter().map(|visitor| join(visitor, None)).collect();
        self.line.join(&joins).await.unwrap();
    }

    fn key(name: &str) -> String {
        format!("waitroom:{{large}}:{name}")
    }

    fn set(&self, field: &str, value: i64) {
        self.asks.borrow_mut().hset::<_, _, _, ()>(Self::key("sale"), field, value).unwrap();
    }

    fn members(&self, key: &str) -> Vec<String> {
        self.asks.borrow_mut().zrange(Self::key(key), 0, -1).unwrap()
    }

    fn deadlines(&self, key: &str) -> HashMap<String, i64> {
        let members: Vec<(String, f64)> =
            self.asks.borrow_mut().zrange_withscores(Self::key(key), 0, -1).unwrap();
        members.into_iter().map(|(visitor, at)| (visitor, at as i64)).collect()
    }

    fn now_ms(&self) -> i64 {
        let (s, us): (i64, i64) = redis::cmd("TIME").query(&mut *self.asks.borrow_mut()).unwrap();
        s * 1000 + us / 1000
    }

    /// As if the last tick had been so long ago, and booking possible until then. Answers Redis' milliseconds.
    fn let_pass(&self, ms: i64) -> i64 {
        let now = self.now_ms();
        ["last_tick", "bucket_at", "bookable_at"].iter().for_each(|field| self.set(field, now - ms));
        now
    }

    /// The first tick of what is due, and those that go on with it.
    async fn ticks(&self) -> Vec<Tick> {
        let mut ticks = vec![self.line.tick(0).await.unwrap().1];
        while ticks.last().is_some_and(|tick| tick.goes_on) {
            ticks.push(self.line.tick(0).await.unwrap().1);
        }
        ticks
    }

    /// As many are admitted.
    async fn admit(&mut self, count: u64) {
        self.join(&visitors(0..count)).await;
        self.command(Phase::Open).await;
        while self.line.counts().await.unwrap().granted < count {
            self.let_pass(200);
            self.ticks().await;
        }
        self.command(Phase::Paused).await;
    }

    /// Commands that Redis has run for a call, those of the script among them.
    async fn commands(&self, call: impl Future<Output = ()>) -> u64 {
        redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut *self.asks.borrow_mut()).unwrap();
        call.await;
        let info: String =
            redis::cmd("INFO").arg("commandstats").query(&mut *self.asks.borrow_mut()).unwrap();
        let calls = info.lines().filter(|line| !line.starts_with("cmdstat_config"));
        calls.filter_map(|line| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok()).sum()
    }

    async fn history(&self) -> Vec<Changes> {
        let mut reader = self.redis.events(&self.line).await.unwrap();
        let (mut changes, mut after) = (Vec::new(), Position { epoch: 1, n: 0 });
        while after < self.line.position().await.unwrap().unwrap().0 {
            for entry in reader.read(after).await.unwrap() {
                after = entry.position;
                changes.push(entry.changes.unwrap());
            }
        }
        changes
    }
}

/// Whatever is done for 500 takes as many commands as for ten.
#[tokio::test(flavor = "multi_thread")]
async fn many_visitors_cost_as_many_commands_as_few() {
    let mut large = Large::new().await;
    // Scripts are sent once.
    large.join(&visitors(0..1)).await;
    let (few, many) = (visitors(10..20), visitors(100..600));
    let gone = |some: &[VisitorId]| some.iter().map(|visitor| (visitor.clone(), 1)).collect::<Vec<_>>();
    large.line.gone(&gone(&few[..1])).await.unwrap();
    large.line.claim(&few[..1]).await.unwrap();
    large.line.leave(&few[..1]).await.unwrap();
    for (what, ten, rest) in [
        ("joins", large.commands(large.join(&few)).await, large.commands(large.join(&many)).await),
        (
            "departures",
            large.commands(async { large.line.gone(&gone(&few)).await.unwrap() }).await,
            large.commands(async { large.line.gone(&gone(&many)).await.unwrap() }).await,
        ),
    ] {
        assert_eq!(rest, ten, "{what}");
    }
    large.command(Phase::Open).await;
    while large.line.counts().await.unwrap().granted < 511 {
        large.let_pass(200);
        large.ticks().await;
    }
    let claim =
        async |some: &[VisitorId]| assert_eq!(large.line.claim(some).await.unwrap(), vec![true; some.len()]);
    assert_eq!(large.commands(claim(&many)).await, large.commands(claim(&few)).await, "claims");
    let leave = async |some: &[VisitorId]| {
        assert_eq!(large.line.leave(some).await.unwrap(), vec![Left::Ended; some.len()])
    };
    assert_eq!(large.commands(leave(&many)).await, large.commands(leave(&few)).await, "leaves");
    let history = large.history().await;
    let left: Vec<_> = history.iter().map(|changes| changes.left.len()).filter(|left| *left > 0).collect();
    let claimed: Vec<_> = history.iter().map(|changes| changes.claimed.len()).filter(|n| *n > 0).collect();
    assert_eq!((left, claimed), (vec![500, 10], vec![500, 10]), "one entry for a batch");
}

/// In a batch, each is answered as if he had come alone: also who comes twice, and who comes with a token.
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_in_a_batch_is_answered_as_if_he_came_alone() {
    let large = Large::new().await;
    let v = visitors(0..40);
    large.join(&v[..3]).await;
    assert_eq!(
        large.line.leave(&[v[1].clone(), v[1].clone(), v[39].clone()]).await.unwrap(),
        [Left::Ended, Left::Nothing, Left::Nothing]
    );
    let mut batch: Vec<_> = v[3..8].iter().map(|visitor| join(visitor, None)).collect();
    batch.push(join(&v[8], Some(70)));
    batch.push(join(&v[9], Some(2)));
    batch.extend(v[9..20].iter().chain(&v[0..6]).map(|visitor| join(visitor, None)));
    let answers = large.line.join(&batch).await.unwrap();
    assert_eq!(answers.drawn, 5 + 10 + 1);
    let line = large.members("line");
    for (join, stood) in batch.iter().zip(&answers.standings) {
        let standing = stood.place().unwrap();
        let rank = line.iter().position(|visitor| visitor == join.visitor.as_str()).unwrap();
        assert_eq!(
            (standing.stage, standing.rank),
            (Stage::Waiting, rank as u64),
            "{}",
            join.visitor.as_str()
        );
    }
    let seqs: Vec<u64> = answers.standings.iter().map(|stood| stood.place().unwrap().seq).collect();
    let expected = [4, 5, 6, 7, 8, 70, 2, 2].into_iter().chain(71..=80).chain([1, 81, 3, 4, 5, 6]);
    assert_eq!(seqs, expected.collect::<Vec<_>>());
    let last = large.history().await.pop().unwrap();
    assert_eq!(last.joined, Some((4, 8)));
    assert_eq!(last.restored, [70, 2].into_iter().chain(71..=81).collect::<Vec<_>>());
}

/// A tick of which hundreds are due gives them out by calls that come at once, and no more in all than one would.
#[tokio::test(flavor = "multi_thread")]
async fn a_tick_admits_and_lapses_some_a_call() {
    let mut large = Large::new().await;
    large.join(&visitors(0..9_000)).await;
    large.command(Phase::Open).await;
    let mut in_all = 0;
    for left_by_another in [0, 900, 900] {
        // What another instance has begun, and left, is not made up for.
        large.asks.borrow_mut().hset::<_, _, _, ()>(Large::key("sale"), "begun_by", "another").unwrap();
        large.set("bucket", left_by_another);
        let ago = large.let_pass(200) - 200;
        let ticks = large.ticks().await;
        let admitted: u64 = ticks.iter().map(|tick| tick.admitted).sum();
        in_all += admitted;
        assert!(ticks.iter().all(|tick| tick.admitted <= BATCH), "{ticks:?}");
        // A busy machine may call too late for that.
        if ticks.iter().all(|tick| tick.now_ms - ago < TICK_MS_MAX) {
            let allowed = (RATE * (ticks[ticks.len() - 1].now_ms - ago) as f64 / 1000.0) as u64;
            assert!(
                ticks.len() > 1 && (allowed - 1..=allowed + 1).contains(&admitted),
                "{allowed} {ticks:?}"
            );
        }
    }
    large.command(Phase::Closed).await;
    large.let_pass(100);
    let ticks = large.ticks().await;
    let lapsed: Vec<u64> = ticks.iter().map(|tick| tick.lapsed[2]).collect();
    assert!(lapsed.iter().all(|lapsed| *lapsed <= BATCH), "{lapsed:?}");
    assert_eq!((lapsed.iter().sum::<u64>(), large.members("grants").len()), (in_all, 0));
}

/// An outage is added to all deadlines, some a call, whoever makes it; nobody is admitted or lapses meanwhile, and it is told once.
#[tokio::test(flavor = "multi_thread")]
async fn deadlines_move_some_a_call_and_all_by_the_same() {
    let mut large = Large::new().await;
    large.admit(2 * SHIFTS + 400).await;
    let (grants, claims) = (large.deadlines("grants"), large.deadlines("claims"));
    large.command(Phase::Open).await;
    large.join(&visitors(5_000..5_010)).await;
    large.let_pass(20_000);
    let first = large.line.tick(0).await.unwrap().1;
    let moved =
        large.deadlines("grants").iter().filter(|(visitor, at)| grants[*visitor] != **at).count() as u64;
    assert!(first.goes_on && (1..=SHIFTS + BATCH).contains(&moved), "{moved} at once");
    assert_eq!((first.admitted, first.shift_ms), (0, 0));
    // Its instance dies: the next goes on after 90 ms.
    let heir = Redis::connect(Site::parse(&large._server.url()).unwrap(), "heir").await.unwrap();
    let heir = heir.line(&SaleId::parse("large").unwrap());
    heir.take_over(Position::default()).await.unwrap();
    large.set("last_tick", large.now_ms() - 95);
    assert!(heir.tick(0).await.unwrap().1.goes_on);
    let (mut last, mut calls) = (heir.tick(0).await.unwrap().1, 0);
    while last.goes_on && last.shift_ms == 0 {
        (last, calls) = (heir.tick(0).await.unwrap().1, calls + 1);
    }
    assert!(calls < 10 && last.shift_ms >= 20_000, "{calls} {last:?}");
    for (key, before) in [("grants", grants), ("claims", claims)] {
        let now = large.deadlines(key);
        assert!(before.iter().all(|(visitor, at)| now[visitor] == at + last.shift_ms), "{key}");
    }
    let history = large.history().await;
    let told: Vec<_> = history.iter().filter_map(|changes| changes.shifted).collect();
    assert_eq!(told, [last.shift_ms]);
    assert!(history.iter().all(|changes| changes.lapsed.is_empty()));
}

/// Two instances that come at once read a large line once: one of them reads it, and shares what it has read.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_line_is_read_by_one_for_all() {
    const PLACES: u64 = 25_000;
    let world = World::new();
    let first = Server::start_with(&world, &[]).await;
    let sale = first.sale(json!({})).await;
    let redis = Redis::connect(Site::parse(&world.redis.url()).unwrap(), "crowd").await.unwrap();
    let line = redis.line(&SaleId::parse(&sale).unwrap());
    line.take_over(Position::default()).await.unwrap();
    for some in visitors(0..PLACES).chunks(1_000) {
        let joins: Vec<_> = some.iter().map(|visitor| join(visitor, None)).collect();
        line.join(&joins).await.unwrap();
    }
    line.leave(&visitors(0..1_000)).await.unwrap();
    let mut asks = redis::Client::open(world.redis.url()).unwrap().get_connection().unwrap();
    redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut asks).unwrap();
    let (second, third) = tokio::join!(Server::start_with(&world, &[]), Server::start_with(&world, &[]));
    for server in [&second, &third] {
        let (status, body) = server.public("GET", &format!("/v1/sales/{sale}"), &[]).await;
        assert_eq!((status, &body["waiting"]), (200, &json!(PLACES - 1_000)));
    }
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut asks).unwrap();
    let reads = info.lines().find_map(|line| line.strip_prefix("cmdstat_zrange:calls=")?.split(',').next());
    assert_eq!(reads, Some("4"), "three pages, and one that is empty");
    let (_visitor, joined) = third.join(&sale).await;
    assert_eq!(joined["rank"], PLACES - 1_000);
}
