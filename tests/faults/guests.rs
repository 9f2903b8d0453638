//! Visitors over HTTP, one after another, who come, perhaps go, and do not look after their places.

use crate::{
    instance::SECRET,
    proof,
    stage::{SALE, Stage},
    told::Told,
};
use load::history::{Entry, Event};
use serde_json::Value;
use std::time::Duration;
use wire::{
    domain::{
        phase::Phase,
        place::LapseReason,
        token::{Key, Keyring, Token},
    },
    protocol::server::PlaceState,
};

/// All who came.
#[derive(Default)]
pub struct Guests {
    /// Their tokens and ids.
    known: Vec<(String, String)>,
    told: Told,
}

impl Guests {
    /// So many come; how many were told a place.
    pub async fn come(&mut self, url: &str, count: usize) -> usize {
        let before = self.known.len();
        for _ in 0..count {
            let number = self.known.len();
            if let Some(said) = call("POST", format!("{url}/v1/sales/{SALE}/places"), None).await {
                self.hear(number, &said);
            }
        }
        self.known.len() - before
    }

    /// One of them gives his place up.
    pub async fn leave(&mut self, url: &str, guest: usize) {
        let token = self.known[guest].0.clone();
        call("DELETE", format!("{url}/v1/sales/{SALE}/places/me"), Some(token)).await.unwrap();
        self.told.take(&Entry(0, guest as u32, 1, Event::Lapsed(LapseReason::Left)));
    }

    /// One of them comes with the token that he has.
    pub async fn come_back(&mut self, url: &str, guest: usize) {
        let token = self.known[guest].0.clone();
        let said = call("POST", format!("{url}/v1/sales/{SALE}/places"), Some(token)).await.unwrap();
        self.hear(guest, &said);
    }

    pub fn visitor(&self, guest: usize) -> String {
        self.known[guest].1.clone()
    }

    pub async fn lost(&self, stage: &Stage) -> Vec<String> {
        self.told.lost(&proof::records(stage).await, &proof::bookings(stage).await)
    }

    fn hear(&mut self, guest: usize, said: &Value) {
        let keys = Keyring::new(vec![Key { kid: "k1".into(), secret: SECRET.into() }]).unwrap();
        let token = said["place"].as_str().unwrap();
        let Some(Token::Place { visitor, seq, epoch, .. }) = keys.verify(token) else { panic!("{said}") };
        let visitor = visitor.as_str().to_owned();
        if guest == self.known.len() {
            self.known.push((token.to_owned(), visitor.clone()));
        }
        let joined = Event::Joined {
            visitor: Some(visitor),
            seq: Some(seq),
            epoch,
            state: PlaceState::Waiting,
            rank: 0,
            total: 0,
            phase: Phase::Scheduled,
        };
        self.told.take(&Entry(0, guest as u32, 1, joined));
    }
}

/// What is answered; nothing if it is not served.
async fn call(method: &'static str, url: String, token: Option<String>) -> Option<Value> {
    let call = move || {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(8)));
        let agent: ureq::Agent = config.build().into();
        let bearer = token.map(|token| format!("Bearer {token}")).unwrap_or_default();
        let mut response = match method {
            "DELETE" => agent.delete(&url).header("Authorization", bearer).call(),
            _ if bearer.is_empty() => agent.post(&url).send_empty(),
            _ => agent.post(&url).header("Authorization", bearer).send_empty(),
        }
        .ok()?;
        Some(response.body_mut().read_json().unwrap_or(Value::Null))
    };
    tokio::task::spawn_blocking(call).await.unwrap()
}
