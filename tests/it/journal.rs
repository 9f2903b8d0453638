//! The journal: all that happened in a line, chained, by one instance at a time; and the proof of one's place.

use crate::world::{Server, World};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;
use waitroom::store::{
    journal::{Journal, JournalError, Lease, Record, Writer},
    line::stream::Entry as StreamEntry,
    postgres::connect::postgres_pool,
};
use wire::domain::{
    ids::SaleId,
    journal::{Batch, Entry, Hash, Receipt, Tree, Written, entry_leaf, place_leaf},
    line::Position,
};

fn journal(world: &World, sale: &str) -> Journal {
    let pool = postgres_pool(&world.postgres.url(), 2).unwrap();
    Journal::new(pool, SaleId::parse(sale).unwrap())
}

/// Waits until the journal says what is wanted of all its entries.
async fn journaled(
    world: &World,
    sale: &str,
    is_there: impl Fn(&[Entry]) -> bool,
) -> Vec<(Batch, Vec<Written>)> {
    let journal = journal(world, sale);
    loop {
        let mut batches = Vec::new();
        while let Some(batch) = journal.batch(batches.len() as u64 + 1).await.unwrap() {
            batches.push(batch);
        }
        if is_there(&entries(&batches)) {
            return batches;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn entries(batches: &[(Batch, Vec<Written>)]) -> Vec<Entry> {
    let written = batches.iter().flat_map(|(_, written)| written);
    written.map(|written| serde_json::from_str(&written.text).unwrap()).collect()
}

/// The chain is whole: every hash is what it must be, no entry is missing.
fn assert_chained(sale: &str, batches: &[(Batch, Vec<Written>)]) -> Hash {
    let sale = SaleId::parse(sale).unwrap();
    let (mut previous, mut next) = (Hash::default(), 1);
    for (i, (batch, written)) in batches.iter().enumerate() {
        assert_eq!((batch.batch, batch.previous, batch.first), (i as u64 + 1, previous, next), "{batch:?}");
        let mut leaves = Vec::new();
        for Written { n, text, commitments } in written {
            assert_eq!(*n, next);
            next += 1;
            let at = Position { epoch: batch.epoch, n: *n };
            leaves.push(entry_leaf(at, text));
            let entry: Entry = serde_json::from_str(text).unwrap();
            assert_eq!(entry.places().count(), commitments.len());
            leaves.extend(entry.places().zip(commitments).map(|(seq, hash)| place_leaf(at, seq, hash)));
        }
        assert_eq!((batch.last, batch.leaves), (next - 1, leaves.len() as u64));
        assert_eq!(batch.root, Tree::new(leaves).root());
        previous = batch.hash(&sale);
    }
    previous
}

async fn receipt(server: &Server, sale: &str, place: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {}", place.as_str().unwrap());
    let path = format!("/v1/sales/{sale}/places/me/receipt");
    loop {
        let (status, answer) = server.public("GET", &path, &[("Authorization", &bearer)]).await;
        if status != 202 {
            return (status, answer);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Whatever is changed in a receipt shows.
fn assert_unforgeable(receipt: &Receipt) {
    for forged in [
        Receipt { seq: receipt.seq + 1, ..receipt.clone() },
        Receipt { visitor: "someone-else".to_owned().try_into().unwrap(), ..receipt.clone() },
        Receipt { salt: Receipt::salt_text(&[0; 16]), ..receipt.clone() },
        Receipt { entry: receipt.entry + 1, ..receipt.clone() },
        Receipt { head: Hash([1; 32]), ..receipt.clone() },
    ] {
        assert!(forged.verify().is_err(), "{forged:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_chained_and_each_place_can_be_proved_by_its_owner_alone() {
    let server = Server::start().await;
    let sale = server.sale(json!({ "plan": crate::world::plan(1, 3), "blocked": ["A-3"] })).await;
    let (mut kim, first) = server.join(&sale).await;
    let (mut lee, second) = server.join(&sale).await;
    lee.say(json!({ "type": "leave" })).await;
    lee.hear("lapsed").await;
    server.open(&sale).await;
    let token = kim.hear("granted").await["token"].clone();
    kim.say(json!({ "type": "seats" })).await;
    kim.hear("seat_map").await;
    kim.say(json!({ "type": "redeem", "request": "r", "token": token, "seats": ["A-2"] })).await;
    kim.hear("booking").await;
    lee.say(json!({ "type": "join" })).await;
    let third = lee.hear("joined").await;

    let is_there = |entries: &[Entry]| entries.iter().any(|entry| !entry.again.is_empty());
    let batches = journaled(World::shared(), &sale, is_there).await;
    let hash = assert_chained(&sale, &batches);
    let entries = entries(&batches);
    assert_eq!(entries[0].installed.as_ref().unwrap().seats, 3);
    let all = |what: fn(&Entry) -> Value| -> Vec<Value> {
        entries.iter().map(what).filter(|value| *value != json!([]) && !value.is_null()).collect()
    };
    assert_eq!(all(|entry| json!(entry.drawn)), [json!([[1, 1]]), json!([[2, 2]]), json!([[3, 3]])]);
    assert_eq!(
        all(|entry| json!(entry.again)),
        [json!([[3, 2, 0]])],
        "lee's second place is after his first"
    );
    assert_eq!(all(|entry| json!(entry.left)), [json!([2])]);
    assert_eq!(all(|entry| json!(entry.claimed)), [json!([1])]);
    let settings = &all(|entry| json!(entry.settings))[0];
    assert_eq!((&settings["rate"], &settings["blocked"]), (&json!(100.0), &json!([2])));
    let booked = &all(|entry| json!(entry.booked))[0][0];
    assert_eq!((&booked["seq"], &booked["seats"]), (&json!(1), &json!([1])));

    let (status, head) = server.public("GET", &format!("/v1/sales/{sale}/journal/head"), &[]).await;
    let last = &batches.last().unwrap().0;
    // More may have been admitted meanwhile.
    assert!(status == 200 && head["batch"].as_u64() >= Some(last.batch), "{head}");
    if head["batch"] == json!(last.batch) {
        assert_eq!((&head["hash"], &head["n"]), (&json!(hash), &json!(last.last)));
    }

    for (place, seq) in [(&first["place"], 1), (&second["place"], 2), (&third["place"], 3)] {
        let (status, answer) = receipt(&server, &sale, place).await;
        assert_eq!(status, 200, "{answer}");
        let receipt: Receipt = serde_json::from_value(answer).unwrap();
        assert_eq!((receipt.seq, receipt.verify()), (seq, Ok(())));
        let (batch, written) = batches.iter().find(|(batch, _)| *batch == receipt.batch).unwrap();
        let entry = written.iter().find(|written| written.n == receipt.entry).unwrap();
        assert!(entry.commitments.contains(&receipt.commitment().unwrap()), "{batch:?}");
        assert_unforgeable(&receipt);
    }
    // The scheme's name may be in any case (RFC 9110, 11.1).
    let bearer = format!("bearer {}", first["place"].as_str().unwrap());
    let path = format!("/v1/sales/{sale}/places/me/receipt");
    assert_eq!(server.public("GET", &path, &[("authorization", &bearer)]).await.0, 200);
    let (status, _) = server.public("GET", &path, &[]).await;
    assert_eq!(status, 404, "nobody's");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_instance_goes_on_where_one_has_left() {
    let (one, two) = (Server::start().await, Server::start().await);
    let sale = one.sale(json!({})).await;
    let (kim, _) = one.join(&sale).await;
    let drawn = |seqs: u64| {
        move |entries: &[Entry]| {
            entries.iter().map(|entry| entry.places().count() as u64).sum::<u64>() == seqs
        }
    };
    journaled(World::shared(), &sale, drawn(1)).await;
    drop(kim);
    one.stop().await;
    let (_lee, _) = two.join(&sale).await;
    assert_chained(&sale, &journaled(World::shared(), &sale, drawn(2)).await);
    two.stop().await;
}

fn record(n: u64) -> Record {
    let text = json!({ "at": 1, "drawn": [["kim", n, 0, 0]] }).to_string();
    Record::of(StreamEntry::read(Position { epoch: 1, n }, text.into())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_not_the_holder_or_knows_another_end_writes_nothing() {
    let server = Server::start().await; // Migrates.
    let journal = journal(World::shared(), "nobody-sells-this");
    let Lease::Ours(start) = journal.lease("one").await.unwrap() else { panic!("not ours") };
    assert!(matches!(journal.lease("two").await.unwrap(), Lease::Theirs(_)));
    let end = journal.append(Writer::Holder("one"), &start, &[record(1), record(2)]).await.unwrap();
    assert_eq!((end.batch, end.position.n, end.source), (1, 2, Hash::of(&record(2).text)));
    // A writer that was paused past its lease, and one that has not heard of the last batch.
    for (holder, tail) in [("two", &end), ("one", &start)] {
        let refused = journal.append(Writer::Holder(holder), tail, &[record(3)]).await;
        assert!(matches!(refused, Err(JournalError::NotHolder)), "{holder}: {refused:?}");
    }
    journal.release("one").await.unwrap();
    let Lease::Ours(theirs) = journal.lease("two").await.unwrap() else { panic!("not ours") };
    assert_eq!(theirs, end);
    journal.append(Writer::Holder("two"), &theirs, &[record(3)]).await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_the_one_journaled_is_never_added() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (_kim, _) = server.join(&sale).await;
    let before =
        journaled(&world, &sale, |entries| entries.iter().any(|entry| !entry.drawn.is_empty())).await;
    server.stop().await;
    // As if Redis had come back with older state and written other entries under the same numbers.
    let pool = postgres_pool(&world.postgres.url(), 1).unwrap();
    let other = "UPDATE journal_heads SET source = sha256('other')";
    pool.get().await.unwrap().execute(other, &[]).await.unwrap();
    let server = Server::start_in(&world).await;
    while !server
        .metrics()
        .await
        .lines()
        .any(|line| line.strip_prefix("waitroom_journal_forks_total ").is_some_and(|count| count != "0"))
    {
        sleep(Duration::from_millis(50)).await;
    }
    // A new life begins, and what the forked one tells is nowhere.
    let (_lee, joined) = server.join(&sale).await;
    assert_eq!((&joined["epoch"], &joined["rank"]), (&json!(2), &json!(1)), "kim's place is there");
    let is_there = |entries: &[Entry]| entries.iter().filter(|entry| !entry.drawn.is_empty()).count() == 2;
    let after = journaled(&world, &sale, is_there).await;
    assert_eq!(after[..before.len()].last().unwrap().0, before.last().unwrap().0);
    assert!(after[before.len()..].iter().all(|(batch, _)| batch.epoch == 2));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_too_much_waits_for_the_journal_nobody_is_drawn_and_nothing_is_trimmed() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (mut kim, _) = server.join(&sale).await;
    let mut redis = world.connect_redis().await;
    let key = format!("waitroom:{{{sale}}}:sale");
    let bound =
        |bytes: &'static str| redis::cmd("HSET").arg(&key).arg("unjournaled_max").arg(bytes).to_owned();
    bound("-1").query_async::<()>(&mut redis).await.unwrap();
    server.open(&sale).await;
    let mut lee = server.connect(&sale).await;
    lee.say(json!({ "type": "join" })).await;
    let error = lee.hear("error").await;
    assert_eq!((&error["code"], &error["retry"]), (&json!("unavailable"), &json!(true)), "{error}");
    assert!(error["message"].as_str().unwrap().contains("on record"), "{error}");
    assert_eq!(lee.closed().await, 4503);
    let (status, _) = server.public("POST", &format!("/v1/sales/{sale}/places"), &[]).await;
    assert_eq!(status, 503);
    // Nobody was let in either, and who waits hears that the line stands still. What needs no draw goes on.
    assert_eq!(kim.hear("outage").await["on"], json!(true));
    kim.say(json!({ "type": "ping" })).await;
    kim.hear("pong").await;
    assert_eq!(server.show(&sale).await["admitted_total"], json!(0));
    bound("1000000").query_async::<()>(&mut redis).await.unwrap();
    // In whichever order.
    let mut awaited = vec!["granted", "outage"];
    while !awaited.is_empty() {
        let message = kim.next().await;
        assert_ne!(message["on"], json!(true), "{message}");
        awaited.retain(|kind| message["type"] != *kind);
    }
    let (_lee, _) = server.join(&sale).await;
    server.stop().await;
}
