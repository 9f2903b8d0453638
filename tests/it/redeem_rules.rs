//! What a try to book is answered when PostgreSQL would not have it, or says nothing.

use crate::{
    seat_map::granted,
    world::{Server, Visitor, World},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;
use waitroom::store::postgres::connect::postgres_single;

async fn redeem(visitor: &mut Visitor, token: &str, seat: &str) -> Value {
    visitor.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": [seat] })).await;
    loop {
        let message = visitor.next().await;
        assert!(message["type"] != "lapsed" && message["reason"] != "token_expired", "{message}");
        if ["booking", "refused"].iter().any(|kind| message["type"] == *kind) {
            return message;
        }
    }
}

/// A try that is known to have come to nothing keeps the visitor from nothing: not from another try, nor from his turn.
#[tokio::test(flavor = "multi_thread")]
async fn who_could_not_book_keeps_his_turn_and_may_try_again() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let (mut kim, token) = granted(&server, &sale).await;
    let client = postgres_single(&world.postgres.url()).await.unwrap();
    let planted = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''planted''; END'; \
                   CREATE TRIGGER refuse BEFORE INSERT ON bookings FOR EACH ROW WHEN (NEW.status <> 'void') \
                   EXECUTE FUNCTION refuse()";
    client.batch_execute(planted).await.unwrap();
    let refused = redeem(&mut kim, &token, "A-1").await;
    assert_eq!((&refused["reason"], &refused["retry"]), (&json!("busy"), &json!(true)), "{refused}");
    client.batch_execute("DROP TRIGGER refuse ON bookings").await.unwrap();
    // Nobody has to settle it first, which would end the turn.
    let fences = redis::cmd("ZCARD").arg(format!("waitroom:{{{sale}}}:fences")).to_owned();
    let mut redis = world.connect_redis().await;
    while fences.query_async::<u64>(&mut redis).await.unwrap() > 0 {
        sleep(Duration::from_millis(50)).await;
    }
    while redeem(&mut kim, &token, "A-1").await["type"] != "booking" {
        sleep(Duration::from_millis(100)).await;
    }
    server.stop().await;
}

/// His grant may have booked the very seat that he wants: while PostgreSQL does not say, nobody tells him that it is taken.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_refused_for_good_before_postgresql_was_asked_what_his_grant_booked() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let (mut kim, of_kim) = granted(&server, &sale).await;
    let (mut lee, of_lee) = granted(&server, &sale).await;
    assert_eq!(redeem(&mut kim, &of_kim, "A-1").await["type"], "booking");
    let client = postgres_single(&world.postgres.url()).await.unwrap();
    client.batch_execute("ALTER TABLE bookings RENAME together TO hidden").await.unwrap();
    for (visitor, token) in [(&mut kim, &of_kim), (&mut lee, &of_lee)] {
        assert_eq!(redeem(visitor, token, "A-1").await["reason"], "busy");
    }
    client.batch_execute("ALTER TABLE bookings RENAME hidden TO together").await.unwrap();
    assert_eq!(redeem(&mut kim, &of_kim, "A-1").await["type"], "booking");
    assert_eq!(redeem(&mut lee, &of_lee, "A-1").await["reason"], "seat_taken");
    server.stop().await;
}
