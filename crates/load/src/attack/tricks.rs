//! One attempt of each kind of attacker, and what it is answered: a status, a close code, or that the connection ended.

use super::{
    Kind, TAKEN,
    peer::{Heard, Peer, frame, message},
};
use crate::random::Random;
use serde_json::{Value, json};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{io::AsyncReadExt, time::sleep};

/// Frames, requests and mutations of one attempt: more than anyone needs.
const MANY: usize = 100;
/// Between two letters of who is slow.
const LETTER: Duration = Duration::from_millis(500);

pub async fn attempt(
    kind: Kind,
    from: Option<IpAddr>,
    to: SocketAddr,
    path: &str,
    random: &mut Random,
) -> io::Result<String> {
    let mut peer = Peer::connect(from, to).await?;
    match kind {
        Kind::Forger => forge(&mut peer, from, to, path, random).await,
        Kind::Ghost => {
            let (status, _) = peer.ask("POST", &format!("{path}/places"), "").await?;
            Ok(format!("HTTP {status}"))
        }
        Kind::Jumper => {
            over(&mut peer, path, |_| {
                let both = [message(&json!({ "type": "leave" })), message(&json!({ "type": "join" }))];
                both.concat()
            })
            .await
        }
        Kind::Pinger => over(&mut peer, path, |_| message(&json!({ "type": "ping" }))).await,
        Kind::Garbler => {
            let mut garbage: Vec<u8> = (0..MANY).map(|_| random.next() as u8).collect();
            over(&mut peer, path, move |n| {
                garbage.rotate_left(n % 7);
                garbage.clone()
            })
            .await
        }
        Kind::Fragmenter => over(&mut peer, path, |n| frame(if n == 0 { 0x01 } else { 0x00 }, b"x")).await,
        Kind::Idler => match peer.upgrade(path).await? {
            Ok(()) => peer.end().await,
            Err(status) => Ok(format!("HTTP {status}")),
        },
        Kind::Silent => cut(&mut peer).await,
        Kind::Slow => {
            for letter in format!("GET {path} HTTP/1.1\r\nHost: a\r\n").as_bytes() {
                if peer.say(&[*letter]).await.is_err() {
                    break;
                }
                sleep(LETTER).await;
            }
            cut(&mut peer).await
        }
        Kind::Deaf => {
            let request = format!("GET {path}/plan HTTP/1.1\r\nHost: a\r\n\r\n");
            loop {
                peer.say(request.as_bytes()).await?;
            }
        }
        Kind::Poller => poll(&mut peer, path).await,
    }
}

/// Joins over a WebSocket, and sends so many of what `next` makes.
async fn over(peer: &mut Peer, path: &str, mut next: impl FnMut(usize) -> Vec<u8>) -> io::Result<String> {
    if let Err(status) = peer.upgrade(path).await? {
        return Ok(format!("HTTP {status}"));
    }
    peer.say(&message(&json!({ "type": "join" }))).await?;
    if let Heard::Close(code) = peer.hear().await? {
        return Ok(format!("close {code}"));
    }
    for n in 0..MANY {
        // Who is cut hears why below.
        if peer.say(&next(n)).await.is_err() {
            break;
        }
    }
    peer.end().await
}

/// Until the other side ends the connection, with or without words.
async fn cut(peer: &mut Peer) -> io::Result<String> {
    let mut words = Vec::new();
    let _ = peer.stream.read_to_end(&mut words).await;
    let status = words.get(9..12).map(|status| String::from_utf8_lossy(status).into_owned());
    Ok(status.map_or_else(|| "cut".into(), |status| format!("HTTP {status}")))
}

/// A place of its own over HTTP, and polls of it until one is refused.
async fn poll(peer: &mut Peer, path: &str) -> io::Result<String> {
    let (status, body) = peer.ask("POST", &format!("{path}/places"), "").await?;
    let Some(place) = place_in(&body) else { return Ok(format!("HTTP {status}")) };
    for _ in 0..MANY {
        let bearer = format!("Authorization: Bearer {place}\r\n");
        let (status, _) = peer.ask("GET", &format!("{path}/places/me"), &bearer).await?;
        if status != 200 {
            return Ok(format!("HTTP {status}"));
        }
    }
    Ok("HTTP 200".into())
}

/// A true place token, and joins with mutations of it, each over a connection of its own.
async fn forge(
    peer: &mut Peer,
    from: Option<IpAddr>,
    to: SocketAddr,
    path: &str,
    random: &mut Random,
) -> io::Result<String> {
    let (status, body) = peer.ask("POST", &format!("{path}/places"), "").await?;
    let Some(place) = place_in(&body) else { return Ok(format!("HTTP {status}")) };
    let mut last = String::new();
    for _ in 0..MANY {
        let forged = mutated(&place, random);
        let mut peer = Peer::connect(from, to).await?;
        if let Err(status) = peer.upgrade(path).await? {
            return Ok(format!("HTTP {status}"));
        }
        peer.say(&message(&json!({ "type": "join", "place": forged }))).await?;
        last = match peer.hear().await? {
            Heard::Message(said) if said["type"] == "joined" => return Ok(TAKEN.into()),
            Heard::Message(said) => said["code"].as_str().unwrap_or("?").chars().take(40).collect(),
            Heard::Close(code) => format!("close {code}"),
        };
    }
    Ok(last)
}

fn place_in(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Value>(body).ok()?["place"].as_str().map(str::to_owned)
}

/// Another text than `token`, one letter away.
fn mutated(token: &str, random: &mut Random) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    loop {
        let mut letters = token.as_bytes().to_vec();
        let at = (random.next() % letters.len() as u64) as usize;
        let letter = LETTERS[(random.next() % LETTERS.len() as u64) as usize];
        match random.next() % 3 {
            0 => letters[at] = letter,
            1 => letters.insert(at, letter),
            _ => drop(letters.remove(at)),
        }
        if letters != token.as_bytes() {
            return String::from_utf8_lossy(&letters).into_owned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutation_is_never_the_token() {
        let mut random = Random::new(7);
        assert!((0..1000).all(|_| mutated("k1.aaaa.bbbb", &mut random) != "k1.aaaa.bbbb"));
    }
}
