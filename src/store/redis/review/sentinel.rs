//! Sentinels, and whom they watch.

use super::{Findings, Grade, Group, PATIENCE, Server, find, grade_of, words};
use crate::store::redis::{
    address::Address,
    find::{connect, failed},
    site::Site,
};
use futures_util::future::join_all;
use redis::{RedisError, RedisResult, aio::MultiplexedConnection};
use std::collections::HashMap;
use tokio::time::timeout;

/// What Redis tells of one server, field by field.
type Fields = HashMap<String, String>;

/// What one Sentinel knows.
struct View {
    primary: Option<Address>,
    replicas: Vec<(Address, Fields)>,
    quorum: Result<String, RedisError>,
    /// All names that it watches.
    names: Vec<String>,
}

pub(super) async fn look(
    site: &Site,
    sentinels: &[Address],
    master: &str,
    findings: &mut Findings,
) -> Option<Group> {
    let views = join_all(sentinels.iter().map(|address| view(site, address, master))).await;
    let (mut seen, mut away) = (Vec::new(), Vec::new());
    for (address, view) in sentinels.iter().zip(views) {
        match view {
            Ok(view) => seen.push((address, view)),
            Err(error) => away.push((address, error)),
        }
    }
    for (address, error) in &away {
        // One of many may be away, if its word is not needed.
        let grade = if seen.is_empty() { grade_of(error) } else { Grade::Warn };
        let whose = if grade_of(error) == Grade::Fail { " (sentinel_user, sentinel_password)" } else { "" };
        find(findings, grade, "sentinel", format!("{address}{whose}: {}", words(error, site)));
    }
    let (_, first) = seen.iter().find(|(_, view)| view.primary.is_some()).or(seen.first())?;
    for (address, view) in seen.iter().filter(|(_, view)| view.primary.is_some()) {
        match &view.quorum {
            Ok(text) => find(findings, Grade::Ok, "sentinel", format!("{address}: {text}")),
            Err(error) => {
                let text = format!("{address}: nobody would take a lost primary's place: {error}");
                find(findings, Grade::Warn, "sentinel", text);
            }
        }
    }
    let Some(primary) = &first.primary else {
        let text = format!(
            "redis_url: the Sentinels know no primary of the name {master:?}; they know {}",
            if first.names.is_empty() { "none".to_owned() } else { first.names.join(", ") }
        );
        find(findings, Grade::Fail, "sentinel", text);
        return None;
    };
    let primary = Server::announced(site, primary).await;
    let replicas = join_all(first.replicas.iter().map(|(address, fields)| async move {
        let promotable = fields.get("slave-priority").is_none_or(|priority| priority != "0");
        Server { promotable, ..Server::announced(site, address).await }
    }));
    Some(Group { primary, replicas: replicas.await })
}

async fn view(site: &Site, address: &Address, master: &str) -> RedisResult<View> {
    let asked = async {
        let mut sentinel = connect(&site.named_at(address)?, PATIENCE).await?;
        let known: Option<(String, u16)> = redis::cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(master)
            .query_async(&mut sentinel)
            .await?;
        let Some((host, port)) = known else {
            let names = list(&mut sentinel, &["MASTERS"]).await?;
            let names = names.into_iter().filter_map(|mut fields| fields.remove("name")).collect();
            return Ok(View { primary: None, replicas: Vec::new(), quorum: Ok(String::new()), names });
        };
        let replicas = list(&mut sentinel, &["REPLICAS", master]).await?.into_iter().filter_map(|fields| {
            let port = fields.get("port")?.parse().ok()?;
            Some((Address { host: fields.get("ip")?.clone(), port }, fields))
        });
        let replicas = replicas.collect();
        let quorum = redis::cmd("SENTINEL").arg("CKQUORUM").arg(master).query_async(&mut sentinel).await;
        Ok(View { primary: Some(Address { host, port }), replicas, quorum, names: Vec::new() })
    };
    timeout(PATIENCE, asked).await.unwrap_or_else(|_| Err(failed(format!("no answer within {PATIENCE:?}"))))
}

async fn list(sentinel: &mut MultiplexedConnection, words: &[&str]) -> RedisResult<Vec<Fields>> {
    redis::cmd("SENTINEL").arg(words).query_async(sentinel).await
}
