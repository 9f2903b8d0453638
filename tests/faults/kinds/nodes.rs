//! What happens to Redis where it is several.

use super::{Held, Kind};
use crate::{
    nodes::{Node, until},
    stage::Stage,
};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// For so long the primary is written to and no replica hears of it.
const ALONE: Duration = Duration::from_millis(1200);
/// Whoever can take over has done so by then.
const PROMOTION: Duration = Duration::from_secs(20);
/// Between two handfuls of keys that move to another node.
const HANDFUL: Duration = Duration::from_millis(150);

pub async fn inject(kind: Kind, stage: &mut Stage) -> Held {
    let nodes = &mut stage.redis.nodes;
    match kind {
        Kind::FailoverToOneReplica | Kind::FailoverToOneOfTwo | Kind::ClusterFailover => {
            fail_over(stage).await;
        }
        Kind::FailoverToTheOneThatHears | Kind::PromotedBehind => {
            nodes[1].cut_off();
            sleep(ALONE).await;
            fail_over(stage).await;
        }
        Kind::ClusterSlotMoved => tokio::task::block_in_place(|| stage.redis.move_slot(HANDFUL)),
        _ => unreachable!("{kind:?} is about one Redis"),
    }
    Held::Nothing
}

pub async fn heal(_: Kind, stage: &mut Stage, _: Held) {
    let redis = &mut stage.redis;
    // A slot may have moved to a node that has no replica: then nobody takes over, and it must come back itself.
    let began = Instant::now();
    while redis.home().is_none() && began.elapsed() < PROMOTION {
        sleep(HANDFUL).await;
    }
    if redis.home().is_none() {
        redis.nodes.iter_mut().filter(|node| !node.is_running()).for_each(Node::restart);
    }
    until("a primary has the line", || redis.home().is_some());
    let port = redis.nodes[redis.home().unwrap()].port.to_string();
    for node in &mut redis.nodes {
        node.mend();
        if !node.is_running() {
            node.restart();
            // Sentinels would say so too, after a while. In a cluster it knows by itself.
            let _ = node.try_say::<()>(&["REPLICAOF", "127.0.0.1", &port]);
        }
    }
    let replicas = stage.topology.waits_for();
    until("the primary has its replicas", || {
        redis.home().is_some_and(|home| {
            let known = redis.nodes[home].info("connected_slaves");
            known.parse::<u32>().is_ok_and(|known| known >= replicas)
        })
    });
}

/// The node that has the line dies, and whoever watches puts another in its place.
async fn fail_over(stage: &mut Stage) {
    let home = stage.redis.home().expect("the line is somewhere");
    stage.redis.nodes[home].kill();
}
