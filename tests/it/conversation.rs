//! The contract's conversation, from the line to the booking.

use crate::world::Server;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn from_the_line_to_a_booking() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let (mut kim, joined) = server.join(&sale).await;
    assert_eq!(
        (&joined["state"], &joined["rank"], &joined["phase"]),
        (&json!("waiting"), &json!(0), &json!("scheduled"))
    );
    let (mut lee, joined) = server.join(&sale).await;
    assert_eq!((&joined["rank"], &joined["total"]), (&json!(1), &json!(2)));
    server.open(&sale).await;
    let granted = kim.hear("granted").await;
    kim.say(json!({ "type": "seats" })).await;
    assert_eq!(kim.hear("seat_map").await["taken"], "AAAA");
    kim.say(json!({ "type": "redeem", "request": "r1", "token": granted["token"], "seats": ["A-2", "A-1"] }))
        .await;
    let booking = kim.hear("booking").await;
    assert_eq!(booking["seats"], json!(["A-1", "A-2"]));
    assert_eq!(
        (&booking["status"], &booking["together"], &booking["request"]),
        (&json!("confirmed"), &json!(true), &json!("r1"))
    );

    let granted = lee.hear("granted").await;
    lee.say(json!({ "type": "redeem", "request": "r1", "token": granted["token"], "seats": ["A-2", "A-3"] }))
        .await;
    let refused = lee.hear("refused").await;
    assert_eq!(
        (&refused["reason"], &refused["seats"], &refused["retry"]),
        (&json!("seat_taken"), &json!(["A-2"]), &json!(true))
    );
    lee.say(json!({ "type": "redeem", "request": "r2", "token": granted["token"], "best": { "count": 2, "together": true } })).await;
    assert_eq!(lee.hear("booking").await["seats"], json!(["A-5", "A-6"]));

    // The page is reloaded: the place token says who this is.
    let mut again = server.connect(&sale).await;
    again.say(json!({ "type": "join", "place": joined["place"] })).await;
    let rejoined = again.hear("joined").await;
    assert_eq!((&rejoined["state"], &rejoined["place"]), (&json!("booked"), &json!(null)));
    assert_eq!(again.hear("booking").await["seats"], json!(["A-5", "A-6"]));
    assert_eq!(lee.next().await["code"], "replaced");
    assert_eq!(lee.closed().await, 4409);
    let shown = server.show(&sale).await;
    assert_eq!((&shown["seats_left"], &shown["booked"]), (&json!(16), &json!(2)), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_gets_its_old_booking_and_leaves_the_new_turn_alone() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let (mut kim, _) = server.join(&sale).await;
    let old = kim.hear("granted").await["token"].clone();
    kim.say(json!({ "type": "redeem", "request": "r1", "token": old, "seats": ["A-1"] })).await;
    let first = kim.hear("booking").await["booking"].clone();
    kim.say(json!({ "type": "join", "again": true })).await;
    kim.hear("joined").await;
    let granted = kim.hear("granted").await;
    assert_eq!(granted["max_seats"], 3, "what is left of four");
    kim.say(json!({ "type": "redeem", "request": "r2", "token": old, "seats": ["B-1"] })).await;
    assert_eq!(kim.hear("booking").await["booking"], first);
    // The new turn still looks at seats, each version once, and books.
    kim.say(json!({ "type": "seats" })).await;
    let version = kim.hear("seat_map").await["version"].as_u64().unwrap();
    let (mut lee, _) = server.join(&sale).await;
    let token = lee.hear("granted").await["token"].clone();
    lee.say(json!({ "type": "redeem", "request": "r1", "token": token, "seats": ["A-2"] })).await;
    kim.say(json!({ "type": "seats" })).await;
    lee.hear("booking").await;
    let (mut last, mut heard) = (version, 0);
    while heard < 2 {
        kim.say(json!({ "type": "seats" })).await;
        let message = kim.next().await;
        match message["type"].as_str().unwrap() {
            "seat_map" => (last, heard) = (message["version"].as_u64().unwrap(), heard + 1),
            "seats_changed" => {
                assert_eq!(message["version"], last + 1, "rises by one from message to message");
                last += 1;
            }
            _ => {}
        }
    }
    kim.say(json!({ "type": "redeem", "request": "r3", "token": granted["token"], "seats": ["A-3"] })).await;
    loop {
        let message = kim.next().await;
        if message["type"] == "booking" {
            assert_ne!(message["booking"], first);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_after_the_close_is_told_and_closed() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let (kim, joined) = server.join(&sale).await;
    let mut late = server.connect(&sale).await;
    drop(kim);
    server.patch(&sale, json!({ "phase": "closed" })).await;
    late.say(json!({ "type": "join", "place": joined["place"] })).await;
    assert_eq!(late.hear("joined").await["phase"], "closed");
    assert_eq!(late.next().await["code"], "sale_closed");
    assert_eq!(late.closed().await, 4410);
}
