//! Limits on who comes without proof, and on who asks too much; each one switched off as well, and then the attack that it is
//! there against succeeds.

use crate::world::{IDENTITY_KEY, Server, Visitor, World};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{interval, sleep, timeout},
};
use waitroom::limits::Bounds;
use wire::domain::{
    identity,
    ids::{SaleId, VisitorId},
    token::{Key, Keyring, Token},
    work::Work,
};

/// For what comes at once, on a slow day too …
const PATIENCE: Duration = Duration::from_secs(120);
/// … and for what is not to come.
const A_WHILE: Duration = Duration::from_secs(4);
const HOME: (&str, &str) = ("X-Forwarded-For", "198.51.100.7");
const ELSEWHERE: (&str, &str) = ("X-Forwarded-For", "203.0.113.9");

async fn server(others: &[(&str, &str)]) -> Server {
    let others = [&[("trusted_proxies", "127.0.0.1")], others].concat();
    Server::start_with(World::shared(), &others).await
}

/// What a join over a new socket is answered, and the socket.
async fn join_with(server: &Server, sale: &str, from: (&'static str, &str), join: Value) -> (Visitor, Value) {
    let mut visitor = server.connect_with(sale, &[from]).await.unwrap();
    visitor.say(join).await;
    let answer = visitor.next().await;
    (visitor, answer)
}

async fn join(server: &Server, sale: &str, from: (&'static str, &str)) -> (Visitor, Value) {
    join_with(server, sale, from, json!({ "type": "join" })).await
}

fn identity(sale: &str, of: &str) -> String {
    identity::sign(IDENTITY_KEY.as_bytes(), of, sale, Timestamp::now().as_second() + 60)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_draws_so_many_places() {
    let limit = [("address_places", "3")];
    let (server, other) = tokio::join!(server(&limit), server(&limit));
    let sale = server.sale(json!({})).await;
    let path = format!("/v1/sales/{sale}/places");
    let (mut first, joined) = join(&server, &sale, HOME).await;
    let place = joined["place"].as_str().unwrap().to_owned();
    assert_eq!(join(&server, &sale, HOME).await.1["type"], "joined");
    assert_eq!(server.public("POST", &path, &[HOME]).await.0, 201);
    // Whichever way, and whichever instance.
    let (mut refused, error) = join(&server, &sale, HOME).await;
    assert_eq!(
        (&error["type"], &error["code"], &error["retry"]),
        (&json!("error"), &json!("too_many"), &json!(true))
    );
    assert!((1..=600_000).contains(&error["after_ms"].as_u64().unwrap()), "{error}");
    assert_eq!(refused.closed().await, 4429);
    let (status, headers, error) = server.public_headers("POST", &path, &[HOME]).await;
    assert_eq!((status, &error["code"]), (429, &json!("too_many")));
    assert!((1..=600).contains(&headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap()));
    wait_for_sale(&other, &sale).await;
    assert_eq!(join(&other, &sale, HOME).await.1["code"], "too_many");
    // A left place was one of them.
    first.say(json!({ "type": "leave" })).await;
    first.hear("lapsed").await;
    first.say(json!({ "type": "join" })).await;
    assert_eq!(first.hear("error").await["code"], "too_many");
    // Who proves who he is, or that he has a place, comes in all the same; and so does everyone elsewhere.
    let with = |key: &str, value: &str| json!({ "type": "join", key: value });
    assert_eq!(
        join_with(&server, &sale, HOME, with("identity", &identity(&sale, "kim"))).await.1["type"],
        "joined"
    );
    assert_eq!(join_with(&server, &sale, HOME, with("place", &place)).await.1["type"], "joined");
    assert_eq!(join(&server, &sale, ELSEWHERE).await.1["type"], "joined");
    let page = server.metrics().await;
    assert!(!page.contains("waitroom_visitors_refused_total{reason=\"address_places\"} 0"), "{page}");
}

async fn wait_for_sale(server: &Server, sale: &str) {
    for _ in 0..200 {
        if server.public("GET", &format!("/v1/sales/{sale}"), &[]).await.0 == 200 {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("no such sale");
}

/// Without the limit one address takes as many places as it likes.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_a_network_draws_what_it_likes() {
    let drawn = async |limit: &str| {
        let server = server(&[("address_places", limit)]).await;
        let sale = server.sale(json!({})).await;
        let path = format!("/v1/sales/{sale}/places");
        let mut drawn = 0;
        for _ in 0..30 {
            drawn += usize::from(server.public("POST", &path, &[HOME]).await.0 == 201);
        }
        drawn
    };
    assert_eq!(drawn("20").await, 20);
    assert_eq!(drawn("0").await, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_has_so_many_sockets() {
    let limited = server(&[("address_sockets", "2")]).await;
    let sale = limited.sale(json!({})).await;
    let mut open = vec![
        limited.connect_with(&sale, &[HOME]).await.unwrap(),
        limited.connect_with(&sale, &[HOME]).await.unwrap(),
    ];
    for _ in 0..20 {
        assert_eq!(limited.connect_with(&sale, &[HOME]).await.err(), Some(429));
    }
    assert!(limited.connect_with(&sale, &[ELSEWHERE]).await.is_ok());
    open.pop();
    let mut tries = 0;
    while limited.connect_with(&sale, &[HOME]).await.is_err() {
        tries += 1;
        assert!(tries < 500, "a closed socket still counts");
        sleep(Duration::from_millis(20)).await;
    }
    let open_to_all = server(&[]).await;
    wait_for_sale(&open_to_all, &sale).await;
    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(open_to_all.connect_with(&sale, &[HOME]).await.unwrap());
    }
}

/// Statuses of so many polls, one at once after the other.
async fn polls(bounds: Bounds) -> Vec<u16> {
    let server = Server::start_within(World::shared(), &[], bounds).await;
    let sale = server.sale(json!({})).await;
    let path = format!("/v1/sales/{sale}/places");
    let (_, joined) = server.public("POST", &path, &[]).await;
    let bearer = format!("Bearer {}", joined["place"].as_str().unwrap());
    let path = format!("{path}/me");
    let headers = [("Authorization", bearer.as_str())];
    let polls = (0..400).map(|_| server.public("GET", &path, &headers));
    futures_util::future::join_all(polls).await.into_iter().map(|(status, _)| status).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_polls_without_a_pause_is_told_to_wait() {
    let slow = Bounds { messages_per_s: 1.0, ..Bounds::default() };
    let refused = |statuses: &[u16]| statuses.iter().filter(|status| **status == 429).count();
    let statuses = polls(slow).await;
    assert!(refused(&statuses) >= 200 && statuses.contains(&200), "{statuses:?}");
    assert_eq!(refused(&polls(Bounds { messages_burst: 1e9, ..Bounds::default() }).await), 0);
}

/// Whether a socket lives that leaves and joins again, 19 messages a second.
async fn leaves_and_joins(bounds: Bounds) -> bool {
    let server = Server::start_within(World::shared(), &[], bounds).await;
    let sale = server.sale(json!({})).await;
    let (mut visitor, _) = server.join(&sale).await;
    let mut ticks = interval(Duration::from_millis(53));
    for _ in 0..30 {
        for (say, hear) in [("leave", "lapsed"), ("join", "joined")] {
            ticks.tick().await;
            visitor.say(json!({ "type": say })).await;
            let answer = visitor.next().await;
            if answer["code"] == "too_many" {
                assert_eq!(visitor.closed().await, 4429);
                return false;
            }
            assert_eq!(answer["type"], hear);
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_more_counts_more() {
    // However slow this machine is, the allowance does not fill meanwhile.
    assert!(!leaves_and_joins(Bounds { messages_per_s: 0.1, ..Bounds::default() }).await);
    let cheap = Bounds { costly_message: 1, messages_burst: 100.0, messages_per_s: 0.1, ..Bounds::default() };
    assert!(leaves_and_joins(cheap).await);
}

/// How a socket ends that sends so many pings at once; nothing if it lives.
async fn pings(bounds: Bounds) -> Option<u16> {
    let server = Server::start_within(World::shared(), &[], bounds).await;
    let sale = server.sale(json!({})).await;
    let (mut visitor, _) = server.join(&sale).await;
    for _ in 0..100 {
        visitor.try_say(json!({ "type": "ping" })).await;
    }
    for _ in 0..100 {
        let heard = visitor.next().await;
        if heard["code"] == "too_many" {
            return Some(visitor.closed().await);
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_too_much_is_cut() {
    assert_eq!(pings(Bounds::default()).await, Some(4429));
    assert_eq!(pings(Bounds { messages_burst: 1e9, ..Bounds::default() }).await, None);
}

/// What a first message of so many bytes is answered with: a close code, or a type.
async fn long_message(bounds: Bounds) -> Value {
    let server = Server::start_within(World::shared(), &[], bounds).await;
    let sale = server.sale(json!({})).await;
    let mut visitor = server.connect(&sale).await;
    let token = "x".repeat(100_000);
    visitor.try_say(json!({ "type": "join", "place": token })).await;
    visitor.next().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_has_so_many_bytes() {
    assert_eq!(long_message(Bounds::default()).await, json!({ "close": 1009 }));
    // Without the limit all of it is taken in and looked at.
    let answer = long_message(Bounds { frame_bytes_max: 1 << 20, ..Bounds::default() }).await;
    assert_eq!(answer["code"], "identity_invalid", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_join_is_let_go() {
    let silent = async |within: Duration, patience: Duration| {
        let bounds = Bounds { join_within: within, ..Bounds::default() };
        let server = Server::start_within(World::shared(), &[], bounds).await;
        let sale = server.sale(json!({})).await;
        let mut visitor = server.connect(&sale).await;
        timeout(patience, visitor.next()).await.ok()
    };
    let told = silent(Duration::from_millis(100), PATIENCE).await.unwrap();
    assert_eq!(told["code"], "join_timeout");
    assert_eq!(silent(Duration::from_secs(3_600), A_WHILE).await, None);
}

/// Whether a connection ends that sends half of something and no more.
async fn ends(bounds: Bounds, half: &str, patience: Duration) -> bool {
    let server = Server::start_within(World::shared(), &[], bounds).await;
    let sale = server.sale(json!({})).await;
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    stream.write_all(half.replace("SALE", &sale).as_bytes()).await.unwrap();
    let mut said = Vec::new();
    timeout(patience, stream.read_to_end(&mut said)).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_slowly_is_let_go() {
    let (soon, never) = (Duration::from_millis(100), Duration::from_secs(3_600));
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    assert!(ends(Bounds { head_within: soon, ..Bounds::default() }, head, PATIENCE).await);
    assert!(!ends(Bounds { head_within: never, ..Bounds::default() }, head, A_WHILE).await);
    let body = "POST /v1/sales/SALE/places HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n{";
    let long = Bounds { head_within: never, ..Bounds::default() };
    assert!(ends(Bounds { body_within: soon, head_within: soon, ..long }, body, PATIENCE).await);
    assert!(!ends(Bounds { body_within: never, ..long }, body, A_WHILE).await);
}

/// A place token as somebody would forge it who holds this key, for a visitor and a seq of his choice.
async fn forged(secret: &[u8]) -> Value {
    let server = server(&[]).await;
    let sale = server.sale(json!({})).await;
    let (_victim, joined) = join(&server, &sale, HOME).await;
    let keys = Keyring::new(vec![Key { kid: "k1".into(), secret: secret.to_vec() }]).unwrap();
    let (sale_id, visitor) = (SaleId::parse(&sale).unwrap(), VisitorId::parse("mallory").unwrap());
    let epoch = joined["epoch"].as_u64().unwrap();
    let token = keys.sign(&Token::Place { sale: sale_id, visitor, seq: 0, epoch, until: None });
    join_with(&server, &sale, HOME, json!({ "type": "join", "place": token })).await.1
}

/// Nothing but the key keeps anyone from the head of the line.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_place_is_worth_nothing_without_the_key() {
    assert_eq!(forged(b"another key of thirty-two bytes.").await["code"], "identity_invalid");
    let stolen = forged(b"0123456789abcdef0123456789abcdef").await;
    assert_eq!((&stolen["type"], &stolen["rank"]), (&json!("joined"), &json!(0)), "{stolen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_others_open_no_socket() {
    let evil = [("Origin", "https://evil.example")];
    let opens = async |checks_origin: bool| {
        let bounds = Bounds { checks_origin, ..Bounds::default() };
        let server = Server::start_within(World::shared(), &[], bounds).await;
        let sale = server.sale(json!({})).await;
        server.connect_with(&sale, &evil).await.map(|_| ())
    };
    assert_eq!(opens(true).await, Err(403));
    assert_eq!(opens(false).await, Ok(()));
}

/// The work in an answer that asks for some, done.
fn proof_in(answer: &Value) -> String {
    let work: Work = serde_json::from_value(answer["proof"].clone()).unwrap();
    assert_eq!(work.bits, 8);
    work.solve()
}

#[tokio::test(flavor = "multi_thread")]
async fn work_comes_before_a_place_and_is_worth_one() {
    let server = server(&[("proof_of_work", "8")]).await;
    let (sale, other) = (server.sale(json!({})).await, server.sale(json!({})).await);
    let (mut visitor, needed) = join(&server, &sale, HOME).await;
    assert_eq!((&needed["type"], &needed["code"]), (&json!("error"), &json!("proof_needed")));
    assert_eq!(visitor.closed().await, 4429);
    let proof = proof_in(&needed);
    let with = |proof: &str| json!({ "type": "join", "proof": proof });
    let (_first, joined) = join_with(&server, &sale, HOME, with(&proof)).await;
    assert_eq!((&joined["type"], &joined["rank"]), (&json!("joined"), &json!(0)), "{joined}");
    // Shown again, it is the same visitor, with the same place.
    for _ in 0..3 {
        let (_visitor, again) = join_with(&server, &sale, ELSEWHERE, with(&proof)).await;
        assert_eq!((&again["place"], &again["total"]), (&joined["place"], &json!(1)));
    }
    let (challenge, number) = proof.rsplit_once('.').unwrap();
    let wrong = format!("{challenge}.{}", number.parse::<u64>().unwrap() + 1);
    for (sale, proof) in [(&other, proof.as_str()), (&sale, &wrong), (&sale, "nonsense"), (&sale, challenge)]
    {
        let (_visitor, answer) = join_with(&server, sale, HOME, with(proof)).await;
        // One number in 256 is right by chance.
        assert!(answer["code"] == "proof_needed" || proof == wrong, "{answer}");
    }
    // The same without a socket.
    let path = format!("/v1/sales/{other}/places");
    let (status, needed) = server.public("POST", &path, &[]).await;
    assert_eq!((status, &needed["code"], &needed["retry"]), (401, &json!("proof_needed"), &json!(true)));
    let body = json!({ "proof": proof_in(&needed) });
    let (status, joined) = server.post(&path, &body).await;
    assert_eq!(status, 201, "{joined}");
    assert_eq!(server.post(&path, &body).await.0, 200);
    // Who proves who he is has nothing to do.
    let identity = json!({ "type": "join", "identity": identity(&sale, "kim") });
    assert_eq!(join_with(&server, &sale, HOME, identity).await.1["type"], "joined");
    let place = json!({ "type": "join", "place": joined["place"] });
    assert_eq!(join_with(&server, &other, HOME, place).await.1["type"], "joined");
}

/// Simulated visitors do the work too, and book.
#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_does_its_work() {
    let server = server(&[("proof_of_work", "6")]).await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let crowd = async {
        load::crowd(&format!("http://{}", server.public), &SaleId::parse(&sale).unwrap(), 10).await;
    };
    let booked = async {
        while server.show(&sale).await["booked"].as_u64().unwrap() < 5 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! { () = crowd => {}, () = booked => {} }
    assert!(server.show(&sale).await["booked"].as_u64().unwrap() >= 1);
}

/// A socket each is no allowance each: whoever is known could draw and leave as often as he connects.
#[tokio::test(flavor = "multi_thread")]
async fn who_connects_without_end_is_told_to_wait() {
    let bounds = Bounds { messages_per_s: 0.1, ..Bounds::default() };
    let server = Server::start_within(World::shared(), &[("trusted_proxies", "127.0.0.1")], bounds).await;
    let sale = server.sale(json!({})).await;
    let (_, joined) = join(&server, &sale, HOME).await;
    let place = joined["place"].as_str().unwrap();
    let mut codes = Vec::new();
    for _ in 0..60 {
        let (_, said) = join_with(&server, &sale, HOME, json!({ "type": "join", "place": place })).await;
        codes.extend(said["code"].as_str().map(ToOwned::to_owned));
    }
    assert!(!codes.is_empty() && codes.iter().all(|code| code == "too_many"), "{codes:?}");
}
