//! Instances that stand still between the fence in Redis and the commit, for longer than the fence.

use crate::{
    proxy::{Then, Trap, When},
    serve::Process,
    stage::{Answer, Holder, Stage, settings},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{select, task::JoinHandle};
use wire::domain::refusal::Refusal;

/// A redeem on an instance of its own, which stands still as soon as `sql` comes by.
struct Paused {
    process: Arc<Process>,
    trap: Trap,
    answer: JoinHandle<Answer>,
}

impl Paused {
    /// None if the turn was over before it came to its statement.
    async fn at(
        process: Process,
        stage: &Arc<Stage>,
        (when, sql): (When, &'static str),
        holder: &Holder,
        seat: u32,
    ) -> Option<Self> {
        let process = Arc::new(process);
        let mut trap = process.postgres.trap(when, sql, Then::Hold);
        let mut answer = tokio::spawn({
            let (process, stage, holder) = (process.clone(), stage.clone(), holder.clone());
            async move { process.redeem(&stage, &holder, &[seat]).await }
        });
        select! {
            () = trap.sprung() => {}
            early = &mut answer => {
                assert_eq!(early.unwrap(), Err(Refusal::TokenExpired));
                return None;
            }
        }
        process.pause();
        Some(Self { process, trap, answer })
    }

    /// What was on its way to PostgreSQL arrives, and the instance wakes up.
    async fn go_on(self) -> Answer {
        self.trap.release();
        self.process.go_on();
        self.answer.await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_paused_for_longer_than_its_fence_neither_books_late_nor_forgets() {
    for _ in 0..5 {
        if paused_for_longer_than_its_fence().await.is_some() {
            return;
        }
    }
    panic!("this machine is too slow for three redeems within a turn");
}

async fn paused_for_longer_than_its_fence() -> Option<()> {
    // A turn that ends before the fences do.
    let brief = wire::domain::sale::SaleSettings { grant_ttl_s: 9, claim_s: 9, ..settings(0) };
    let stage = Arc::new(Stage::shared(3, brief).await);
    let awake = stage.instance(4).await;
    let [a, b, c] =
        [Process::start(&stage).await, Process::start(&stage).await, Process::start(&stage).await];
    let holders = stage.holders(&awake, 3).await;
    let started = Instant::now();
    let (unsent, uncommitted, committed) = tokio::join!(
        Paused::at(a, &stage, (When::Before, "bookings ("), &holders[0], 0),
        Paused::at(b, &stage, (When::Before, "COMMIT"), &holders[1], 1),
        Paused::at(c, &stage, (When::After, "COMMIT"), &holders[2], 2),
    );
    let (unsent, uncommitted, committed) = (unsent?, uncommitted?, committed?);
    // What is committed is so for everyone.
    assert!(stage.redeem(&awake, &holders[2], &[2]).await.is_ok());
    // What is not stays open for as long as the fence stands; then it is over.
    for (holder, seat) in holders.iter().zip([0, 1]) {
        assert_eq!(stage.redeem(&awake, holder, &[seat]).await, Err(Refusal::Busy));
    }
    for (holder, seat) in holders.iter().zip([0, 1]) {
        assert_eq!(stage.redeem_surely(&awake, holder, &[seat]).await, Err(Refusal::TokenExpired));
    }
    assert!(started.elapsed() > Duration::from_secs(10));
    let buyers = stage.holders(&awake, 2).await;
    for (buyer, seat) in buyers.iter().zip([0, 1]) {
        assert!(stage.redeem_surely(&awake, buyer, &[seat]).await.is_ok());
    }
    let late = [unsent.go_on().await, uncommitted.go_on().await];
    assert!(late.iter().all(Result::is_err), "{late:?}");
    let told = committed.go_on().await;
    assert!(matches!(told, Ok(_) | Err(Refusal::Busy)), "{told:?}");
    stage.assert_sold_right(&[&awake]).await;
    Some(())
}
