//! Instances and a shop's back end that die while holds run: others take over, and each hold ends once.

use crate::{
    holds::confirmed,
    proxy::{Then, When},
    serve::Process,
    stage::{Stage, settings},
};
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread")]
async fn holds_of_a_killed_instance_end_or_are_paid_on_another() {
    let stage = Stage::shared(1, settings(4)).await;
    let awake = stage.instance(4).await;
    let mut dying = Process::start(&stage).await;
    let holders = stage.holders(&awake, 3).await;
    let mut bookings = Vec::new();
    for (holder, seat) in holders.iter().zip(0..) {
        bookings.push(dying.redeem(&stage, holder, &[seat]).await.unwrap());
    }
    assert_eq!(dying.confirm(&bookings[2]).await, (200, "confirmed".to_owned()));
    dying.kill();
    assert!(confirmed(&awake, &bookings[0]).await);
    stage.until_released(&bookings[1..2]).await;
    for (booking, [told, untold]) in
        bookings.iter().zip([["confirmed", "released"], ["released", "confirmed"], ["confirmed", "released"]])
    {
        stage.assert_told(booking, told).await;
        assert_eq!(stage.told(booking, untold).await, 0);
    }
    stage.assert_sold_right(&[&awake]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dying_instance_told_nobody_is_found_by_another() {
    // Long enough that no hold ends before the traps below wait for it, on however slow a machine.
    let stage = Stage::shared(1, settings(15)).await;
    let mut paying = Process::start(&stage).await;
    let mut ending = Process::start(&stage).await;
    let seller = stage.instance(4).await;
    let holders = stage.holders(&seller, 2).await;
    let bookings = stage.hold(&[&seller], &holders).await;
    drop(seller);
    // One dies after a payment was committed, the other after a hold was ended: neither has told it.
    let mut trap = paying.postgres.trap(When::After, "COMMIT", Then::Hold);
    let shop = paying.confirm_and_hang_up(&bookings[0]);
    trap.sprung().await;
    let ends = [&paying, &ending].map(|process| process.postgres.trap(When::After, "WITH due", Then::Hold));
    stage.until_released(&bookings[1..]).await;
    paying.kill();
    ending.kill();
    drop((ends, shop));
    // Before there is an heir, who tells it as soon as he can.
    assert_eq!(
        (stage.told(&bookings[1], "released").await, stage.status(&bookings[0]).await.as_str()),
        (0, "confirmed")
    );
    let heir = stage.instance(4).await;
    // The shop repeats what nobody answered.
    assert!(confirmed(&heir, &bookings[0]).await);
    stage.assert_map_agrees(&[&heir]).await;
    // Their visitors hear of it too.
    for (booking, status) in bookings.iter().zip(["confirmed", "released"]) {
        stage.assert_told(booking, status).await;
    }
    stage.assert_sold_right(&[&heir]).await;
    let rival = stage.holders(&heir, 1).await.remove(0);
    assert!(stage.redeem(&heir, &rival, &[1]).await.is_ok());
    stage.assert_sold_right(&[&heir]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_outlive_all_instances_and_the_line_too() {
    let outlive = async |line_lost: bool| {
        let stage = Stage::shared(1, settings(4)).await;
        let mut first = Process::start(&stage).await;
        let seller = stage.instance(4).await;
        let holders = stage.holders(&seller, 3).await;
        let bookings = stage.hold(&[&seller], &holders).await;
        drop(seller);
        first.kill();
        if line_lost {
            let keys: Vec<String> = stage.redis(&["KEYS", &stage.key("*")]).await;
            for key in keys {
                let _: i64 = stage.redis(&["DEL", &key]).await;
            }
        }
        let second = stage.instance(4).await;
        assert_eq!(second.room.line.counts().await.unwrap().held, 3, "they run on");
        assert!(confirmed(&second, &bookings[0]).await);
        stage.until_released(&bookings[1..]).await;
        stage.assert_told(&bookings[0], "confirmed").await;
        stage.assert_sold_right(&[&second]).await;
    };
    tokio::join!(outlive(false), outlive(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_that_dies_before_its_answer_and_asks_again_has_paid_once() {
    let stage = Stage::shared(1, settings(60)).await;
    let (a, b) = (Process::start(&stage).await, Process::start(&stage).await);
    let seller = stage.instance(4).await;
    let holders = stage.holders(&seller, 2).await;
    let bookings = stage.hold(&[&seller], &holders).await;
    for (when, booking) in [When::Before, When::After].into_iter().zip(&bookings) {
        let mut trap = a.postgres.trap(when, "COMMIT", Then::Hold);
        let shop = a.confirm_and_hang_up(booking);
        trap.sprung().await;
        drop(shop);
        sleep(Duration::from_millis(200)).await;
        trap.release();
        for process in [&b, &a] {
            assert_eq!(process.confirm(booking).await, (200, "confirmed".to_owned()));
        }
        stage.assert_told(booking, "confirmed").await;
    }
    stage.assert_sold_right(&[&seller]).await;
}
