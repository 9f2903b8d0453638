//! `doctor`: looks at everything that a sale's day depends on, and says what to change.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::{Exit, output, serve, system};
use crate::app;
use crate::settings::{KEY_BYTES, PostgresSettings, ServeArgs, SettingsError};
use crate::store::errors::{ConnectError, Danger};
use crate::store::postgres::connect::{postgres_pool, postgres_single};
use crate::store::postgres::{facts::PostgresFacts, migrations};
use crate::store::redis::{
    Site,
    review::{Finding, Grade, review},
};

/// How long a server may take to answer before it counts as away.
const PATIENCE: Duration = Duration::from_secs(10);

/// As a line of the report.
fn line(finding: &Finding) -> String {
    let grade = match finding.grade {
        Grade::Ok => "ok",
        Grade::Warn => "warn",
        Grade::Fail | Grade::Away => "fail",
    };
    format!("{grade:<5} {:<18} {}", finding.subject, finding.text)
}

#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, grade: Grade, subject: &'static str, text: impl Into<String>) {
        self.0.push(Finding { grade, subject, text: text.into() });
    }

    /// An error that may begin with its subject.
    fn fail(&mut self, subject: &'static str, error: &impl std::error::Error) {
        let text = error.to_string();
        let text = text.strip_prefix(subject).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
        self.add(Grade::Fail, subject, text);
    }

    /// `ok` with the first text, or the grade with the second.
    fn check(&mut self, fine: bool, otherwise: Grade, subject: &'static str, yes: String, no: String) {
        if fine { self.add(Grade::Ok, subject, yes) } else { self.add(otherwise, subject, no) }
    }

    /// As `serve` would end, which stops at the first that is wrong.
    fn exit(&self) -> Exit {
        let wrong = self.0.iter().find_map(|finding| match finding.grade {
            Grade::Ok | Grade::Warn => None,
            Grade::Fail => Some(Exit::Settings),
            Grade::Away => Some(Exit::Unreachable),
        });
        wrong.unwrap_or(Exit::Done)
    }
}

/// Looks, in the order in which `serve` does, and prints.
pub fn run(args: &ServeArgs) -> anyhow::Result<Exit> {
    let mut report = Report::default();
    settings(&mut report, args)?;
    // All that can be judged alone comes before a store is asked.
    let redis = resolved(&mut report, "redis_url", args.redis.resolve())?;
    let site = redis.as_ref().and_then(|redis| understood(&mut report, "redis_url", Site::of(redis)));
    let postgres_settings =
        resolved(&mut report, "postgres_url", args.postgres.resolve())?.filter(|postgres| {
            let pool = postgres_pool(postgres.postgres_url.expose(), 1);
            understood(&mut report, "postgres_url", pool).is_some()
        });
    let runtime = serve::runtime()?;
    if let Some((redis, site)) = redis.zip(site) {
        report.0.extend(runtime.block_on(review(&site, &redis)));
    }
    if let Some(settings) = postgres_settings {
        runtime.block_on(postgres(&mut report, &settings, args.redis.allow_data_loss));
    }
    files(&mut report, args);
    machine(&mut report);
    let lines: Vec<_> = report.0.iter().map(line).collect();
    output::print(&lines.join("\n"))?;
    Ok(report.exit())
}

/// A setting that is refused is a finding; a file that cannot be read ends the run, as everywhere.
fn resolved<T>(
    report: &mut Report,
    subject: &'static str,
    outcome: Result<T, SettingsError>,
) -> Result<Option<T>, SettingsError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(SettingsError::Refused { key, problem }) => {
            report.add(
                Grade::Fail,
                subject,
                if key == subject { problem } else { format!("{key}: {problem}") },
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A URL that cannot be understood is a finding.
fn understood<T>(
    report: &mut Report,
    subject: &'static str,
    outcome: Result<T, impl std::error::Error>,
) -> Option<T> {
    outcome.map_err(|error| report.fail(subject, &error)).ok()
}

fn settings(report: &mut Report, args: &ServeArgs) -> Result<(), SettingsError> {
    if let Some(admin) = resolved(report, "admin_token", args.admin.of_server())? {
        let length = admin.admin_token.expose().len();
        report.add(Grade::Ok, "admin_token", format!("{length} characters"));
        if let Some(named) = resolved(report, "admin_tokens", args.roles.resolve(&admin.admin_token))?
            && !named.is_empty()
        {
            let named: Vec<_> = named.iter().map(|one| format!("{} ({})", one.name, one.role)).collect();
            report.add(Grade::Ok, "admin_tokens", named.join(", "));
        }
        let open = format!("{} is open to the network; keep it behind a firewall", admin.admin_listen);
        let local = admin.admin_listen.ip().is_loopback();
        report.check(local, Grade::Warn, "admin_listen", admin.admin_listen.to_string(), open);
    }
    if let Some(Some(tls)) = resolved(report, "tls_cert_file", args.tls.resolve())? {
        match app::certificate_until(&tls) {
            Ok(until) => report.add(Grade::Ok, "tls_cert_file", format!("good until {until}")),
            Err(error) => report.fail("tls_cert_file", &error),
        }
    }
    // Who listens on the loopback alone is reached by a proxy.
    let alone = !args.http.listen.ip().is_loopback() || !args.http.trusted_proxies.is_empty();
    let one = format!(
        "none, and {} is reached by a proxy alone: all visitors will have its address, of which {} may join anonymously in 10 \
         minutes; name it",
        args.http.listen, args.strangers.address_places
    );
    if args.strangers.address_places > 0 {
        let fine = format!("{} named", args.http.trusted_proxies.len());
        report.check(alone, Grade::Warn, "trusted_proxies", fine, one);
    }
    resolved(report, "admin_listen", args.check_addresses())?;
    let listeners = [
        ("listen", args.http.listen, args.http.reuse_port),
        ("admin_listen", args.admin.admin_listen, false),
    ];
    for (subject, address, shared) in listeners {
        match app::bound(address, shared) {
            Ok(_) => report.add(Grade::Ok, subject, format!("{address} is free")),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                let text = format!("{address} is in use; if not by a waitroom that is to go, choose another");
                report.add(Grade::Warn, subject, text);
            }
            Err(error) => report.add(Grade::Fail, subject, format!("cannot listen on {address}: {error}")),
        }
    }
    if let Some(keys) = resolved(report, "signing_keys", args.keys.resolve())? {
        let kids: Vec<_> = keys.signing_keys.iter().map(|key| key.kid.as_str()).collect();
        report.add(Grade::Ok, "signing_keys", format!("{}: the first signs, all verify", kids.join(", ")));
        let fault = match keys.identity_key.as_ref().map(|key| key.bytes().len()) {
            None => Some("none: only sales that allow anonymous visitors work".to_owned()),
            Some(length) if length < KEY_BYTES => Some(format!(
                "has {length} bytes; HS256 wants {KEY_BYTES} (RFC 7518), so let the shop make a longer one"
            )),
            Some(_) if keys.shop_has_ours() => Some(
                "is one of signing_keys too: the shop could sign anybody's place; give it a key of its own"
                    .to_owned(),
            ),
            Some(_) => None,
        };
        let short = fault.clone().unwrap_or_default();
        report.check(fault.is_none(), Grade::Warn, "identity_key", "given".to_owned(), short);
    }
    Ok(())
}

/// What `serve` would say, which the operator may have overruled.
fn keeps(
    report: &mut Report,
    subject: &'static str,
    danger: impl Fn(bool) -> Option<Danger>,
    allow_data_loss: bool,
    fine: String,
) {
    match (danger(allow_data_loss), danger(false)) {
        (Some(danger), _) => report.add(Grade::Fail, subject, danger.to_string()),
        (None, Some(danger)) => {
            report.add(Grade::Warn, subject, format!("allow_data_loss is set although: {danger}"));
        }
        (None, None) => report.add(Grade::Ok, subject, fine),
    }
}

/// Whose secrets the files hold: others of this machine should not read them. Which of them may be written by anyone, is refused before.
fn files(report: &mut Report, args: &ServeArgs) {
    let secrets = [
        ("redis_url_file", &args.redis.url.redis_url_file),
        ("postgres_url_file", &args.postgres.postgres_url_file),
        ("admin_token_file", &args.admin.admin_token_file),
        ("admin_tokens_file", &args.roles.admin_tokens_file),
        ("signing_keys_file", &args.keys.signing_keys_file),
        ("identity_key_file", &args.keys.shop.identity_key_file),
        ("tls_key_file", &args.tls.tls_key_file),
        ("redis_key_file", &args.redis.tls.redis_key_file),
    ];
    for (key, file) in secrets {
        let Some((file, facts)) = file.as_ref().and_then(|file| Some((file, file.metadata().ok()?))) else {
            continue;
        };
        if facts.mode() & 0o004 != 0 {
            let text = format!("every user of this machine may read {}; run chmod o-r on it", file.display());
            report.add(Grade::Warn, key, text);
        }
    }
}

async fn postgres(report: &mut Report, settings: &PostgresSettings, allow_data_loss: bool) {
    let asked = tokio::time::timeout(PATIENCE, async {
        let url = settings.postgres_url.expose();
        let client = postgres_single(url).await?;
        Ok::<_, ConnectError>(PostgresFacts::read(&client, &postgres_single(url).await?).await?)
    });
    let facts = match asked.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            let grade = if error.is_refusal() { Grade::Fail } else { Grade::Away };
            let text = format!("{}: {error}; {}", settings.postgres_url, error.advice());
            return report.add(grade, "postgres", text);
        }
        Err(_) => {
            return report.add(Grade::Away, "postgres", format!("{}: no answer", settings.postgres_url));
        }
    };
    report.add(Grade::Ok, "postgres", format!("version {}, at {}", facts.version, settings.postgres_url));
    postgres_facts(report, &facts, settings.postgres_pool, allow_data_loss);
}

fn postgres_facts(report: &mut Report, facts: &PostgresFacts, pool: u16, allow_data_loss: bool) {
    let fine = format!("fsync {}, synchronous_commit {}", facts.fsync, facts.synchronous_commit);
    keeps(report, "postgres keeps", |allowed| facts.danger(pool, allowed), allow_data_loss, fine);
    if facts.unusable().is_some() {
        // Nothing else that it says is sure.
        return;
    }
    let torn = "is off: a power cut can tear pages; set it to on".to_owned();
    report.check(facts.full_page_writes != "off", Grade::Warn, "full_page_writes", "on".to_owned(), torn);
    let free = facts.max_connections.saturating_sub(facts.reserved_connections);
    let instances = free / u32::from(pool);
    let text = format!("{free} connections for pools of {pool}: room for {instances} instances");
    let tight = format!("{text}; a rolling deploy needs two at once");
    report.check(instances > 1, Grade::Warn, "postgres_pool", text, tight);
    schema(report, facts.tables, migrations::wanted_version());
}

fn schema(report: &mut Report, version: Option<i32>, wanted: i32) {
    match version {
        Some(version) if version == wanted => report.add(Grade::Ok, "schema", format!("version {version}")),
        Some(version) if version > wanted => {
            report.add(
                Grade::Warn,
                "schema",
                format!("version {version} is newer than this program ({wanted}); update it"),
            );
        }
        found => {
            let text = format!(
                "version {}, {wanted} is wanted: run `waitroom migrate` (serve does so too)",
                found.unwrap_or(0)
            );
            report.add(Grade::Warn, "schema", text);
        }
    }
}

fn machine(report: &mut Report) {
    let files = system::raise_open_files();
    let text =
        format!("{files}: room for about {} sockets", files.saturating_sub(crate::limits::FILES_RESERVED));
    let few = format!("{text}; raise the hard limit (ulimit -Hn, LimitNOFILE)");
    report.check(files >= 65_536, Grade::Warn, "open files", text, few);
    let first = |name| system::kernel(name).and_then(|numbers| numbers.first().copied());
    if let Some(backlog) = first("net/core/somaxconn") {
        let low = format!("{backlog} connections may wait to be accepted; set it to 4096 or more");
        report.check(backlog >= 4_096, Grade::Warn, "net.core.somaxconn", backlog.to_string(), low);
    }
    if let Some([low, high]) = system::kernel("net/ipv4/ip_local_port_range").as_deref() {
        let ports = high.saturating_sub(*low) + 1;
        let text = format!("{ports}: a proxy here reaches one address with at most so many sockets");
        let few = format!("{text}; widen net.ipv4.ip_local_port_range to 1024 65535");
        report.check(ports >= 28_000, Grade::Warn, "local ports", text, few);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> PostgresFacts {
        PostgresFacts {
            version: "15.1".into(),
            max_connections: 100,
            reserved_connections: 3,
            fsync: "on".into(),
            synchronous_commit: "on".into(),
            full_page_writes: "on".into(),
            schema: Some("public".into()),
            may_create: true,
            tables: Some(migrations::wanted_version()),
            ..PostgresFacts::default()
        }
    }

    fn exit(facts: &PostgresFacts, pool: u16, allow_data_loss: bool) -> (Exit, bool) {
        let mut report = Report::default();
        postgres_facts(&mut report, facts, pool, allow_data_loss);
        (report.exit(), report.0.iter().any(|finding| finding.grade == Grade::Warn))
    }

    #[test]
    fn what_postgres_may_be() {
        assert_eq!(exit(&facts(), 8, false), (Exit::Done, false));
        assert_eq!(exit(&facts(), 60, false), (Exit::Done, true));
        assert_eq!(exit(&facts(), 98, true).0, Exit::Settings);
        assert_eq!(exit(&PostgresFacts { may_create: false, ..facts() }, 8, false), (Exit::Done, false));
        for loses in [
            PostgresFacts { fsync: "off".into(), ..facts() },
            PostgresFacts { synchronous_commit: "off".into(), ..facts() },
        ] {
            assert_eq!(exit(&loses, 8, false).0, Exit::Settings);
            assert_eq!(exit(&loses, 8, true), (Exit::Done, true));
        }
        for unusable in [
            PostgresFacts { in_recovery: true, ..facts() },
            PostgresFacts { read_only: true, ..facts() },
            PostgresFacts { schema: None, ..facts() },
            PostgresFacts { refuses: Some("no".into()), ..facts() },
            PostgresFacts { tables: None, may_create: false, ..facts() },
            PostgresFacts { is_pooled_by_transaction: true, ..PostgresFacts::default() },
        ] {
            assert_eq!(exit(&unusable, 8, true).0, Exit::Settings, "{unusable:?}");
        }
    }

    #[test]
    fn the_first_that_is_wrong_decides_as_at_the_start() {
        let exit = |grades: &[Grade]| {
            let mut report = Report::default();
            grades.iter().for_each(|grade| report.add(*grade, "", ""));
            report.exit()
        };
        assert_eq!(exit(&[Grade::Warn, Grade::Fail, Grade::Away]), Exit::Settings);
        assert_eq!(exit(&[Grade::Ok, Grade::Away, Grade::Fail]), Exit::Unreachable);
        assert_eq!(exit(&[Grade::Ok, Grade::Warn]), Exit::Done);
    }
}
