//! Redis by TLS, with an authority of one's own, and asking everyone who he is.

use super::{
    crowd::{come, lost, sells, until_served},
    review::{fine, refused},
    serve::serve,
};
use crate::nodes::{CLIENT, Cluster, Nature, Node, Sentinels, until};
use serde_json::json;

fn flags(settings: &[(&str, &str)]) -> Vec<String> {
    settings.iter().map(|(name, value)| format!("--{}={value}", name.replace('_', "-"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_sells() {
    let node = Node::start(Nature::by_tls());
    let server = serve(&format!("rediss://{}", node.address()), &CLIENT).await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    sells(&server, &sale, "A-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_by_sentinels() {
    let mut primary = Node::start(Nature::by_tls());
    let replica = Node::replica_of(&primary);
    let sentinels = Sentinels::over(&primary, "tickets", "hush-sentinel");
    sentinels.ready(1);
    let url = format!("rediss-sentinel://{}/tickets?sentinel_password=hush-sentinel", sentinels.hosts());
    let server = serve(&url, &CLIENT).await;
    let sale = server.sale(json!({})).await;
    let told = come(&server, &sale, 5).await;
    until("the replica has them", || replica.info("slave_repl_offset") == primary.info("master_repl_offset"));
    primary.kill();
    until("the replica is promoted", || replica.info("role") == "master");
    until_served(&server, &sale).await;
    assert_eq!(lost(&server, &sale, &told).await, 0);
    server.open(&sale).await;
    sells(&server, &sale, "A-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_in_a_cluster() {
    let mut sale = String::new();
    let mut cluster = Cluster::start(Nature::by_tls(), |_| 0);
    let server = serve(&format!("rediss-cluster://{}", cluster.hosts()), &CLIENT).await;
    while sale.is_empty() || cluster.home(&sale) != 0 {
        sale = server.sale(json!({})).await;
    }
    let told = come(&server, &sale, 5).await;
    let (first, replica) = (&cluster.nodes[0], &cluster.nodes[3]);
    until("the replica has them", || replica.info("slave_repl_offset") == first.info("master_repl_offset"));
    cluster.nodes[0].kill();
    until("the replica is promoted", || cluster.nodes[3].info("role") == "master");
    until_served(&server, &sale).await;
    assert_eq!(lost(&server, &sale, &told).await, 0);
    server.open(&sale).await;
    sells(&server, &sale, "A-1").await;
}

/// Who is believed, and who is let in.
#[test]
fn what_is_said_of_certificates() {
    let node = Node::start(Nature::by_tls());
    let url = format!("rediss://{}", node.address());
    let [ca, cert, key] = CLIENT;
    let certificates = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/certificates");
    let other = format!("{certificates}/one.cert.pem");
    let foreign = format!("{certificates}/one.key.pem");
    let with = |settings: &[(&str, &str)], status: i32, words: &[&str]| {
        let flags = flags(settings);
        refused(&url, &flags.iter().map(String::as_str).collect::<Vec<_>>(), status, words);
    };
    let flags = flags(&CLIENT);
    fine(&url, &flags.iter().map(String::as_str).collect::<Vec<_>>(), &["role master"]);
    // Nobody vouches for it, or somebody else would.
    with(&[], 78, &["redis_ca_file"]);
    with(&[("redis_ca_file", &other), cert, key], 78, &["redis_ca_file"]);
    with(&[ca], 78, &["redis_cert_file"]);
    with(&[ca, ("redis_cert_file", &other), ("redis_key_file", &foreign)], 78, &["redis_cert_file"]);
    // What the files are.
    with(&[ca, cert, ("redis_key_file", &foreign)], 78, &["redis_key_file: ", "belong together"]);
    with(&[ca, cert], 78, &["redis_key_file: is missing"]);
    with(&[("redis_ca_file", key.1)], 78, &["redis_ca_file: holds no certificate"]);
    with(&[("redis_ca_file", "/nowhere.pem")], 78, &["redis_ca_file: cannot read /nowhere.pem"]);
    // Files that nobody would look at.
    let plain = format!("redis://127.0.0.1:{}", node.port);
    let believes = format!("--redis-ca-file={}", ca.1);
    refused(&plain, &[&believes], 78, &["redis_ca_file: ", "redis_url has no TLS"]);
    refused(&format!("{url}/#insecure"), &[&believes], 78, &["redis_ca_file: ", "#insecure"]);
    // Each port speaks one of the two.
    refused(&format!("rediss://127.0.0.1:{}", node.port), &[&believes], 69, &["no TLS there"]);
    refused(&format!("redis://{}", node.address()), &[], 69, &["with rediss"]);
}
