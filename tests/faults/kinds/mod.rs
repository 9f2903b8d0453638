//! What can break, and how it is mended again.

mod hosts;
pub mod instances;
mod nodes;
mod postgres;
mod redis;

use crate::{
    proxy::Trap,
    stage::{Stage, Topology},
};
use std::time::Duration;
use tokio::task::JoinHandle;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Kind {
    /// Redis is killed, and started again on its data.
    RedisKilled,
    /// Redis stands still: connections stay, answers do not come.
    RedisStopped,
    /// Nobody reaches Redis.
    RedisCut,
    /// One instance does not reach Redis.
    RedisCutFromOne,
    /// What one instance and Redis say to each other gets lost.
    RedisSilentToOne,
    /// Redis answers late.
    RedisSlow,
    /// FLUSHALL.
    RedisWiped,
    /// Redis is killed, and all that it kept is gone.
    RedisLost,
    /// Redis comes back as it was some seconds before.
    RedisWentBack,
    /// Redis has no memory left for writes.
    RedisFull,
    /// Redis' clock is an hour ahead, and then right again.
    RedisClockForward,
    /// Redis' clock is an hour behind, and then right again.
    RedisClockBack,
    /// The primary dies, and its one replica, which confirms what is told, takes its place.
    FailoverToOneReplica,
    /// The primary dies, and one of its two replicas takes its place.
    FailoverToOneOfTwo,
    /// One of two replicas is cut off, the primary is written to and dies: the other takes its place.
    FailoverToTheOneThatHears,
    /// The only replica is cut off, the primary is written to and dies: the replica takes its place all the same, and has
    /// not heard what was told.
    PromotedBehind,
    /// The node of a cluster that has the sale dies, and its replica takes its place.
    ClusterFailover,
    /// The sale moves to another node of the cluster while it goes on.
    ClusterSlotMoved,
    /// What one instance sends to Redis gets lost on the way.
    PartitionedToRedis,
    /// What Redis answers to one instance gets lost on the way.
    PartitionedFromRedis,
    /// One instance and Redis do not hear of each other, and no connection ends.
    PartitionedBothWays,
    /// PostgreSQL is killed, and started again.
    PostgresKilled,
    /// PostgreSQL is killed as a commit reaches it.
    PostgresKilledBeforeCommit,
    /// PostgreSQL is killed as it commits.
    PostgresKilledDuringCommit,
    /// PostgreSQL is killed when it has committed, and nobody knows.
    PostgresKilledAfterCommit,
    /// PostgreSQL stands still.
    PostgresStopped,
    /// Nobody reaches PostgreSQL, for longer than turns wait.
    PostgresCut,
    /// All connections to PostgreSQL end at once.
    PostgresCutOnce,
    /// PostgreSQL answers late.
    PostgresSlow,
    /// PostgreSQL has no connection left.
    PostgresCrowded,
    /// PostgreSQL may write nothing more, its log neither.
    PostgresDiskFull,
    /// PostgreSQL dies, and its replica, which confirmed each commit, takes its place.
    PostgresReplaced,
    /// An instance is killed, and started again.
    InstanceKilled,
    /// An instance stands still for longer than its leases last.
    InstanceStopped,
    /// An instance may open no more files.
    InstanceOutOfFiles,
    /// An instance is asked to go, and started again: a deploy.
    InstanceDrained,
    /// Two more instances come, the two that were there go, and then the other way round: a deploy, and back.
    InstancesComeAndGo,
    /// An instance's clock is an hour ahead, and then right again.
    InstanceClockForward,
    /// An instance's clock is an hour behind, and then right again.
    InstanceClockBack,
    /// All instances are killed, and started again.
    AllInstancesKilled,
    /// All sockets of visitors are cut at once.
    SocketsCut,
}

/// What a fault is about: two that are about the same thing never happen at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Redis,
    Postgres,
    Instances,
}

/// What must be kept until a fault is mended.
pub enum Held {
    Nothing,
    Trap(Trap),
    Task(JoinHandle<()>),
}

impl Kind {
    pub fn all() -> &'static [Self] {
        <Self as clap::ValueEnum>::value_variants()
    }

    pub fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).unwrap().get_name().to_owned()
    }

    pub fn part(self) -> Part {
        let name = self.name();
        match name.split('-').next() {
            Some("redis" | "failover" | "promoted" | "cluster" | "partitioned") => Part::Redis,
            Some("postgres") => Part::Postgres,
            _ => Part::Instances,
        }
    }

    /// Where it can happen.
    pub fn topology(self) -> Topology {
        match self {
            Self::FailoverToOneReplica => Topology::Confirmed(1),
            Self::FailoverToOneOfTwo | Self::FailoverToTheOneThatHears => Topology::Confirmed(2),
            Self::PromotedBehind => Topology::Replica,
            Self::ClusterFailover | Self::ClusterSlotMoved => Topology::Cluster,
            Self::PartitionedToRedis | Self::PartitionedFromRedis | Self::PartitionedBothWays => {
                Topology::Hosts
            }
            Self::RedisClockForward
            | Self::RedisClockBack
            | Self::InstanceClockForward
            | Self::InstanceClockBack => Topology::Clocked,
            _ => Topology::Alone,
        }
    }

    /// Whether Redis does not have afterwards what it had.
    pub fn loses(self) -> bool {
        matches!(self, Self::RedisWiped | Self::RedisLost | Self::RedisWentBack | Self::PromotedBehind)
    }

    /// Whether this machine can do it.
    pub fn is_possible(self) -> bool {
        self.topology() != Topology::Hosts || crate::hosts::can_be_made()
    }

    /// How long it lasts.
    pub fn lasts(self) -> Duration {
        let tenths = match self {
            Self::RedisWiped | Self::RedisLost | Self::PostgresCutOnce | Self::SocketsCut => 2,
            Self::RedisKilled | Self::InstanceKilled | Self::AllInstancesKilled => 10,
            Self::PostgresCut | Self::InstanceStopped => 70,
            Self::ClusterSlotMoved => 2,
            _ => 30,
        };
        Duration::from_millis(tenths * 100)
    }

    pub async fn inject(self, stage: &mut Stage) -> Held {
        match self.part() {
            Part::Redis if self.topology() == Topology::Hosts => hosts::inject(self, stage),
            Part::Redis if self.is_of_many() => nodes::inject(self, stage).await,
            Part::Redis => redis::inject(self, stage).await,
            Part::Postgres => postgres::inject(self, stage).await,
            Part::Instances => instances::inject(self, stage).await,
        }
    }

    /// Whether it is about a Redis of several nodes.
    fn is_of_many(self) -> bool {
        matches!(self.topology(), Topology::Replica | Topology::Confirmed(_) | Topology::Cluster)
    }

    pub async fn heal(self, stage: &mut Stage, held: Held) {
        match self.part() {
            Part::Redis if self.topology() == Topology::Hosts => hosts::heal(self, stage),
            Part::Redis if self.is_of_many() => nodes::heal(self, stage, held).await,
            Part::Redis => redis::heal(self, stage, held).await,
            Part::Postgres => postgres::heal(self, stage, held).await,
            Part::Instances => instances::heal(self, stage).await,
        }
    }
}
