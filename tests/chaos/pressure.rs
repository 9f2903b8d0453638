//! A PostgreSQL that answers, but not as it should: locked, out of connections, out of space.

use crate::stage::{Holder, Instance, Stage, World, settings};
use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use waitroom::{embedded::Postgres, store::postgres::connect};
use wire::domain::{plan::SeatIndex, refusal::Refusal};

/// A session of somebody else's, which runs this in a transaction and stays in it until dropped.
async fn stranger(stage: &Stage, sql: &str) -> tokio_postgres::Client {
    let stranger = connect::postgres_single(&stage.postgres_url).await.unwrap();
    stranger
        .batch_execute(&format!("SET idle_in_transaction_session_timeout = 0; BEGIN; {sql}"))
        .await
        .unwrap();
    stranger
}

/// One seat for each.
fn one_each<'a>(
    instances: [&'a Instance; 2],
    holders: &'a [Holder],
    seats: &'a [SeatIndex],
) -> Vec<(&'a Instance, &'a Holder, &'a [SeatIndex])> {
    holders.iter().zip(seats.chunks(1)).enumerate().map(|(i, (h, s))| (instances[i % 2], h, s)).collect()
}

const SEATS: [SeatIndex; 6] = [0, 1, 2, 10, 11, 12];

/// These three take long, and only wait: they do it together.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_waited_for_in_vain_is_answered_busy_and_comes_right() {
    tokio::join!(
        a_table_locked_for_longer_than_a_commit_may_take_delays_and_loses_nothing(),
        a_pool_of_which_others_hold_all_answers_busy_and_does_not_hang(),
        stores_that_stand_still_for_a_while_lose_nothing(),
    );
}

async fn a_table_locked_for_longer_than_a_commit_may_take_delays_and_loses_nothing() {
    let stage = Stage::shared(3, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 6).await;
    let stranger = stranger(&stage, "LOCK TABLE booked_seats").await;
    let answers = stage.redeem_all(&one_each([&a, &b], &holders, &SEATS)).await;
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::Busy)), "{answers:?}");
    stranger.batch_execute("ROLLBACK").await.unwrap();
    for (holder, seat) in holders.iter().zip(SEATS) {
        assert!(stage.redeem_surely(&b, holder, &[seat]).await.is_ok());
    }
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_postgres_gives_up_books_nothing() {
    let stage = Stage::shared(3, settings(0)).await;
    let hasty = "&options=-c%20statement_timeout%3D400";
    let (a, b) = (stage.instance_with(4, hasty).await, stage.instance_with(4, hasty).await);
    let holders = stage.holders(&a, 6).await;
    let stranger = stranger(&stage, "LOCK TABLE booked_seats").await;
    let started = Instant::now();
    let answers = stage.redeem_all(&one_each([&a, &b], &holders, &SEATS)).await;
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::Busy)), "{answers:?}");
    // Who asked for the outcome first would wait for the table, and give up after ten.
    assert!(started.elapsed() < Duration::from_secs(8), "answered as soon as it is known");
    drop(stranger);
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_that_somebody_else_is_writing_is_waited_for_and_lost_alone() {
    let stage = Stage::shared(3, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 6).await;
    let other = "INSERT INTO bookings (id, sale_id, grant_id, visitor_id, status, seats) \
                 VALUES (gen_random_uuid(), '{}', gen_random_uuid(), 'other', 'confirmed', '{0-1}'); \
                 INSERT INTO booked_seats SELECT sale_id, '0-1', id FROM bookings WHERE visitor_id = 'other'";
    let stranger = stranger(&stage, &other.replacen("{}", stage.sale.as_str(), 1)).await;
    let written = async {
        sleep(Duration::from_millis(1500)).await;
        stranger.batch_execute("COMMIT").await.unwrap();
    };
    let tries = one_each([&a, &b], &holders, &SEATS);
    let (answers, ()) = tokio::join!(stage.redeem_all(&tries), written);
    for (answer, seat) in answers.iter().zip(SEATS) {
        assert_eq!(answer.is_ok(), seat != 1, "{answers:?}");
    }
    assert_eq!(answers[1], Err(Refusal::SeatTaken(vec![1])));
    assert_eq!(stage.faults().await, Vec::<String>::new());
}

async fn a_pool_of_which_others_hold_all_answers_busy_and_does_not_hang() {
    let stage = Stage::shared(3, settings(0)).await;
    let (a, b) = (stage.instance(2).await, stage.instance(1).await);
    let holders = stage.holders(&a, 2).await;
    let held = (a.pool.get().await.unwrap(), a.pool.get().await.unwrap(), b.pool.get().await.unwrap());
    let started = Instant::now();
    let answers = stage.redeem_all(&one_each([&a, &b], &holders, &SEATS[..2])).await;
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::Busy)), "{answers:?}");
    // The commit's time and its outcome's.
    assert!(started.elapsed() < Duration::from_secs(60));
    drop(held);
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_connection_serves_a_whole_crowd() {
    let stage = Stage::shared(10, settings(0)).await;
    let (a, b) = (stage.instance(1).await, stage.instance(1).await);
    let holders = stage.holders(&a, 100).await;
    let seats: Vec<SeatIndex> = (0..100).collect();
    let answers = stage.redeem_all(&one_each([&a, &b], &holders, &seats)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_at_the_end_of_a_slow_line_sell_as_well() {
    let stage = Stage::shared(1, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 6).await;
    let lag = |ms| [&a.postgres, &a.redis].iter().for_each(|proxy| proxy.lag(Duration::from_millis(ms)));
    lag(40);
    let wishes: [&[SeatIndex]; 6] = [&[0, 1], &[1, 2], &[2, 3], &[3, 4], &[4, 5], &[5, 6]];
    let tries: Vec<_> =
        holders.iter().zip(wishes).enumerate().map(|(i, (h, w))| ([&a, &b][i % 2], h, w)).collect();
    let answers = stage.redeem_all(&tries).await;
    assert!(answers.iter().filter(|answer| answer.is_ok()).count() >= 2, "{answers:?}");
    lag(0);
    stage.assert_sold_right(&[&a, &b]).await;
}

async fn stores_that_stand_still_for_a_while_lose_nothing() {
    let freeze = async |freeze_redis: bool| {
        let stage = Stage::shared(3, settings(0)).await;
        let (a, b) = (stage.instance(4).await, stage.instance(4).await);
        let holders = stage.holders(&a, 6).await;
        let frozen = if freeze_redis { &a.redis } else { &a.postgres };
        frozen.freeze();
        let thaw = async {
            sleep(Duration::from_secs(5)).await;
            frozen.thaw();
        };
        let tries = one_each([&a, &b], &holders, &SEATS);
        let (answers, ()) = tokio::join!(stage.redeem_all(&tries), thaw);
        for (i, answer) in answers.iter().enumerate() {
            assert!(answer.is_ok() || i % 2 == 0 && *answer == Err(Refusal::Busy), "{answers:?}");
        }
        stage.assert_sold_right(&[&a, &b]).await;
    };
    tokio::join!(freeze(false), freeze(true));
}

/// A small disk of its own; gone with its owner.
struct Disk(tempfile::TempDir);

impl Disk {
    /// Nothing where this user may not mount.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "none"]);
        mount.arg(folder.path()).status().is_ok_and(|status| status.success()).then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn fill(&self) {
        // Ends with an error: that there is no space left.
        let _ = fs::write(self.0.path().join("ballast"), vec![1; 256 << 20]);
    }

    fn free(&self) {
        fs::remove_file(self.0.path().join("ballast")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still ends in it must not keep it.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_books_nothing_by_halves_and_all_once_there_is_room() {
    let Some(disk) = Disk::mount("160m") else {
        eprintln!("a full disk was not tried: this user may not mount one");
        return;
    };
    let world = World::shared();
    let redis = world.stores.redis_url();
    let mut postgres = Postgres::start_at(&disk.path().join("postgres")).unwrap();
    let stage = Stage::on(&postgres, &redis, 3, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 6).await;
    // No table can grow: each of them is still empty.
    disk.fill();
    let answers = stage.redeem_all(&one_each([&a, &b], &holders[..3], &SEATS[..3])).await;
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::Busy)), "{answers:?}");
    disk.free();
    stage.assert_sold_right(&[&a, &b]).await;
    // The log cannot grow: PostgreSQL ends itself.
    disk.fill();
    let client = connect::postgres_single(&stage.postgres_url).await.unwrap();
    while client.batch_execute("SELECT pg_switch_wal(), txid_current()").await.is_ok() {}
    let answers = stage.redeem_all(&one_each([&a, &b], &holders[3..], &SEATS[3..])).await;
    assert!(answers.iter().all(|answer| *answer == Err(Refusal::Busy)), "{answers:?}");
    disk.free();
    postgres.restart().unwrap();
    stage.assert_sold_right(&[&a, &b]).await;
}
