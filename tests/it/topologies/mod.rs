//! Redis as its users run it: behind Sentinels, as a cluster, with replicas that are waited for.

mod cluster;
mod crowd;
mod review;
mod sentinel;
mod serve;
mod tls;
