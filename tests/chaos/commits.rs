//! The commit of a batch, broken at each of its steps.

use crate::{
    proxy::{Then, When},
    stage::{Answer, Holder, Instance, Stage, settings},
};
use waitroom::domain::{plan::SeatIndex, refusal::Refusal};

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
    for sql in ["COPY bookings", "COMMIT"] {
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
