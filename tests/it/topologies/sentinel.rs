//! Behind Sentinels: a failover is over for the visitors as soon as it is for Redis, and with replicas that are waited for
//! it loses nothing that was acknowledged.

use super::{
    crowd::{Told, come, comes, journaled, lost, sells, until_served},
    serve::serve,
};
use crate::{
    nodes::{Nature, Node, Sentinels, until},
    world::Server,
};
use serde_json::json;

struct Scene {
    primary: Node,
    replicas: Vec<Node>,
    sentinels: Sentinels,
    server: Server,
    sale: String,
}

impl Scene {
    async fn with(replicas: usize, waited_for: &str) -> Self {
        let primary = Node::start(Nature::default());
        let replicas: Vec<_> = (0..replicas).map(|_| Node::replica_of(&primary)).collect();
        let sentinels = Sentinels::over(&primary, "tickets", "");
        sentinels.ready(replicas.len());
        let url = format!("redis-sentinel://{}/tickets", sentinels.hosts());
        let server = serve(&url, &[("redis_replicas", waited_for)]).await;
        let sale = server.sale(json!({})).await;
        Self { primary, replicas, sentinels, server, sale }
    }

    async fn come(&self, count: usize) -> Vec<Told> {
        come(&self.server, &self.sale, count).await
    }

    /// The primary dies, and a replica takes its place.
    fn fail_over(&mut self) -> &Node {
        self.primary.kill();
        until("a replica is promoted", || self.replicas.iter().any(|node| node.info("role") == "master"));
        self.replicas.iter().find(|node| node.info("role") == "master").unwrap()
    }

    async fn serves_again(&self) {
        until_served(&self.server, &self.sale).await;
    }

    /// The life of the line there: a line that lost something begins another.
    fn epoch(&self, node: &Node) -> u64 {
        node.say(&["HGET", &format!("waitroom:{{{}}}:sale", self.sale), "epoch"])
    }

    async fn lost(&self, told: &[Told]) -> usize {
        lost(&self.server, &self.sale, told).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_over_for_visitors_when_it_is_for_redis() {
    let mut scene = Scene::with(1, "0").await;
    let told = scene.come(10).await;
    let (mut waiting, _) = scene.server.join(&scene.sale).await;
    until("the replica has them", || {
        scene.replicas[0].info("slave_repl_offset") == scene.primary.info("master_repl_offset")
    });
    scene.fail_over();
    scene.serves_again().await;
    assert_eq!(scene.lost(&told).await, 0);
    // Who waited has his socket still, and his turn comes on it.
    scene.server.open(&scene.sale).await;
    waiting.hear_past(&["joined"], "granted").await;
    sells(&scene.server, &scene.sale, "A-1").await;
    assert!(scene.sentinels.hosts().contains("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_replica_had_begins_a_new_life_of_the_line() {
    let mut scene = Scene::with(1, "0").await;
    let mut told = scene.come(5).await;
    scene.replicas[0].cut_off();
    told.extend(scene.come(5).await);
    // Nobody else knows of a place that was drawn in the last milliseconds: its owner's token brings that one back.
    journaled(&scene.server, &scene.sale, &told).await;
    scene.fail_over();
    scene.serves_again().await;
    assert_eq!(scene.lost(&told).await, 0);
    assert_eq!(scene.epoch(&scene.replicas[0]), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_replica_waited_for_nothing_acknowledged_is_lost() {
    let mut scene = Scene::with(1, "1").await;
    let told = scene.come(5).await;
    let (mut waiting, _) = scene.server.join(&scene.sale).await;
    scene.replicas[0].cut_off();
    // The primary takes writes, and tells nobody: neither a place nor a turn.
    assert!(comes(&scene.server, &scene.sale).await.is_none());
    let open = json!({ "phase": "open" });
    let _ = scene.server.admin_once("PATCH", &format!("/sales/{}", scene.sale), Some(open)).await;
    scene.fail_over();
    // It is alone: nobody is told anything before it has a replica of its own.
    assert!(comes(&scene.server, &scene.sale).await.is_none());
    scene.replicas[0].mend();
    scene.primary.restart();
    scene.primary.follow(&scene.replicas[0]);
    until("it has a replica", || scene.replicas[0].info("connected_slaves") == "1");
    scene.serves_again().await;
    assert_eq!(scene.lost(&told).await, 0);
    waiting.hear_past(&["joined"], "granted").await;
    assert_eq!(scene.epoch(&scene.replicas[0]), 1, "the line lost nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_one_of_two_replicas_cut_off_the_other_is_enough() {
    let mut scene = Scene::with(2, "1").await;
    let mut told = scene.come(5).await;
    scene.replicas[0].cut_off();
    told.extend(scene.come(10).await);
    let promoted = scene.fail_over().port;
    assert_eq!(promoted, scene.replicas[1].port, "the one that has more is promoted");
    scene.replicas[0].mend();
    scene.serves_again().await;
    assert_eq!(scene.lost(&told).await, 0);
    assert_eq!(scene.epoch(&scene.replicas[1]), 1, "the line lost nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_users_and_passwords_everywhere() {
    let primary = Node::start(Nature::default());
    // What docs/redis.md asks for, and no more.
    let may = "+@read +@write +@scripting +@transaction +@connection +info +role +wait +time";
    let rule = ["ACL", "SETUSER", "room", "on", ">hush-hush", "~waitroom:*"];
    primary.say::<()>(&rule.into_iter().chain(may.split(' ')).collect::<Vec<_>>());
    let sentinels = Sentinels::over(&primary, "tickets", "hush-sentinel");
    sentinels.ready(0);
    let url = format!(
        "redis-sentinel://room:hush-hush@{}/tickets?sentinel_password=hush-sentinel",
        sentinels.hosts()
    );
    let server = serve(&url, &[]).await;
    let sale = server.sale(json!({})).await;
    server.open(&sale).await;
    sells(&server, &sale, "A-1").await;
    assert!(primary.say::<String>(&["CLIENT", "LIST"]).contains("user=room"));
}
