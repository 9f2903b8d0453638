//! The commit of a batch, broken at each of its steps.

use crate::{
    proxy::{Then, When},
    stage::{Answer, Holder, Instance, Stage, World, settings},
};
use rustix::process::{Pid, Signal, kill_process};
use std::time::{Duration, Instant};
use tokio::time::sleep;
use waitroom::store::postgres::connect;
use wire::domain::{audit::Actor, plan::SeatIndex, refusal::Refusal};

/// Eight visitors on two instances for seats 0 to 5: 0 and 5 are each wanted twice.
fn tries<'a>(
    a: &'a Instance,
    b: &'a Instance,
    holders: &'a [Holder],
) -> Vec<(&'a Instance, &'a Holder, &'a [SeatIndex])> {
    let wishes: [&[SeatIndex]; 8] = [&[0], &[1, 2], &[3], &[4, 5], &[10, 11], &[5], &[0], &[12]];
    let instances = [a, a, a, a, a, a, b, b];
    instances.into_iter().zip(holders).zip(wishes).map(|((i, h), w)| (i, h, w)).collect()
}

fn busy(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| **answer == Err(Refusal::Busy)).count()
}

async fn cut(when: When, sql: &'static str) -> Vec<Answer> {
    let stage = Stage::shared(3, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 8).await;
    let mut trap = a.postgres.trap(when, sql, Then::Cut);
    let answers = stage.redeem_all(&tries(&a, &b, &holders)).await;
    trap.sprung().await;
    stage.assert_sold_right(&[&a, &b]).await;
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_before_the_commit_books_nothing_by_it() {
    for sql in ["bookings (", "COMMIT"] {
        let answers = cut(When::Before, sql).await;
        assert!(busy(&answers) > 0, "{answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_after_the_commit_is_answered_with_what_was_booked() {
    let answers = cut(When::After, "COMMIT").await;
    // Who has lost a seat to the other instance may be asked to try again.
    for lucky in [1, 2, 3, 4, 7] {
        assert!(answers[lucky].is_ok(), "{lucky}: {answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_during_the_commit_is_answered_either_way() {
    cut(When::During, "COMMIT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_out_of_reach_around_the_commit_leaves_the_answer_open_until_it_is_back() {
    for when in [When::Before, When::After] {
        let stage = Stage::shared(3, settings(0)).await;
        let (a, b) = (stage.instance(4).await, stage.instance(4).await);
        let holders = stage.holders(&a, 8).await;
        let mut trap = a.postgres.trap(when, "COMMIT", Then::Hold);
        let fault = async {
            trap.sprung().await;
            a.postgres.sever();
        };
        let all = tries(&a, &b, &holders);
        let (answers, ()) = tokio::join!(stage.redeem_all(&all), fault);
        assert!(busy(&answers) > 0, "{answers:?}");
        // Meanwhile the other instance says nothing else: the fence stands.
        for (_, holder, wish) in all.iter().filter(|(on, ..)| std::ptr::eq(*on, &a)) {
            let elsewhere = stage.redeem(&b, holder, wish).await;
            assert!(matches!(elsewhere, Ok(_) | Err(Refusal::Busy | Refusal::SeatTaken(_))), "{elsewhere:?}");
        }
        a.postgres.heal();
        stage.assert_sold_right(&[&a, &b]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_killed_before_during_and_after_the_commit_comes_back_with_the_truth() {
    let mut world = World::mortal().await;
    for when in [When::Before, When::During, When::After] {
        let stage = Stage::on(&world.stores.postgres, &world.stores.redis_url(), 3, settings(0)).await;
        let (a, b) = (stage.instance(4).await, stage.instance(4).await);
        let holders = stage.holders(&a, 8).await;
        let mut trap = a.postgres.trap(when, "COMMIT", Then::Hold);
        let fault = async {
            trap.sprung().await;
            world.stores.postgres.kill();
            trap.release();
            sleep(Duration::from_millis(300)).await;
            world.stores.postgres.restart().unwrap();
        };
        let all = tries(&a, &b, &holders);
        let (answers, ()) = tokio::join!(stage.redeem_all(&all), fault);
        stage.assert_sold_right(&[&a, &b]).await;
        assert!(when == When::During || busy(&answers) > 0, "{when:?}: {answers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_killed_in_a_transaction_takes_nothing_with_it() {
    let world = World::mortal().await;
    let stage = Stage::on(&world.stores.postgres, &world.stores.redis_url(), 3, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 8).await;
    let mut trap = a.postgres.trap(When::Before, "COMMIT", Then::Hold);
    let fault = async {
        trap.sprung().await;
        let client = connect::postgres_single(&stage.postgres_url).await.unwrap();
        let query = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                     AND state = 'idle in transaction'";
        for row in client.query(query, &[]).await.unwrap() {
            // All others lose their connections too, and PostgreSQL replays its log.
            kill_process(Pid::from_raw(row.get(0)).unwrap(), Signal::KILL).unwrap();
        }
    };
    let all = tries(&a, &b, &holders);
    let (answers, ()) = tokio::join!(stage.redeem_all(&all), fault);
    assert!(busy(&answers) > 0, "{answers:?}");
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_out_of_reach_after_the_commit_hears_of_it_later() {
    let stage = Stage::shared(3, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 8).await;
    let mut trap = a.postgres.trap(When::After, "COMMIT", Then::Hold);
    let fault = async {
        trap.sprung().await;
        a.redis.sever();
        trap.release();
    };
    // Those that nobody else wants.
    let all = &tries(&a, &b, &holders)[1..4];
    let (answers, ()) = tokio::join!(stage.redeem_all(all), fault);
    assert!(answers[0].is_ok(), "what PostgreSQL has is answered without Redis: {answers:?}");
    a.redis.heal();
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seat_lost_to_another_and_freed_before_that_is_heard_is_free_here_too() {
    let stage = Stage::shared(1, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 2).await;
    let mut before = a.postgres.trap(When::Before, "booked_seats (", Then::Hold);
    let mut after = a.postgres.trap(When::After, "COMMIT", Then::Hold);
    let winner = async {
        before.sprung().await;
        let won = stage.redeem(&b, &holders[1], &[0]).await.unwrap();
        before.release();
        after.sprung().await;
        b.room.seats.release(won.id, &Actor::admin()).await.unwrap();
        // Both instances hear of that, and then A that it has lost.
        sleep(Duration::from_millis(300)).await;
        after.release();
    };
    let (lost, ()) = tokio::join!(stage.redeem(&a, &holders[0], &[0]), winner);
    assert_eq!(lost, Err(Refusal::SeatTaken(vec![0])));
    stage.assert_map_agrees(&[&a, &b]).await;
    assert!(stage.redeem_surely(&a, &holders[0], &[0]).await.is_ok());
    stage.assert_sold_right(&[&a, &b]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_an_outcome_that_gets_no_answer_is_given_up() {
    let stage = Stage::shared(1, settings(0)).await;
    let (a, b) = (stage.instance(4).await, stage.instance(4).await);
    let holders = stage.holders(&a, 1).await;
    let committed = a.postgres.trap(When::After, "COMMIT", Then::Cut);
    let asked = a.postgres.trap(When::Before, "WHERE grant_id = ANY", Then::Hold);
    let started = Instant::now();
    let answer = stage.redeem(&a, &holders[0], &[0]).await;
    assert!(started.elapsed() < Duration::from_secs(60), "{answer:?}");
    drop((committed, asked));
    assert!(stage.redeem_surely(&a, &holders[0], &[0]).await.is_ok());
    stage.assert_sold_right(&[&a, &b]).await;
}
