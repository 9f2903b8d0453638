//! The nodes of a cluster.

use super::{Findings, Grade, Group, PATIENCE, Server, find, grade_of, words};
use crate::store::redis::{
    address::Address,
    find::{Range, connect, failed, slots},
    site::Site,
    slot::SLOTS,
};
use futures_util::future::join_all;
use redis::RedisResult;
use tokio::time::timeout;

pub(super) async fn look(site: &Site, seeds: &[Address], findings: &mut Findings) -> Vec<Group> {
    let mut seen = None;
    let mut away = Vec::new();
    for seed in seeds {
        match map(site, seed).await {
            Ok(ranges) => seen = seen.or(Some(ranges)),
            Err(error) => away.push((seed, error)),
        }
    }
    for (seed, error) in &away {
        let grade = if seen.is_some() { Grade::Warn } else { grade_of(error) };
        find(findings, grade, "redis_url", format!("{seed}: {}", words(error, site)));
    }
    let Some(ranges) = seen else { return Vec::new() };
    let gaps = uncovered(&ranges);
    if gaps.is_empty() {
        find(findings, Grade::Ok, "cluster", format!("all {SLOTS} slots are served"));
    } else {
        let text =
            format!("slots {} are no node's: give them to one (redis-cli --cluster fix)", gaps.join(", "));
        find(findings, Grade::Fail, "cluster", text);
    }
    let mut groups: Vec<Vec<Address>> = ranges.into_iter().map(|range| range.nodes).collect();
    groups.sort_unstable();
    groups.dedup_by(|one, other| one.first() == other.first());
    join_all(groups.iter().filter_map(|nodes| nodes.split_first()).map(|(primary, replicas)| async move {
        let replicas = join_all(replicas.iter().map(|address| Server::announced(site, address))).await;
        Group { primary: Server::announced(site, primary).await, replicas }
    }))
    .await
}

async fn map(site: &Site, seed: &Address) -> RedisResult<Vec<Range>> {
    let asked = async { slots(&mut connect(&site.named_at(seed)?, PATIENCE).await?, seed).await };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(failed(format!("no answer within {PATIENCE:?}"))))
}

/// The slots that no node has, as ranges.
fn uncovered(ranges: &[Range]) -> Vec<String> {
    let mut covered: Vec<_> = ranges.iter().map(|range| (range.first, range.last)).collect();
    covered.sort_unstable();
    covered.push((SLOTS, SLOTS));
    let (mut gaps, mut next) = (Vec::new(), 0);
    for (first, last) in covered {
        if first > next {
            gaps.push(format!("{next}-{}", first - 1));
        }
        next = next.max(last + 1);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps() {
        let range = |(first, last)| Range { first, last, nodes: Vec::new() };
        let gaps = |ranges: &[(u16, u16)]| uncovered(&ranges.iter().copied().map(range).collect::<Vec<_>>());
        assert!(gaps(&[(5461, 16383), (0, 5460)]).is_empty());
        assert_eq!(gaps(&[(100, 5460), (5462, 16382)]), ["0-99", "5461-5461", "16383-16383"]);
        assert_eq!(gaps(&[]), ["0-16383"]);
    }
}
