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
    assert_eq!(lee.hear("booking").await["seats"], json!(["A-3", "A-4"]));

    // The page is reloaded: the place token says who this is.
    let mut again = server.connect(&sale).await;
    again.say(json!({ "type": "join", "place": joined["place"] })).await;
    let rejoined = again.hear("joined").await;
    assert_eq!((&rejoined["state"], &rejoined["place"]), (&json!("booked"), &json!(null)));
    assert_eq!(again.hear("booking").await["seats"], json!(["A-3", "A-4"]));
    assert_eq!(lee.next().await["code"], "replaced");
    assert_eq!(lee.closed().await, 4409);
    let shown = server.show(&sale).await;
    assert_eq!((&shown["seats_left"], &shown["booked"]), (&json!(16), &json!(2)), "{shown}");
}
