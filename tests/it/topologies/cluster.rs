//! A cluster: each sale has its node, loses it and finds the next, and stands still while its slot moves.

use super::{
    crowd::{come, comes, lost, sells, until_served},
    serve::serve,
};
use crate::{
    nodes::{Cluster, Nature, until},
    world::Server,
};
use serde_json::json;
use waitroom::store::{
    line::Found,
    redis::{Redis, Site},
};
use wire::domain::ids::SaleId;

/// A sale on each of the primaries.
async fn sales(cluster: &Cluster, server: &Server) -> [String; 3] {
    let mut found = [const { None }; 3];
    while found.iter().any(Option::is_none) {
        let sale = server.sale(json!({})).await;
        let home = &mut found[cluster.home(&sale)];
        home.get_or_insert(sale);
    }
    found.map(Option::unwrap)
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_are_spread_and_each_outlives_its_node() {
    let mut cluster = Cluster::start(Nature::default(), |_| 0);
    // One node is enough to find the others, also when it is gone itself.
    let url = format!("redis-cluster://{}", cluster.nodes[0].address());
    let server = serve(&url, &[]).await;
    let sales = sales(&cluster, &server).await;
    let mut told = Vec::new();
    for sale in &sales {
        server.open(sale).await;
        sells(&server, sale, "A-1").await;
        server.patch(sale, json!({ "phase": "paused" })).await;
        told.push(come(&server, sale, 5).await);
    }
    for (node, sale) in cluster.nodes.iter().zip(&sales) {
        assert_eq!(node.say::<u64>(&["EXISTS", &format!("waitroom:{{{sale}}}:sale")]), 1, "{sale}");
    }
    // As `waitroom check` reads them.
    let reader = Redis::connect(Site::parse(&url).unwrap(), "check").await.unwrap();
    for sale in &sales {
        let found = reader.line(&SaleId::parse(sale).unwrap()).survey().await.unwrap();
        assert!(matches!(found, Found::Still(survey) if survey.places.len() == 6), "{sale}");
    }
    let (first, replica) = (&cluster.nodes[0], &cluster.nodes[3]);
    until("the replica has them", || replica.info("slave_repl_offset") == first.info("master_repl_offset"));
    cluster.nodes[0].kill();
    // The others go on.
    assert!(comes(&server, &sales[1]).await.is_some());
    until("the replica is promoted", || cluster.nodes[3].info("role") == "master");
    until_served(&server, &sales[0]).await;
    for (sale, told) in sales.iter().zip(&told) {
        assert_eq!(lost(&server, sale, told).await, 0);
        server.open(sale).await;
        sells(&server, sale, "A-2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_stands_still_while_its_slot_moves_and_goes_on_after() {
    let cluster = Cluster::start(Nature::default(), |_| 0);
    let server = serve(&format!("redis-cluster://{}", cluster.hosts()), &[]).await;
    let sales = sales(&cluster, &server).await;
    let [_, moving, staying] = &sales;
    let (mut waiting, _) = server.join(moving).await;
    let told = come(&server, moving, 5).await;
    let (from, to) = (&cluster.nodes[1], &cluster.nodes[2]);
    let slot: u16 = from.say(&["CLUSTER", "KEYSLOT", moving]);
    let slot = slot.to_string();
    let [from_id, to_id]: [String; 2] = [from, to].map(|node| node.say(&["CLUSTER", "MYID"]));
    to.say::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.say::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    let keys: Vec<String> = from.say(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    let carry = |keys: &[String]| {
        let port = to.port.to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.iter().map(String::as_str));
        from.say::<()>(&words);
    };
    let (some, rest) = keys.split_at(keys.len() / 2);
    carry(some);
    assert!(comes(&server, moving).await.is_none(), "its keys are on two nodes");
    assert!(comes(&server, staying).await.is_some(), "other sales go on");
    carry(rest);
    for node in [to, from, &cluster.nodes[0]] {
        node.say::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    until_served(&server, moving).await;
    assert_eq!(lost(&server, moving, &told).await, 0);
    server.open(moving).await;
    waiting.hear_past(&["joined"], "granted").await;
    assert_eq!(to.say::<u64>(&["EXISTS", &format!("waitroom:{{{moving}}}:sale")]), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_announce_other_addresses() {
    let cluster = Cluster::start(Nature::of(&super::review::NAMED), |_| 0);
    let url = format!("redis-cluster://{}", cluster.hosts());
    let server = serve(&url, &[("redis_addresses", "inside.invalid=127.0.0.1")]).await;
    for sale in sales(&cluster, &server).await {
        server.open(&sale).await;
        sells(&server, &sale, "A-1").await;
    }
}
