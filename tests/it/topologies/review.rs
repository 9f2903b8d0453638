//! What `serve` refuses and `doctor` says of a Redis that is not as it should be.

use super::crowd::{Told, journaled};
use crate::{
    nodes::{Cluster, Nature, Node, Sentinels, until},
    world::{Server, World},
};
use serde_json::json;
use std::process::Command;
use tokio::task::spawn_blocking;

/// Announces a name that leads nowhere from here; among themselves nodes use addresses.
pub const NAMED: [&str; 4] =
    ["--cluster-announce-hostname", "inside.invalid", "--cluster-preferred-endpoint-type", "hostname"];

/// The status of the command, and what it said.
fn run(command: &str, url: &str, others: &[&str]) -> (i32, String) {
    run_on(command, url, &World::shared().postgres.url(), others)
}

fn run_on(command: &str, redis: &str, postgres: &str, others: &[&str]) -> (i32, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    process.arg(command).args(["--redis-url", redis, "--postgres-url", postgres]);
    process.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]).args(others);
    process.args(["--signing-keys", "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]);
    let output = process.env("WAITROOM_ADMIN_TOKEN", "a-token-of-some-length").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Both say it, with the same status.
#[track_caller]
pub fn refused(url: &str, others: &[&str], status: i32, words: &[&str]) {
    for command in ["doctor", "serve"] {
        let (code, said) = run(command, url, others);
        assert_eq!(code, status, "{command}: {said}");
        for word in words {
            assert!(said.contains(word), "{command} does not say {word:?}: {said}");
        }
        assert!(!said.contains("hush"), "{said}");
    }
}

#[track_caller]
pub fn fine(url: &str, others: &[&str], words: &[&str]) {
    let (code, said) = run("doctor", url, others);
    assert_eq!(code, 0, "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?}: {said}");
    }
}

#[test]
fn a_primary_and_its_replica() {
    let mut primary = Node::start(Nature::default());
    let replica = Node::replica_of(&primary);
    let url = format!("redis://{}", primary.address());
    fine(&url, &["--redis-replicas=1"], &["1 connected", "stand still"]);
    refused(&url, &["--redis-replicas=2"], 78, &["redis_replicas is 2, and 1"]);
    refused(&format!("redis://{}", replica.address()), &[], 78, &["is a replica"]);
    // A user of his own, with no more than is needed.
    let may = "+@read +@write +@scripting +@transaction +@connection +info +role +wait +time";
    let rule = ["ACL", "SETUSER", "room", "on", ">hush-hush", "~waitroom:*"];
    let rule: Vec<_> = rule.into_iter().chain(may.split(' ')).collect();
    primary.say::<()>(&rule);
    primary.say::<()>(&["ACL", "SETUSER", "admin", "on", ">hush-all", "~*", "&*", "+@all"]);
    primary.say::<()>(&["ACL", "SETUSER", "default", "off"]);
    primary.log_in("admin", "hush-all");
    let url = |login: &str| format!("redis://{login}@{}", primary.address());
    fine(&url("room:hush-hush"), &[], &["role master"]);
    refused(&url("room:hush-hash"), &[], 78, &["user or password is refused"]);
}

#[test]
fn sentinels() {
    let primary = Node::start(Nature::default());
    let replica = Node::replica_of(&primary);
    let sentinels = Sentinels::over(&primary, "tickets", "");
    sentinels.ready(1);
    let url = |name: &str| format!("redis-sentinel://{}/{name}", sentinels.hosts());
    fine(&url("tickets"), &[], &["3 usable Sentinels", "set redis_replicas to 1"]);
    refused(&url("tikets"), &[], 78, &["no primary of the name \"tikets\"", "they know tickets"]);
    let hosts = sentinels.hosts();
    let (one, _) = hosts.split_once(',').unwrap();
    refused(&format!("redis://{one}"), &[], 78, &["this is a Sentinel: give redis-sentinel://"]);
    refused(&format!("redis-sentinel://{}/tickets", primary.address()), &[], 78, &["is no Sentinel"]);
    replica.say::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    refused(&url("tickets"), &[], 78, &["noeviction"]);
    // What is announced leads nowhere from here.
    let elsewhere = format!("--redis-addresses=127.0.0.1:{}=127.0.0.1:1", primary.port);
    refused(&url("tickets"), &[&elsewhere], 69, &["redis_addresses", &primary.address()]);
}

#[test]
fn a_cluster() {
    let cluster = Cluster::start(Nature::default(), |_| 0);
    let first = cluster.nodes[0].address();
    refused(&format!("redis://{first}"), &[], 78, &["redis-cluster://"]);
    let url = format!("redis-cluster://{first}");
    fine(&url, &[], &["all 16384 slots", "no replica"]);
    refused(&url, &["--redis-replicas=1"], 78, &["redis_replicas is 1, and 0"]);
    for node in &cluster.nodes {
        // It may have heard of it already.
        let _ = node.try_say::<()>(&["CLUSTER", "DELSLOTS", "6000"]);
    }
    until("the gap is known", || {
        !cluster.nodes[0].say::<String>(&["CLUSTER", "INFO"]).contains("slots_assigned:16384")
    });
    refused(&url, &[], 78, &["slots 6000-6000"]);
    let named = Cluster::start(Nature::of(&NAMED), |_| 0);
    let url = format!("redis-cluster://{}", named.hosts());
    refused(&url, &[], 69, &["inside.invalid:", "set redis_addresses"]);
    let alone = Node::start(Nature::default());
    refused(&format!("redis-cluster://{}", alone.address()), &[], 78, &["is no part of a cluster"]);
}

/// Two lines of one sale would admit twice as many.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_led_to_another_redis_begins_no_line_of_its_own() {
    let (world, other) = (World::new(), Node::start(Nature::default()));
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let (_kim, joined) = server.join(&sale).await;
    journaled(&server, &sale, &[Told { token: joined["place"].as_str().unwrap().to_owned() }]).await;
    let (redis, postgres) = (format!("redis://{}", other.address()), world.postgres.url());
    let (status, said) = spawn_blocking(move || run_on("serve", &redis, &postgres, &[])).await.unwrap();
    assert!(status == 69 && said.contains("another instance serves it from elsewhere"), "{status}: {said}");
    let (_lee, joined) = server.join(&sale).await;
    assert_eq!((&joined["epoch"], &joined["rank"]), (&json!(1), &json!(1)), "{joined}");
    server.stop().await;
}

#[test]
fn a_postgres_that_refuses_is_no_postgres_that_is_away() {
    let world = World::shared();
    let there = world.postgres.url();
    for (url, word) in [
        (there.replace("/waitroom?", "/nowhere?"), "3D000"),
        (there.replace("user=waitroom", "user=nobody"), "28"),
    ] {
        for command in ["doctor", "serve"] {
            let (status, said) = run_on(command, &world.redis.url(), &url, &[]);
            assert_eq!(status, 78, "{command}: {said}");
            assert!(said.contains(word) && said.contains("password and database in postgres_url"), "{said}");
        }
    }
}
