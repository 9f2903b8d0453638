//! Keys are changed while the server runs: by their files, and nobody's token is worth less for it before its key is gone.

use crate::world::{Server, Visitor, World};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use wire::domain::identity;

const OLD: &str = "old:b2xkIG9sZCBvbGQgb2xkIG9sZCBvbGQgb2xkIG9sZCE=";
const NEW: &str = "new:bmV3IG5ldyBuZXcgbmV3IG5ldyBuZXcgbmV3IG5ldyE=";
const SHOP: &str = "the first key of the shop of these tests";
const SHOP_LATER: &str = "the later key of the shop of these tests";

/// As a deploy does it: the file is there whole, or as it was.
fn write(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    fs::write(&fresh, text).unwrap();
    fs::rename(fresh, path).unwrap();
}

async fn come(server: &Server, sale: &str, name: &str, key: &str) -> (Visitor, Value) {
    let until = jiff::Timestamp::now().as_second() + 3600;
    let mut visitor = server.connect(sale).await;
    visitor
        .say(json!({ "type": "join", "identity": identity::sign(key.as_bytes(), name, sale, until) }))
        .await;
    let said = visitor.next().await;
    (visitor, said)
}

/// Whether the place is good here, and what is given for it.
async fn back(server: &Server, sale: &str, place: &Value) -> Value {
    let mut visitor = server.connect(sale).await;
    visitor.say(json!({ "type": "join", "place": place })).await;
    visitor.next().await
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is().await {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_follow_their_files_and_a_bad_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let [keys, shop] = ["keys", "shop"].map(|name| folder.path().join(name));
    write(&keys, OLD);
    write(&shop, &format!("{SHOP}\n"));
    let files =
        [("signing_keys_file", keys.to_str().unwrap()), ("identity_key_file", shop.to_str().unwrap())];
    let server = Server::start_with(World::shared(), &files).await;
    let sale = server.sale(json!({ "anonymous": false })).await;
    let (_kim, joined) = come(&server, &sale, "kim", SHOP).await;
    let first = joined["place"].clone();
    let signed_by =
        |said: &Value, kid: &str| said["place"].as_str().is_some_and(|place| place.starts_with(kid));
    assert!(signed_by(&joined, "old."), "{joined}");
    let is_good = async |place: &Value| back(&server, &sale, place).await["type"] == "joined";

    // The new key signs, both verify.
    write(&keys, &format!("{NEW},{OLD}"));
    let mut second = Value::Null;
    until("the new key signs", async || {
        let said = back(&server, &sale, &first).await;
        assert_eq!(said["type"], "joined", "{said}");
        second = said["place"].clone();
        signed_by(&said, "new.")
    })
    .await;
    assert!(is_good(&first).await && is_good(&second).await);

    // What is no good is not taken, and what was stays.
    for bad in ["", "new", "new:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "k:c2hvcnQ="] {
        write(&keys, bad);
        sleep(Duration::from_millis(2_500)).await;
        assert!(is_good(&first).await && is_good(&second).await, "{bad:?}");
    }
    fs::remove_file(&keys).unwrap();
    sleep(Duration::from_millis(2_500)).await;
    assert!(is_good(&first).await && is_good(&second).await, "without a file");

    // The old one goes: what it signed is worth nothing.
    write(&keys, NEW);
    until("the old key is gone", async || !is_good(&first).await).await;
    assert!(is_good(&second).await);

    // The shop's.
    write(&shop, SHOP_LATER);
    until("the shop's new key", async || come(&server, &sale, "lee", SHOP_LATER).await.1["type"] == "joined")
        .await;
    assert_eq!(come(&server, &sale, "park", SHOP).await.1["code"], "identity_invalid");
    server.stop().await;
}
