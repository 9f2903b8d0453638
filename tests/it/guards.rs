//! More guards of the edge, each switched off once, so that the attack that it is there against is seen to succeed. Others are
//! in `limits.rs`, `tls.rs` and `edge/listener/tests.rs`.

use crate::world::{IDENTITY_KEY, Server, World, plan};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};
use waitroom::limits::{Bounds, SILENT_WITHIN};
use wire::domain::{
    identity,
    ids::{GrantKey, SaleId, VisitorId},
    token::{Key, Keyring, Token},
};

const TILL: &str = "the-token-of-the-till";
const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const ANOTHER: &[u8] = b"another key of thirty-two bytes.";

async fn within(bounds: Bounds) -> Server {
    let tokens = format!("till:shop@other-sale:{TILL}");
    Server::start_within(World::shared(), &[("admin_tokens", &tokens)], bounds).await
}

/// A till that closes a sale, and one of another shop that looks into it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_what_its_role_is_for_alone() {
    let tries = async |checks_rights: bool| {
        let server = within(Bounds { checks_rights, ..Bounds::default() }).await;
        let path = format!("/sales/{}", server.sale(json!({})).await);
        let close = server.admin_as(TILL, "PATCH", &path, Some(json!({ "phase": "closed" }))).await.0;
        let look = server.admin_as(TILL, "GET", &format!("{path}/bookings"), None).await.0;
        [close, look]
    };
    assert_eq!(tries(true).await, [403, 403]);
    assert_eq!(tries(false).await, [200, 200]);
}

/// Whoever guesses at many tokens at once.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_cost_time() {
    let refused = async |slows_guesses: bool| {
        let server = within(Bounds { slows_guesses, ..Bounds::default() }).await;
        let guesses = (0..12).map(|i| {
            let (server, guess) = (&server, format!("guess-{i}"));
            async move { server.admin_as(&guess, "GET", "/sales", None).await.0 }
        });
        let statuses = futures_util::future::join_all(guesses).await;
        assert!(statuses.iter().all(|status| [401, 429].contains(status)), "{statuses:?}");
        statuses.iter().filter(|status| **status == 429).count()
    };
    assert!(refused(true).await > 0, "four wait at once, the others are sent away");
    assert_eq!(refused(false).await, 0);
}

fn ring(secret: &[u8]) -> Keyring {
    Keyring::new(vec![Key { kid: "k1".into(), secret: secret.to_vec() }]).unwrap()
}

/// What a redeem is answered by somebody whose turn it is, with a booking token as one would forge it who has this key: for
/// another's turn, or for his own turn of next time.
async fn redeemed(secret: &[u8], turn: u8) -> Value {
    let server = Server::start().await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    let (mut visitor, joined) = server.join(&sale).await;
    visitor.hear("granted").await;
    let Some(Token::Place { visitor: name, seq, .. }) = ring(KEY).verify(joined["place"].as_str().unwrap())
    else {
        panic!("{joined}")
    };
    let grant = GrantKey { seq, turn };
    let token =
        ring(secret).sign(&Token::Booking { sale: SaleId::parse(&sale).unwrap(), visitor: name, grant });
    visitor.say(json!({ "type": "redeem", "request": "r", "token": token, "best": { "count": 1 } })).await;
    let answer = visitor.next().await;
    if answer["type"] == "refused" { answer["reason"].clone() } else { answer["type"].clone() }
}

/// Nothing but the key stands between a visitor whose turn it is and a token that nobody gave him; and a token for a turn that
/// is not on is worth nothing even with it: the line is asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_right_to_book_is_worth_nothing() {
    assert_eq!(redeemed(ANOTHER, 0).await, "token_invalid");
    assert_eq!(redeemed(KEY, 0).await, "booking", "with the key known");
    assert_eq!(redeemed(KEY, 1).await, "token_expired");
}

/// Whoever signs with the shop's key is who he says.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_identity_is_nobodys() {
    let server = Server::start().await;
    let sale = server.sale(json!({ "anonymous": false })).await;
    let joined = async |key: &[u8]| {
        let until = jiff::Timestamp::now().as_second() + 60;
        let mut visitor = server.connect(&sale).await;
        visitor.say(json!({ "type": "join", "identity": identity::sign(key, "victim", &sale, until) })).await;
        visitor.next().await
    };
    assert_eq!(joined(ANOTHER).await["code"], "identity_invalid");
    let stolen = joined(IDENTITY_KEY.as_bytes()).await;
    let said = ring(KEY).verify(stolen["place"].as_str().unwrap());
    assert!(
        matches!(said, Some(Token::Place { visitor, .. }) if visitor == VisitorId::parse("victim").unwrap())
    );
}

/// Connections that say nothing: where too many do, those that have for longest go, long before their time.
#[tokio::test(flavor = "multi_thread")]
async fn the_silent_make_room() {
    let stays = async |silent_max: u32| {
        let hour = Duration::from_secs(3_600);
        let server = within(Bounds { silent_max, head_within: hour, ..Bounds::default() }).await;
        let mut held = Vec::new();
        for _ in 0..6 {
            held.push(TcpStream::connect(server.public).await.unwrap());
        }
        sleep(SILENT_WITHIN + Duration::from_millis(500)).await;
        // Who speaks is served all the while.
        assert_eq!(server.public("GET", "/v1/sales", &[]).await.0, 200);
        let mut byte = [0];
        timeout(Duration::from_secs(3), held[0].read(&mut byte)).await.is_err()
    };
    assert!(!stays(3).await);
    assert!(stays(u32::MAX).await);
}

/// A peer that asks for much and reads nothing is cut, and what it had asked for is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_is_cut() {
    let server = Server::start().await;
    let sale = server.sale(json!({ "plan": plan(20, 4_000) })).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(server.public).await.unwrap();
    let plan = format!("GET /v1/sales/{sale}/plan HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(plan.as_bytes()).await.unwrap();
    let counted = async || {
        let page = server.metrics().await;
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix("waitroom_connections_refused_total{reason=\"unread\"} "));
        line.unwrap().parse::<u64>().unwrap()
    };
    let before = counted().await;
    // Its time is 20 s; nobody waits for it that long here, but for this test.
    for _ in 0..90 {
        sleep(Duration::from_secs(1)).await;
        if counted().await > before {
            let mut all = Vec::new();
            let end = timeout(Duration::from_secs(120), stream.read_to_end(&mut all)).await.expect("kept");
            assert!(end.is_err(), "the kernel keeps what he does not read: {} bytes came", all.len());
            return;
        }
    }
    panic!("it is kept");
}
