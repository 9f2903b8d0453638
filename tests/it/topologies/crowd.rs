//! Visitors who come in while Redis fails, and what became of the places that they were told.

use crate::{nodes::PATIENCE, world::Server};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// A place that was acknowledged.
pub struct Told {
    pub token: String,
}

/// One more visitor; what he was told.
pub async fn comes(server: &Server, sale: &str) -> Option<Told> {
    let (status, answer) = server.public("POST", &format!("/v1/sales/{sale}/places"), &[]).await;
    let token = answer["place"].as_str().filter(|_| status == 201)?;
    Some(Told { token: token.to_owned() })
}

/// So many, one after another; all are told a place.
pub async fn come(server: &Server, sale: &str, count: usize) -> Vec<Told> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(comes(server, sale).await.expect("a place"));
    }
    told
}

/// Comes until there is a place. How soon that must be, `make chaos` says: here the machine may be busy.
pub async fn until_served(server: &Server, sale: &str) {
    let served = async {
        while comes(server, sale).await.is_none() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, served).await.expect("nobody is served any more");
}

/// Waits until these places are on record, as their receipts tell.
pub async fn journaled(server: &Server, sale: &str, told: &[Told]) {
    for Told { token } in told {
        let on_record = async {
            while asked(server, sale, "/receipt", token).await.0 != 200 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, on_record).await.expect("a place is never on record");
    }
}

/// How many of these places the line does not know. Asking brings none back.
pub async fn lost(server: &Server, sale: &str, told: &[Told]) -> usize {
    let mut lost = 0;
    for Told { token } in told {
        let known = async {
            loop {
                // Each connection is found anew by itself.
                match asked(server, sale, "", token).await {
                    (503, _) => sleep(Duration::from_millis(50)).await,
                    (200, _) => return true,
                    (404, _) => return false,
                    other => panic!("{other:?}"),
                }
            }
        };
        lost += usize::from(!timeout(PATIENCE, known).await.expect("nobody can ask any more"));
    }
    lost
}

/// What a place's owner hears of it.
async fn asked(server: &Server, sale: &str, of_it: &str, token: &str) -> (u16, Value) {
    let bearer = format!("Bearer {token}");
    let path = format!("/v1/sales/{sale}/places/me{of_it}");
    server.public("GET", &path, &[("Authorization", &bearer)]).await
}

/// A visitor is admitted and books: everything of a sale works, perhaps not at once.
pub async fn sells(server: &Server, sale: &str, seat: &str) {
    let (mut kim, _) = server.join(sale).await;
    let mut token = kim.hear_past(&["joined"], "granted").await["token"].clone();
    loop {
        kim.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": [seat] })).await;
        loop {
            let said = kim.next().await;
            match said["type"].as_str() {
                Some("booking") => return,
                Some("granted") => token = said["token"].clone(),
                Some("refused") => {
                    assert_eq!(said["reason"], "busy", "{said}");
                    sleep(Duration::from_millis(100)).await;
                    break;
                }
                _ => assert!(said.get("close").is_none(), "{said}"),
            }
        }
    }
}
