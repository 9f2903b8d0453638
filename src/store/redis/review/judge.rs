//! What may be, of what was seen.

use super::{Findings, Grade, Group, RedisFacts, find, grade_of, words};
use crate::store::redis::site::Kind;
use crate::{settings::RedisSettings, store::redis::site::Site};
use std::collections::BTreeSet;

pub(super) fn judge(groups: &[Group], site: &Site, settings: &RedisSettings, findings: &mut Findings) {
    for group in groups {
        let name = &group.primary.name;
        match &group.primary.facts {
            Ok(facts) if facts.is_sentinel => {
                let text = format!(
                    "{name}: this is a Sentinel: give redis-sentinel://host:port/master as redis_url"
                );
                find(findings, Grade::Fail, "redis_url", text);
            }
            Ok(facts) => {
                // Two hosts that name the same process have the same Redis (deploy/blue-green).
                let RedisFacts { version, role: is, run_id, .. } = facts;
                let text = format!("{version}, role {is}, process {run_id}, at {name}");
                find(findings, Grade::Ok, "redis", text);
                role(facts, name, site, findings);
                keeps(facts, name, settings, findings);
                replicas(group, facts, site, settings, findings);
                memory(facts, name, findings);
            }
            Err(error) => find(findings, grade_of(error), "redis", format!("{name}: {}", words(error, site))),
        }
        for replica in &group.replicas {
            match &replica.facts {
                Ok(facts) => keeps(facts, &replica.name, settings, findings),
                Err(error) => {
                    find(findings, Grade::Warn, "redis replicas", format!("{}: {error}", replica.name))
                }
            }
        }
    }
    let servers = groups.iter().flat_map(|group| group.replicas.iter().chain([&group.primary]));
    let versions: BTreeSet<_> =
        servers.filter_map(|server| server.facts.as_ref().ok()).map(|facts| facts.version.as_str()).collect();
    if versions.len() > 1 {
        let versions: Vec<_> = versions.into_iter().collect();
        let text =
            format!("{} side by side: a replica must not be older than its primary", versions.join(" and "));
        find(findings, Grade::Warn, "redis versions", text);
    }
}

fn role(facts: &RedisFacts, name: &str, site: &Site, findings: &mut Findings) {
    if facts.role != "master" {
        let text =
            format!("{name}: this Redis is a replica ({}): point redis_url at its primary", facts.role);
        find(findings, Grade::Fail, "redis role", text);
    }
    if let Some(refusal) = &facts.refuses {
        let text = format!(
            "redis_url: this Redis refuses a script that writes ({refusal}), at {name}: let its user run scripts (+@all but \
             CONFIG), free memory or disk, or bring the replicas that min-replicas-to-write asks for"
        );
        find(findings, Grade::Fail, "redis_url", text);
    }
    match (&site.kind, facts.cluster_enabled) {
        (Kind::Cluster { .. }, false) => {
            let text = format!("{name}: this Redis is no part of a cluster: give redis:// as redis_url");
            find(findings, Grade::Fail, "redis_url", text);
        }
        (Kind::Single | Kind::Sentinel { .. }, true) => {
            let text = format!(
                "{name}: this Redis is part of a cluster, where redis:// reaches only some of the keys: give \
                 redis-cluster:// as redis_url"
            );
            find(findings, Grade::Fail, "redis_url", text);
        }
        _ => {}
    }
}

fn keeps(facts: &RedisFacts, name: &str, settings: &RedisSettings, findings: &mut Findings) {
    if let Some(danger) = facts.danger(settings.redis_replicas, settings.allow_data_loss) {
        find(findings, Grade::Fail, "redis keeps", format!("{name}: {danger}"));
    } else if let Some(danger) = facts.danger(settings.redis_replicas, false) {
        find(
            findings,
            Grade::Warn,
            "redis keeps",
            format!("{name}: allow_data_loss is set although: {danger}"),
        );
    } else {
        let aof = if facts.aof_enabled { "on" } else { "off" };
        let text = format!("{name}: append-only file {aof}, {}", facts.maxmemory_policy);
        find(findings, Grade::Ok, "redis keeps", text);
    }
}

fn replicas(
    group: &Group,
    facts: &RedisFacts,
    site: &Site,
    settings: &RedisSettings,
    findings: &mut Findings,
) {
    let (name, wanted, connected) = (&group.primary.name, settings.redis_replicas, facts.connected_replicas);
    let mut say = |grade, text: String| find(findings, grade, "redis replicas", format!("{name}: {text}"));
    if wanted > connected {
        return say(
            Grade::Fail,
            format!(
                "redis_replicas is {wanted}, and {connected} replicas are connected: nothing would ever be acknowledged; \
                 connect more, or lower it"
            ),
        );
    }
    if connected == 0 {
        return say(
            Grade::Warn,
            "no replica: if this machine is lost, so are the joins of the last second".to_owned(),
        );
    }
    let back = "the journal brings back all but the last second, tokens the other places";
    let promotable = group.replicas.iter().filter(|replica| replica.promotable).count() as u32;
    let fails_over = !matches!(site.kind, Kind::Single);
    if fails_over && promotable > wanted {
        return say(
            Grade::Warn,
            format!(
                "{promotable} replicas can be promoted, and redis_replicas is {wanted}: one may be that lacks what was \
                 acknowledged last ({back}); set redis_replicas to {promotable}, or replica-priority 0 where none shall be"
            ),
        );
    }
    if wanted > 0 && wanted == connected {
        return say(
            Grade::Warn,
            format!(
                "{connected} connected, and redis_replicas waits for all of them: without one the sales stand still"
            ),
        );
    }
    say(Grade::Ok, format!("{connected} connected, {wanted} waited for"));
}

fn memory(facts: &RedisFacts, name: &str, findings: &mut Findings) {
    let (used, most) = (facts.used_memory >> 20, facts.maxmemory >> 20);
    let text = match most {
        0 => format!("{name}: {used} MiB used, no limit"),
        most => format!("{name}: {used} of {most} MiB used"),
    };
    // A place takes about 300 bytes; at the limit Redis refuses joins.
    if most == 0 || used < most / 5 * 4 {
        find(findings, Grade::Ok, "redis memory", text);
    } else {
        find(findings, Grade::Warn, "redis memory", format!("{text}: little is left, raise maxmemory"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Server;
    use super::*;

    const PRIMARY: &str = "redis_version:7.2.0\r\nrole:master\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n\
                           connected_slaves:2\r\n";

    fn server(info: &str) -> Server {
        Server { name: "n".to_owned(), facts: Ok(RedisFacts::parse(info)), promotable: true }
    }

    /// The worst that is found, and all words of that grade.
    fn worst(url: &str, redis_replicas: u32, primary: &str, replicas: &[&str]) -> (Grade, String) {
        let settings = RedisSettings { redis_replicas, ..RedisSettings::at(url.to_owned()) };
        let site = Site::of(&settings).unwrap();
        let group =
            Group { primary: server(primary), replicas: replicas.iter().map(|info| server(info)).collect() };
        let mut findings = Findings::new();
        judge(&[group], &site, &settings, &mut findings);
        let of = |grade| -> Vec<_> {
            findings.iter().filter(|found| found.grade == grade).map(|found| found.text.clone()).collect()
        };
        let grade =
            [Grade::Fail, Grade::Warn, Grade::Ok].into_iter().find(|grade| !of(*grade).is_empty()).unwrap();
        (grade, of(grade).join("\n"))
    }

    #[track_caller]
    fn says((grade, text): (Grade, String), wanted: Grade, word: &str) {
        assert!(grade == wanted && text.contains(word), "{grade:?} {text}");
    }

    #[test]
    fn one_server() {
        let url = "redis://h";
        says(worst(url, 0, PRIMARY, &[]), Grade::Ok, "2 connected");
        says(worst(url, 3, PRIMARY, &[]), Grade::Fail, "redis_replicas is 3, and 2");
        says(worst(url, 2, PRIMARY, &[]), Grade::Warn, "stand still");
        says(worst(url, 0, &PRIMARY.replace("master", "slave"), &[]), Grade::Fail, "is a replica");
        says(worst(url, 0, &PRIMARY.replace("aof_enabled:1", ""), &[]), Grade::Fail, "appendonly");
        says(worst(url, 1, &PRIMARY.replace("aof_enabled:1", ""), &[]), Grade::Ok, "1 waited for");
        says(worst(url, 0, &format!("{PRIMARY}cluster_enabled:1"), &[]), Grade::Fail, "redis-cluster://");
    }

    #[test]
    fn who_may_take_its_place() {
        let (url, replica) = ("redis-sentinel://h/m", PRIMARY.replace("master", "slave"));
        says(worst(url, 1, PRIMARY, &[&replica, &replica]), Grade::Warn, "set redis_replicas to 2");
        says(worst(url, 2, PRIMARY, &[&replica, &replica]), Grade::Warn, "stand still");
        let evicts = replica.replace("noeviction", "allkeys-lru");
        says(worst(url, 2, PRIMARY, &[&replica, &evicts]), Grade::Fail, "noeviction");
        let newer = replica.replace("7.2.0", "7.4.1");
        says(worst(url, 2, PRIMARY, &[&replica, &newer]), Grade::Warn, "Redis 7.2.0 and Redis 7.4.1");
        says(
            worst("redis-cluster://h", 2, PRIMARY, &[&replica, &replica]),
            Grade::Fail,
            "no part of a cluster",
        );
    }
}
