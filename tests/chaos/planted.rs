//! The proof itself: what is planted is found.

use crate::stage::{Answered, Stage, settings};
use uuid::Uuid;
use wire::domain::{plan::SeatIndex, refusal::Refusal};

/// Changes the tables behind the back of the triggers that would refuse it.
async fn tamper(stage: &Stage, sql: &str) {
    stage.sql(&format!("SET session_replication_role = replica; {sql}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_faults_are_found() {
    let stage = Stage::shared(2, settings(0)).await;
    let instance = stage.instance(4).await;
    let holders = stage.holders(&instance, 6).await;
    let mut bookings = Vec::new();
    for (holder, seat) in holders.iter().zip(0 as SeatIndex..) {
        bookings.push(stage.redeem(&instance, holder, &[seat]).await.unwrap());
    }
    stage.assert_sold_right(&[&instance]).await;
    let plant = async |sql: &str, index: usize| {
        let id = bookings[index].id;
        tamper(&stage, &sql.replace("{id}", &format!("'{id}'"))).await;
    };
    plant("DELETE FROM bookings WHERE id = {id}", 0).await;
    stage.assert_sold_wrong("answered, and not in the table").await;
    stage.assert_sold_wrong("seat 0-0 is kept by nobody").await;
    plant("DELETE FROM booked_seats WHERE booking_id = {id}", 1).await;
    stage.assert_sold_wrong(r#"a booking of {"0-1"} keeps {}"#).await;
    plant("UPDATE bookings SET status = 'released' WHERE id = {id}", 2).await;
    stage.assert_sold_wrong("seat 0-2 is kept by nobody").await;
    plant("UPDATE bookings SET seats = '{0-4}' WHERE id = {id}", 3).await;
    stage.assert_sold_wrong("seat 0-4 was sold 2 times").await;
    let say = |index: usize, answer| {
        let answered = Answered { holder: holders[index].clone(), wish: vec![index as SeatIndex], answer };
        stage.answers.lock().unwrap().push(answered);
    };
    say(4, Ok(wire::domain::booking::Booking { id: Uuid::nil(), ..bookings[4].clone() }));
    stage.assert_sold_wrong("two bookings were answered").await;
    say(5, Err(Refusal::TokenExpired));
    stage.assert_sold_wrong("a booking was told, and then token_expired").await;
    stage.assert_sold_wrong("its end was told, and it has a booking").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn planted_differences_are_found() {
    let stage = Stage::shared(1, settings(0)).await;
    let instance = stage.instance(4).await;
    let holder = stage.holders(&instance, 1).await.remove(0);
    assert!(stage.redeem(&instance, &holder, &[0]).await.is_ok());
    stage.assert_sold_right(&[&instance]).await;
    let _: i64 = stage.redis(&["SETBIT", &stage.key("booked"), "5", "1"]).await;
    let _: i64 = stage.redis(&["SADD", &stage.key("held"), "someone"]).await;
    let _: i64 = stage.redis(&["ZADD", &stage.key("fences"), "1", "someone"]).await;
    let place = format!("g:{}:0:0", holder.grant.seq);
    let _: i64 = stage.redis(&["HSET", &stage.key("places"), holder.visitor.as_str(), &place]).await;
    tamper(&stage, "UPDATE booked_seats SET seat_id = '0-7'").await;
    let found = stage.differences(&[&instance]).await.join("\n");
    for difference in
        ["the line's seats", "the line's holds", "1 fences", "1 grants have booked", "instance 0 shows"]
    {
        assert!(found.contains(difference), "{difference}: {found}");
    }
}
