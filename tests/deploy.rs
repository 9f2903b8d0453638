//! What people deploy with says the same as the program and as each other: settings, ports, paths, versions, and who waits
//! longer than whom. Each check is shown to find what it is for.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
        .unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The settings of `serve`, as keys of the file.
fn settings() -> BTreeSet<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_waitroom")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let flags = help.split_whitespace().filter_map(|word| word.strip_prefix("--"));
    flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_alphanumeric()).replace('-', "_")).collect()
}

/// Keys of a TOML file, also those that are there as a suggestion (`# key = …`), that are no settings.
fn unknown_keys(text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let keys = text.lines().filter_map(|line| line.trim().trim_start_matches("# ").split_once(" = "));
    let names =
        keys.map(|(key, _)| key).filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    names.filter(|key| !known.contains(*key)).map(str::to_owned).collect()
}

/// Variables that are no settings.
fn unknown_variables(text: &str, known: &BTreeSet<String>) -> Vec<String> {
    let names = text.split(|c: char| !c.is_ascii_uppercase() && c != '_');
    let names = names.filter_map(|word| word.strip_prefix("WAITROOM_")).map(str::to_lowercase);
    names.filter(|name| !known.contains(name)).collect()
}

/// The number that follows `key`, wherever it stands first.
fn number(text: &str, key: &str) -> u64 {
    let after = text.split(key).nth(1).unwrap_or_else(|| panic!("no {key}"));
    let digits = after.trim_start_matches([' ', '"', '=', ':']);
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or_else(|_| panic!("{key} is no number"))
}

/// Everything that kills waits longer than the drain, with five seconds to spare.
fn impatient(all: &[(&str, u64, u64)]) -> Vec<String> {
    let short = all.iter().filter(|(_, drain, grace)| *grace < drain + 5);
    short.map(|(what, drain, grace)| format!("{what} waits {grace} s for a drain of {drain} s")).collect()
}

#[test]
fn every_setting_is_one() {
    let known = settings();
    assert!(known.contains("redis_url_file") && known.contains("drain_s"), "{known:?}");
    let toml = read("deploy/etc/waitroom.toml");
    let map = read("deploy/kubernetes/waitroom.yaml");
    let map = map.split("waitroom.toml: |").nth(1).unwrap().split("---").next().unwrap();
    for text in [&toml, map] {
        assert_eq!(unknown_keys(text, &known), Vec::<String>::new());
        assert!(text.contains("redis_url_file") && text.contains("drain_s = "), "{text}");
    }
    // What Kubernetes would say of its services has our prefix, and would be refused.
    assert!(read("deploy/kubernetes/waitroom.yaml").contains("\n      enableServiceLinks: false\n"));
    let compose = read("deploy/compose/compose.yml");
    assert_eq!(unknown_variables(&compose, &known), Vec::<String>::new());
    for command in ["redis_replicas", "admin_listen", "trusted_proxies", "drain_s"] {
        // What the host of AWS changes with sed must be there to change.
        let line = |text: &str| text.lines().any(|line| line.trim_start_matches("# ").starts_with(command));
        assert!(line(&toml) && read("deploy/terraform/host.sh").contains(command), "{command}");
    }
    assert_eq!(unknown_keys("# redis_replicsa = 1\ndrain_s = 20\n# A = b", &known), ["redis_replicsa"]);
    assert_eq!(unknown_variables("WAITROOM_DRAIN_S: 1\nWAITROOM_DRAIN: 2", &known), ["drain"]);
}

#[test]
fn who_kills_waits_longer_than_the_drain() {
    let unit = read("deploy/systemd/waitroom.service");
    let compose = read("deploy/compose/compose.yml");
    let pod = read("deploy/kubernetes/waitroom.yaml");
    let balancer = read("deploy/terraform/balancer.tf");
    let drain = number(&read("deploy/etc/waitroom.toml"), "drain_s");
    let aws = number(&read("deploy/terraform/main.tf"), "drain_s");
    let stop = number(&unit, "TimeoutStopSec=");
    let all = [
        ("systemd", drain, stop),
        ("compose", number(&compose, "WAITROOM_DRAIN_S"), number(&compose, "stop_grace_period")),
        (
            "a pod",
            number(&pod, "drain_s =") + number(&pod, "seconds:"),
            number(&pod, "terminationGracePeriodSeconds:"),
        ),
        ("AWS' host", aws, number(&read("deploy/terraform/host.sh"), "|TimeoutStopSec=")),
        ("AWS' balancer", aws, number(&balancer, "deregistration_delay ")),
    ];
    assert_eq!(impatient(&all), Vec::<String>::new());
    assert_eq!(impatient(&[("x", 20, 25), ("y", 20, 24)]), ["y waits 24 s for a drain of 20 s"]);
    // Longer than the silence after which waitroom pings, and shorter than it keeps a trusted proxy's idle connection.
    assert!((30..75).contains(&number(&balancer, "idle_timeout ")));
}

/// Where one is short of cores, the stores get them first.
#[test]
fn stores_outweigh_who_waits_for_them() {
    let weight = |file: &str| number(&read(file), "CPUWeight=");
    assert!(weight("deploy/systemd/stores.conf") >= 4 * weight("deploy/systemd/waitroom.service"));
    let page = read("docs/deploy.md");
    for store in ["redis-server.service.d", "postgresql@.service.d"] {
        assert!(page.contains(&format!("stores.conf /etc/systemd/system/{store}/")), "{store}");
    }
}

#[test]
fn one_version_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    for (path, words) in [
        ("CHANGELOG.md", format!("\n## {version} ")),
        ("deploy/Dockerfile", format!("version=\"{version}\"")),
        ("deploy/compose/compose.yml", format!("image: waitroom:{version}\n")),
        ("deploy/kubernetes/waitroom.yaml", format!("image: waitroom:{version}\n")),
    ] {
        assert!(read(path).contains(&words), "{path} lacks {words:?}");
    }
    let rust = env!("CARGO_PKG_RUST_VERSION");
    for path in ["deploy/Dockerfile", ".github/workflows/ci.yml"] {
        let text = read(path);
        let images = text.match_indices("rust:").map(|(at, _)| &text[at..]);
        let images: Vec<&str> = images.filter(|image| image[5..].starts_with(char::is_numeric)).collect();
        let is_ours = |image: &&str| image.starts_with(&format!("rust:{rust}-"));
        assert!(
            !images.is_empty() && images.iter().all(is_ours),
            "{path} builds with another Rust than {rust}"
        );
    }
}

#[test]
fn ports_and_paths_agree() {
    let output = Command::new(env!("CARGO_BIN_EXE_waitroom")).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("0.0.0.0:8080") && help.contains("127.0.0.1:9090"));
    for (path, words) in [
        ("deploy/Dockerfile", vec!["EXPOSE 8080 9090"]),
        ("deploy/kubernetes/waitroom.yaml", vec!["containerPort: 8080", "containerPort: 9090"]),
        ("deploy/compose/prometheus.yml", vec!["waitroom-blue:9090", "waitroom-green:9090"]),
        (
            "deploy/compose/compose.yml",
            vec!["waitroom-blue:", "waitroom-green:", "WAITROOM_ADMIN_LISTEN: 0.0.0.0:9090"],
        ),
        (
            "deploy/terraform/balancer.tf",
            vec!["port     = 8080", "port                = \"9090\"", "\"/readyz\""],
        ),
        ("deploy/etc/nftables.conf", vec!["8080, 9090, 6379, 5432"]),
        ("deploy/etc/sysctl.conf", vec!["5432,6379,8080-8089,9090-9099"]),
        (
            "deploy/systemd/waitroom.service",
            vec!["/usr/local/bin/waitroom serve --config /etc/waitroom/waitroom.toml"],
        ),
        (
            "deploy/systemd/waitroom-backup.service",
            vec!["/usr/local/sbin/waitroom-backup /var/backups/waitroom"],
        ),
    ] {
        let text = read(path);
        words.iter().for_each(|words| assert!(text.contains(words), "{path} lacks {words}"));
    }
}

#[test]
fn compose_has_the_addresses_of_the_balancer() {
    let compose = read("deploy/compose/compose.yml");
    for colour in ["blue", "green"] {
        let upstream = read(&format!("deploy/nginx/upstreams/{colour}.conf"));
        let server = upstream.lines().find_map(|line| line.trim().strip_prefix("server ")).unwrap();
        let address = server.split(':').next().unwrap();
        let service = compose.split(&format!("  waitroom-{colour}:\n")).nth(1).unwrap();
        let service = service.split("\n\n").next().unwrap();
        assert!(service.contains(&format!("ipv4_address: {address} ")), "{colour}: {service}");
    }
}

/// What a page tells its reader to make.
const MADE_BY_THE_READER: [&str; 2] = ["deploy/compose/secrets", "deploy/nginx/tls"];

/// Files of `deploy/` that a page names and that are not there.
fn missing_files(text: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_end = |c: char| !(c.is_alphanumeric() || "/._-*".contains(c));
    let paths =
        text.match_indices("deploy/").map(|(at, _)| text[at..].split(is_end).next().unwrap_or_default());
    let known = ["systemd", "etc", "backup", "compose", "kubernetes", "terraform", "Dockerfile"];
    let ours = paths.filter(|path| known.iter().any(|folder| path[7..].starts_with(folder)));
    let there = |path: &str| {
        root.join(path.split('*').next().unwrap_or_default().trim_end_matches(['.', '/'])).exists()
    };
    let stem = |path: &str| path.contains('*') && root.join(Path::new(path).parent().unwrap()).is_dir();
    let ours = ours.filter(|path| !MADE_BY_THE_READER.contains(path));
    ours.filter(|path| !there(path) && !stem(path)).map(str::to_owned).collect()
}

#[test]
fn what_the_pages_name_is_there() {
    for page in ["docs/deploy.md", "docs/backup.md", "CHANGELOG.md", "README.md"] {
        assert_eq!(missing_files(&read(page)), Vec::<String>::new(), "{page}");
    }
    assert_eq!(
        missing_files("`deploy/etc/nothing.conf` and deploy/etc/sysctl.conf."),
        ["deploy/etc/nothing.conf"]
    );
}

#[test]
fn no_file_has_a_secret_that_works() {
    // Every secret comes from a file or a store that the operator fills.
    for path in ["deploy/etc/waitroom.toml", "deploy/kubernetes/waitroom.yaml", "deploy/compose/compose.yml"]
    {
        for key in [
            "redis_url =",
            "postgres_url =",
            "admin_token =",
            "signing_keys =",
            "PASSWORD:",
            "kind: Secret\n",
        ] {
            assert!(!read(path).contains(key), "{path} has {key}");
        }
    }
}

#[test]
fn prometheus_takes_its_file() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["deploy/compose/prometheus.yml", "grafana/prometheus/alerts.yml"] {
        fs::write(folder.path().join(Path::new(path).file_name().unwrap()), read(path)).unwrap();
    }
    let check = |name: &str| {
        let file = folder.path().join(name);
        Command::new("promtool").args(["check", "config"]).arg(file).output().unwrap().status.success()
    };
    assert!(check("prometheus.yml"));
    fs::write(
        folder.path().join("broken.yml"),
        read("deploy/compose/prometheus.yml").replace("targets", "target"),
    )
    .unwrap();
    assert!(!check("broken.yml"));
}
