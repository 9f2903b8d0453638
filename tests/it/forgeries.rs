//! Tokens that are not what they say, by the thousand: mutated, foreign, of another kind, of somebody else. None opens anything.

use crate::world::{ADMIN_TOKEN, IDENTITY_KEY, Server, World};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use waitroom::limits::Bounds;
use wire::domain::{
    identity,
    ids::{GrantKey, SaleId, VisitorId},
    token::{Key, Keyring, Token},
};

/// Forgeries of each way in, in `make test` …
const FEW: usize = 300;
/// … and in `make forgeries`: over 100,000 in all.
const MANY: usize = 15_000;

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    /// Another text than `text`, made of it and of `others`; characters that a header may have.
    fn mutated(&mut self, text: &str, others: &[String]) -> String {
        const LETTERS: &[u8] = b"ABCDEFabcdef0123456789-_.=~ +/";
        loop {
            let mut bytes = text.as_bytes().to_vec();
            let at = self.below(bytes.len());
            match self.below(8) {
                0 => bytes[at] = LETTERS[self.below(LETTERS.len())],
                1 => bytes.insert(at, LETTERS[self.below(LETTERS.len())]),
                2 => drop(bytes.remove(at)),
                3 => bytes.truncate(at),
                4 => bytes.swap(at, (at + 1) % text.len()),
                5 => bytes = self.spliced(text, others),
                6 => bytes = self.said_otherwise(text),
                _ => bytes[at] ^= 1,
            }
            // What a header could not carry is tried without it.
            bytes.retain(|byte| (0x21..0x7f).contains(byte));
            let text = match String::from_utf8(bytes) {
                Ok(other) if other != text && !other.is_empty() => other,
                _ => continue,
            };
            return text;
        }
    }

    /// A part of it is another token's.
    fn spliced(&mut self, text: &str, others: &[String]) -> Vec<u8> {
        let mut parts: Vec<&str> = text.split('.').collect();
        let other: Vec<&str> = others[self.below(others.len())].split('.').collect();
        let at = self.below(parts.len());
        parts[at] = other[at % other.len()];
        parts.join(".").into_bytes()
    }

    /// What it says is changed, and signed as it was.
    fn said_otherwise(&mut self, text: &str) -> Vec<u8> {
        let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let at = self.below(2).min(parts.len() - 1);
        let said =
            BASE64.decode(&parts[at]).ok().and_then(|said| serde_json::from_slice::<Value>(&said).ok());
        let Some(Value::Object(mut said)) = said else { return text.as_bytes().to_vec() };
        let changes = [
            ("visitor", json!("admin")),
            ("sub", json!("admin")),
            ("seq", json!(1)),
            ("turn", json!(1)),
            ("alg", json!("none")),
            ("alg", json!("HS384")),
            ("exp", json!(9e12)),
            ("aud", json!("demo")),
            ("k", json!("place")),
            ("until", json!(9_000_000_000u64)),
        ];
        let (name, value) = &changes[self.below(changes.len())];
        said.insert((*name).to_owned(), value.clone());
        parts[at] = BASE64.encode(Value::Object(said).to_string());
        parts.join(".").into_bytes()
    }
}

/// A connection that is asked over and over.
struct Asker(TcpStream);

impl Asker {
    async fn new(server: &Server) -> Self {
        Self(TcpStream::connect(server.public).await.unwrap())
    }

    async fn ask(&mut self, method: &str, path: &str, header: &str, body: &str) -> (u16, String) {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        loop {
            let mut some = [0; 4096];
            let read = self.0.read(&mut some).await.unwrap();
            assert!(read > 0, "cut: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&some[..read]);
            let text = String::from_utf8_lossy(&answer).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return (head[9..12].parse().unwrap(), body.to_owned());
            }
        }
    }
}

/// A sale that asks for identities, and one who waits, one whose turn it is, with true tokens of each kind.
struct Stage {
    server: Server,
    sale: String,
    place: String,
    booking: String,
    cookie: String,
    identity: String,
    /// True ones too, but of another sale, another key, another visitor.
    foreign: Vec<String>,
    _holder: crate::world::Visitor,
}

fn identity_of(name: &str, sale: &str, key: &[u8]) -> String {
    identity::sign(key, name, sale, jiff::Timestamp::now().as_second() + 3600)
}

async fn stage() -> Stage {
    // All of them come as one visitor, more often than anyone may ask.
    let often = Bounds { messages_burst: 1e9, ..Bounds::default() };
    let server = Server::start_within(World::shared(), &[("identity_key", OTHER_SHOP)], often).await;
    let sale = server
        .sale(json!({ "anonymous": false, "max_active": 1, "grant_ttl_s": 3600, "claim_s": 3600 }))
        .await;
    server.open(&sale).await;
    let mut holder = server.connect(&sale).await;
    let identity = identity_of("kim", &sale, OTHER_SHOP.as_bytes());
    holder.say(json!({ "type": "join", "identity": identity })).await;
    let place = holder.hear("joined").await["place"].as_str().unwrap().to_owned();
    let booking = holder.hear("granted").await["token"].as_str().unwrap().to_owned();
    let id = SaleId::parse(&sale).unwrap();
    let (kim, lee) = (VisitorId::parse("kim").unwrap(), VisitorId::parse("lee").unwrap());
    let ours = || Key { kid: "k1".into(), secret: b"0123456789abcdef0123456789abcdef".to_vec() };
    let theirs = || Key { kid: "k1".into(), secret: b"fedcba9876543210fedcba9876543210".to_vec() };
    let (ring, other) = (Keyring::new(vec![ours()]).unwrap(), Keyring::new(vec![theirs()]).unwrap());
    let cookie = ring.sign(&Token::Visitor { sale: id.clone(), visitor: kim.clone(), until: None });
    let elsewhere = SaleId::parse("elsewhere").unwrap();
    let place_of = |sale: &SaleId, visitor: &VisitorId| Token::Place {
        sale: sale.clone(),
        visitor: visitor.clone(),
        seq: 1,
        epoch: 1,
        until: None,
    };
    let booking_of = |sale: &SaleId, visitor: &VisitorId| {
        let grant = GrantKey { seq: 1, turn: 0 };
        Token::Booking { sale: sale.clone(), visitor: visitor.clone(), grant }
    };
    let mut foreign = vec![
        ring.sign(&place_of(&elsewhere, &kim)),
        ring.sign(&booking_of(&elsewhere, &kim)),
        ring.sign(&booking_of(&id, &lee)),
        identity_of("kim", "elsewhere", OTHER_SHOP.as_bytes()),
        identity_of("kim", &sale, IDENTITY_KEY.as_bytes()),
        identity_of("kim", &sale, b"0123456789abcdef0123456789abcdef"),
        ADMIN_TOKEN.to_owned(),
    ];
    foreign.extend([place_of(&id, &kim), booking_of(&id, &kim)].map(|token| other.sign(&token)));
    Stage { server, sale, place, booking, cookie, identity, foreign, _holder: holder }
}

/// Not the one that signs places in these tests.
const OTHER_SHOP: &str = "another key of another shop, really";

/// The ways in over HTTP: nothing of what is not a true token of its kind is taken, and no place is drawn by it.
async fn over_http(count: usize) -> usize {
    let stage = stage().await;
    let Stage { server, sale, place, booking, cookie, identity, foreign, .. } = &stage;
    let (mut asker, mut dice, mut tried) = (Asker::new(server).await, Dice(1), 0);
    let places = format!("/v1/sales/{sale}/places");
    let (me, redeem) = (format!("{places}/me"), format!("{places}/me/redeem"));
    let kinds = [place, booking, cookie, identity].map(Clone::clone);
    let others = [kinds.to_vec(), foreign.clone()].concat();
    for n in 0..count {
        for (kind, text) in kinds.iter().enumerate() {
            // First each foreign one as it is, each of another kind too.
            let whole = others.get(n).filter(|other| *other != text).cloned();
            let forged = whole.unwrap_or_else(|| dice.mutated(text, &others));
            // It may happen to be another true one in its own right.
            let is_true = |kinds: &[&String]| kinds.iter().any(|one| **one == forged);
            let bearer = format!("Authorization: Bearer {forged}");
            let mut check = |(status, said): (u16, String), expected: &[u16]| {
                tried += 1;
                assert!(expected.contains(&status), "kind {kind}: {forged}: {status} {said}");
            };
            if !is_true(&[place, identity]) {
                check(asker.ask("POST", &places, &bearer, "").await, &[401]);
                check(asker.ask("GET", &me, &bearer, "").await, &[401, 404]);
            }
            if !is_true(&[cookie]) {
                let header = format!("Cookie: waitroom_visitor={forged}");
                check(asker.ask("POST", &places, &header, "").await, &[401]);
            }
            if !is_true(&[booking]) {
                let body = json!({ "request": "r", "token": forged, "seats": ["A-1"] }).to_string();
                let true_bearer = format!("Authorization: Bearer {place}");
                check(asker.ask("POST", &redeem, &true_bearer, &body).await, &[409]);
            }
        }
    }
    nothing_happened(&stage).await;
    let tried = tried;
    stage.server.stop().await;
    tried
}

/// The same over sockets.
async fn over_sockets(count: usize) -> usize {
    let stage = stage().await;
    let Stage { server, sale, place, booking, identity, foreign, .. } = &stage;
    let (mut dice, mut tried) = (Dice(2), 0);
    let kinds = [place, booking, identity].map(Clone::clone);
    let others = [kinds.to_vec(), foreign.clone(), vec![stage.cookie.clone()]].concat();
    for n in 0..count {
        for (field, own, text) in
            [("place", place, place), ("identity", identity, identity), ("place", place, booking)]
        {
            let whole = others.get(n).filter(|other| *other != own).cloned();
            let forged = whole.unwrap_or_else(|| dice.mutated(text, &others));
            if forged == *own {
                continue;
            }
            let mut visitor = server.connect(sale).await;
            visitor.say(json!({ "type": "join", field: forged })).await;
            let error = visitor.next().await;
            assert_eq!(error["code"], "identity_invalid", "{field} {forged}: {error}");
            assert_eq!(visitor.closed().await, 4401);
            tried += 1;
        }
    }
    nothing_happened(&stage).await;
    stage.server.stop().await;
    tried
}

/// One place was drawn, one turn is on, and no seat is gone.
async fn nothing_happened(stage: &Stage) {
    let shown = stage.server.show(&stage.sale).await;
    let numbers = ["waiting", "away", "granted", "booked", "admitted_total"].map(|name| shown[name].clone());
    assert_eq!(numbers, [json!(0), json!(0), json!(1), json!(0), json!(1)], "{shown}");
    assert_eq!((&shown["seats_left"], &shown["lapsed_total"]), (&json!(20), &json!(0)), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forgery_is_taken_over_http() {
    assert!(over_http(FEW).await > 10 * FEW);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_forgery_is_taken_over_a_socket() {
    assert!(over_sockets(FEW / 3).await > FEW / 2);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: make forgeries"]
async fn no_forgery_of_a_hundred_thousand_is_taken() {
    let (http, sockets) = tokio::join!(over_http(MANY), over_sockets(MANY));
    println!("{http} over HTTP and {sockets} over sockets");
    assert!(http + sockets > 100_000, "{http} {sockets}");
}

/// The tests above see a forgery that is taken: a true token that they are told is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_true_token_is_taken() {
    let stage = stage().await;
    let mut asker = Asker::new(&stage.server).await;
    let places = format!("/v1/sales/{}/places", stage.sale);
    for token in [&stage.place, &stage.identity] {
        let (status, said) = asker.ask("POST", &places, &format!("Authorization: Bearer {token}"), "").await;
        assert_eq!(status, 200, "{said}");
    }
    let cookie = format!("Cookie: waitroom_visitor={}", stage.cookie);
    assert_eq!(asker.ask("POST", &places, &cookie, "").await.0, 200);
    let body = json!({ "request": "r", "token": stage.booking, "seats": ["A-1"] }).to_string();
    let bearer = format!("Authorization: Bearer {}", stage.place);
    assert_eq!(asker.ask("POST", &format!("{places}/me/redeem"), &bearer, &body).await.0, 200);
    stage.server.stop().await;
}

/// What an identity gave does not outlive it for new places; the place that it drew does.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_has_expired_draws_no_new_place() {
    let server = Server::start().await;
    let sale = server.sale(json!({ "anonymous": false })).await;
    let places = format!("/v1/sales/{sale}/places");
    let (now, key) = (jiff::Timestamp::now().as_second(), IDENTITY_KEY.as_bytes());
    let brief = identity::sign(key, "kim", &sale, now + 4);
    let mut asker = Asker::new(&server).await;
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let (_, joined) = asker.ask("POST", &places, &bearer(&brief), "").await;
    let place = serde_json::from_str::<Value>(&joined).unwrap()["place"].as_str().unwrap().to_owned();
    let mut socket = server.connect(&sale).await;
    socket.say(json!({ "type": "join", "identity": brief })).await;
    socket.hear("joined").await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(asker.ask("POST", &places, &bearer(&brief), "").await.0, 401, "it has expired");
    assert_eq!(asker.ask("POST", &places, &bearer(&place), "").await.0, 200, "the place is his");
    socket.say(json!({ "type": "leave" })).await;
    socket.hear("lapsed").await;
    for body in ["", r#"{"again":true}"#] {
        let (status, said) = asker.ask("POST", &places, &bearer(&place), body).await;
        assert!(status == 401 && said.contains("still good"), "{status} {said}");
    }
    socket.say(json!({ "type": "join" })).await;
    assert_eq!(socket.hear("error").await["code"], "identity_invalid");
    assert_eq!(socket.closed().await, 4401);
    // With a fresh one, beside the old place or alone.
    let fresh = identity::sign(key, "kim", &sale, now + 3600);
    let mut socket = server.connect(&sale).await;
    socket.say(json!({ "type": "join", "identity": fresh, "place": place })).await;
    socket.hear("joined").await;
    socket.say(json!({ "type": "leave" })).await;
    socket.hear("lapsed").await;
    socket.say(json!({ "type": "join" })).await;
    socket.hear("joined").await;
    server.stop().await;
}

/// A sale that asks for identities from now on gives those who have none no new place; the one that they have stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_place_is_no_identity() {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    let (mut kim, joined) = server.join(&sale).await;
    server.patch(&sale, json!({ "anonymous": false })).await;
    let mut again = server.connect(&sale).await;
    again.say(json!({ "type": "join", "place": joined["place"] })).await;
    again.hear("joined").await;
    assert_eq!(kim.hear_past(&["error"], "error").await["code"], "replaced");
    again.say(json!({ "type": "leave" })).await;
    again.hear("lapsed").await;
    again.say(json!({ "type": "join" })).await;
    assert_eq!(again.hear("error").await["code"], "identity_invalid");
    // Nor can the shop make one of it, or he of the shop's.
    let visitor = joined["place"].as_str().unwrap().split('.').nth(1).unwrap();
    let said: Value = serde_json::from_slice(&BASE64.decode(visitor).unwrap()).unwrap();
    let mut posing = server.connect(&sale).await;
    let identity = identity_of(said["visitor"].as_str().unwrap(), &sale, IDENTITY_KEY.as_bytes());
    posing.say(json!({ "type": "join", "identity": identity })).await;
    let error = posing.hear("error").await;
    assert!(error["message"].as_str().unwrap().contains("sub begins"), "{error}");
    server.stop().await;
}
