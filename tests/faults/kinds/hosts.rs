//! What gets lost between hosts.

use super::{Held, Kind};
use crate::stage::Stage;

pub fn inject(kind: Kind, stage: &Stage) -> Held {
    lose(kind, stage, true);
    Held::Nothing
}

pub fn heal(kind: Kind, stage: &Stage) {
    lose(kind, stage, false);
}

fn lose(kind: Kind, stage: &Stage, lost: bool) {
    let hosts = stage.hosts.as_ref().expect("instances are hosts");
    if kind != Kind::PartitionedFromRedis {
        hosts.lose_to_stores(0, lost);
    }
    if kind != Kind::PartitionedToRedis {
        hosts.lose_from_stores(0, lost);
    }
}
