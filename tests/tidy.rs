//! The house rules, kept by a test: imports point one way, files and functions stay small.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// What each part of the server may import of the others; see ARCHITECTURE.md. Leaves may be imported by all and import
/// nothing. What the crates `wire` and `load` may import, Cargo proves: their manifests say it, and the examples on their
/// pages that must not compile.
const LEAVES: [&str; 4] = ["settings", "limits", "metrics", "drain"];
const MAY_IMPORT: [(&str, &[&str]); 7] = [
    ("store", &[]),
    ("room", &["store"]),
    ("edge", &["room"]),
    ("shutdown", &["room"]),
    ("app", &["shutdown", "edge", "room", "store"]),
    ("embedded", &[]),
    ("commands", &["app", "store", "embedded"]),
];
/// The parts of `wire` that a part may import, where not all.
const OF_WIRE: [(&str, &[&str]); 2] = [("store", &["domain"]), ("embedded", &[])];
/// Crates that a folder must not know.
const FOREIGN: [(&str, &[&str]); 11] = [
    ("store", &["axum", "load"]),
    ("store/line", &["tokio_postgres", "deadpool_postgres"]),
    ("store/redis", &["tokio_postgres", "deadpool_postgres"]),
    ("store/bookings", &["redis"]),
    ("store/postgres", &["redis"]),
    ("room", &["axum", "load", "redis", "tokio_postgres", "deadpool_postgres"]),
    ("edge", &["load", "redis", "tokio_postgres", "deadpool_postgres"]),
    ("app", &["load", "redis", "tokio_postgres", "deadpool_postgres"]),
    ("commands", &["axum", "redis", "tokio_postgres", "deadpool_postgres"]),
    ("wire/domain", &["crate::protocol", "std::fs", "std::net", "::now("]),
    ("wire/protocol", &["std::fs", "std::net", "::now("]),
];
/// What `wire` and `load` may depend on; a dependency that is only for tests does not count.
const DEPENDENCIES: [(&str, &[&str]); 2] = [
    (
        "wire",
        &[
            "serde",
            "serde_json",
            "serde_path_to_error",
            "jiff",
            "uuid",
            "hmac",
            "sha2",
            "base64",
            "thiserror",
        ],
    ),
    (
        "load",
        &[
            "wire",
            "tokio",
            "futures-util",
            "tokio-tungstenite",
            "hdrhistogram",
            "indicatif",
            "ureq",
            "rustls",
            "tokio-rustls",
            "webpki-roots",
            "serde",
            "serde_json",
            "toml",
            "jiff",
            "uuid",
            "base64",
            "clap",
            "rustix",
            "thiserror",
        ],
    ),
];

/// What a file of the server's `part/…` imports and may not.
fn import_faults(folder: &str, text: &str) -> Vec<String> {
    let code = without_tests(text);
    let part = folder.split('/').next().unwrap_or(folder);
    let may = MAY_IMPORT.iter().find(|(name, _)| *name == part).map_or(&[][..], |(_, may)| may);
    let is_leaf = LEAVES.contains(&part);
    let own = |import: &String| import == part || may.contains(&import.as_str());
    let leaf = |import: &String| !is_leaf && part != "wire" && LEAVES.contains(&import.as_str());
    let imports = imports(&code, "crate").into_iter().filter(|_| part != "wire");
    let mut faults: Vec<String> =
        imports.filter(|i| !own(i) && !leaf(i)).map(|i| format!("{folder} imports {i}")).collect();
    if let Some((_, may)) = OF_WIRE.iter().find(|(name, _)| *name == part) {
        let more = self::imports(&code, "wire").into_iter().filter(|import| !may.contains(&import.as_str()));
        faults.extend(more.map(|import| format!("{folder} imports wire::{import}")));
    }
    let walls = FOREIGN.iter().filter(|(wall, _)| folder == *wall || folder.starts_with(&format!("{wall}/")));
    let others = without_own_imports(&code);
    let foreign = walls.flat_map(|(_, crates)| *crates).filter(|krate| {
        let own = krate.starts_with("crate::");
        knows(if own { &code } else { &others }, krate)
    });
    faults.extend(foreign.map(|krate| format!("{folder} knows {krate}")));
    faults
}

/// Without what is imported of this crate, where a module may have a foreign crate's name.
fn without_own_imports(code: &str) -> String {
    let mut statements = code.split("use crate::{").map(str::to_owned);
    let first = statements.next().unwrap_or_default();
    let rest =
        statements.map(|text| text.split_once(';').map(|(_, after)| after.to_owned()).unwrap_or_default());
    std::iter::once(first).chain(rest).collect()
}

/// Whether the code names the crate or path, also as one of a group.
fn knows(code: &str, path: &str) -> bool {
    match path.rsplit_once("::") {
        // A clock, whichever.
        Some(("", _)) => code.contains(path),
        Some((root, name)) => names_crate(code, path) || imports(code, root).contains(name),
        None => names_crate(code, path) || code.contains(&format!("use {path};")),
    }
}

/// The dependencies of a manifest that are not allowed.
fn dependency_faults(manifest: &str, may: &[&str]) -> Vec<String> {
    let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
    let lines = section.lines().take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
    names.filter(|name| !may.contains(name)).map(str::to_owned).collect()
}

/// Whether a path of the code begins with the crate's name, or with the path.
fn names_crate(code: &str, krate: &str) -> bool {
    let follows = |end: usize| !code[end..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    code.match_indices(krate).any(|(at, _)| {
        let end = at + krate.len();
        let is_path = if krate.contains("::") { follows(end) } else { code[end..].starts_with("::") };
        is_path && begins(code, at)
    })
}

/// Whether a path begins at `at`, and none that goes on from before.
fn begins(code: &str, at: usize) -> bool {
    let before = code[..at].chars().next_back();
    before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
}

/// The names that follow `root::`, alone or in braces.
fn imports(code: &str, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let path = format!("{root}::");
    for (at, _) in code.match_indices(&path).filter(|(at, _)| begins(code, *at)) {
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(identifier(rest)),
            Some(group) => {
                let (mut depth, mut fresh) = (0, true);
                for (i, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => fresh = true,
                        c if fresh && depth == 0 && c.is_alphabetic() => {
                            found.extend(identifier(&group[i..]));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    found
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    // Macros and items of the root are no modules.
    let name = &text[..end];
    (!name.is_empty() && name.chars().all(|c| c.is_lowercase() || c == '_')).then(|| name.to_owned())
}

fn without_tests(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
    code.lines().map(|line| line.split("//").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Functions of more lines than allowed: name and lines. The code is formatted: a function ends with a brace that is
/// indented like its first line.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(at) = line.find("fn ").filter(|at| is_signature(&line[..*at])) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let Some(length) = lines[i..].iter().position(|line| *line == end) else { continue };
        if length + 1 > FUNCTION_LINES_MAX {
            long.push((identifier(&line[at + 3..]).unwrap_or_default(), length + 1));
        }
    }
    long
}

fn is_signature(before: &str) -> bool {
    let words = ["pub", "pub(super)", "pub(crate)", "async", "const", "unsafe", "extern"];
    before.split_whitespace().all(|word| words.contains(&word))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("node_modules") {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "lua" || kind == "mjs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn imports_point_one_way() {
    let mut faults = Vec::new();
    for (root, prefix) in [("src", ""), ("crates/wire/src", "wire/")] {
        for path in files(Path::new(root)) {
            let inside = path.strip_prefix(root).unwrap();
            let folder = inside.with_extension("").to_str().unwrap().trim_end_matches("/mod").to_owned();
            if folder != "main" && folder != "lib" {
                let text = fs::read_to_string(&path).unwrap();
                let found = import_faults(&format!("{prefix}{folder}"), &text);
                faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", path.display())));
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn crates_depend_on_what_they_may() {
    for (name, may) in DEPENDENCIES {
        let manifest = fs::read_to_string(format!("crates/{name}/Cargo.toml")).unwrap();
        assert!(manifest.contains("\n[dependencies]\n"));
        assert_eq!(dependency_faults(&manifest, may), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn files_and_functions_are_small() {
    let mut faults = Vec::new();
    for path in ["src", "crates", "static", "tests"].iter().flat_map(|folder| files(Path::new(folder))) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            faults.push(format!("{}: {lines} lines", path.display()));
        }
        for (name, lines) in long_functions(&text) {
            faults.push(format!("{}: fn {name} has {lines} lines", path.display()));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

/// The metrics that a text names, without what Prometheus adds to a histogram's name.
fn metrics_named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    let names = words.filter(|word| word.starts_with("waitroom_"));
    let bare = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).map(str::to_owned)
    };
    names.map(|name| bare(name).unwrap_or_else(|| name.to_owned())).collect()
}

/// The metrics that `text` names and `metrics/` does not have.
fn unknown_metrics(text: &str, source: &str) -> Vec<String> {
    let known: BTreeSet<&str> = source.split('"').filter(|word| word.starts_with("waitroom_")).collect();
    metrics_named(text).into_iter().filter(|name| !known.contains(name.as_str())).collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    // A description alone makes no metric.
    let emitting = files(Path::new("src/metrics")).into_iter().filter(|path| !path.ends_with("describe.rs"));
    let source: String = emitting.map(|path| fs::read_to_string(path).unwrap()).collect();
    for path in [
        "grafana/dashboards/sale.json",
        "grafana/dashboards/service.json",
        "grafana/prometheus/alerts.yml",
        "grafana/prometheus/alerts_test.yml",
        "docs/runbook.md",
    ] {
        let text = fs::read_to_string(path).unwrap();
        assert!(!metrics_named(&text).is_empty(), "{path} names no metric");
        assert_eq!(unknown_metrics(&text, &source), Vec::<String>::new(), "{path}");
    }
}

#[test]
fn planted_metrics_are_seen() {
    let source = r#"counter!("waitroom_joins_total"); histogram!("waitroom_join_duration_seconds");"#;
    let good = "rate(waitroom_joins_total[1m]) / rate(waitroom_join_duration_seconds_bucket[1m])";
    assert_eq!(unknown_metrics(good, source), Vec::<String>::new());
    let bad = "sum(waitroom_joins) + waitroom_join_duration_seconds_count{sale=\"$sale\"}";
    assert_eq!(unknown_metrics(bad, source), ["waitroom_joins"]);
}

/// Each wall, with something that climbs over it.
#[test]
fn planted_imports_are_seen() {
    for (folder, code, fault) in [
        ("store/line", "use crate::room::Room;", "imports room"),
        ("store/line", "use crate::{edge, metrics};", "imports edge"),
        ("store/bookings", "use wire::{domain::ids, protocol::server};", "imports wire::protocol"),
        ("store/sales", "fn f() -> wire::protocol::close::ErrorCode {}", "imports wire::protocol"),
        ("store/line/reads", "let client: tokio_postgres::Client;", "knows tokio_postgres"),
        ("store/redis", "use deadpool_postgres::Pool;", "knows deadpool_postgres"),
        ("store/bookings/commit", "use redis::cmd;", "knows redis"),
        ("store/postgres/connect", "let x = redis::cmd(\"GET\");", "knows redis"),
        ("store/sales", "use axum::Json;", "knows axum"),
        ("room/line/joins", "fn f() { crate::edge::go(); }", "imports edge"),
        ("room/seats", "use axum::extract::ws::WebSocket;", "knows axum"),
        ("room/rooms", "use deadpool_postgres::Pool;", "knows deadpool_postgres"),
        ("room/redeems", "use load::random;", "knows load"),
        ("edge/visitor/standing", "use crate::store::errors::StoreError;", "imports store"),
        ("edge/operator", "use crate::{room::Room, store::sales};", "imports store"),
        ("edge/operator", "use crate::app::App;", "imports app"),
        ("edge/visitor/session", "let x = redis::cmd(\"GET\");", "knows redis"),
        ("app", "use crate::commands::serve;", "imports commands"),
        ("commands/serve", "use crate::edge::Edge;", "imports edge"),
        ("commands/check", "use crate::room::Room;", "imports room"),
        ("embedded/redis", "use crate::store::redis::Redis;", "imports store"),
        ("embedded/redis", "use wire::domain::ids::SaleId;", "imports wire::domain"),
        ("metrics", "use crate::limits::TICK;", "imports limits"),
        ("wire/domain/ids", "use crate::protocol::close;", "knows crate::protocol"),
        ("wire/domain/ids", "let at = std::time::Instant::now();", "knows ::now("),
        ("wire/protocol/client", "let x = std::fs::read(\"x\");", "knows std::fs"),
    ] {
        assert_eq!(import_faults(folder, code), [format!("{folder} {fault}")], "{code}");
    }
    for (folder, code) in [
        ("edge/visitor", "use crate::{limits, room::{sockets::{News}, Room}}; // crate::store"),
        ("store/redis", "use redis::cmd;"),
        ("store/line", "use wire::domain::{ids::SaleId, line::Position};"),
        ("commands/load", "use load::run;"),
        ("wire/protocol/client", "use crate::domain::ids::SaleId;"),
    ] {
        assert_eq!(import_faults(folder, code), Vec::<String>::new(), "{code}");
    }
    let manifest = "[package]\n\n[dependencies]\nserde.workspace = true\ntokio = \"1\"\n\n[dev-dependencies]\naxum = \"1\"\n";
    assert_eq!(dependency_faults(manifest, &["serde"]), ["tokio"]);
}

#[test]
fn planted_long_functions_are_seen() {
    let body = |lines: usize| format!("    pub async fn long() {{\n{}    }}\n", "        x;\n".repeat(lines));
    assert_eq!(long_functions(&body(FUNCTION_LINES_MAX - 2)), []);
    let found = long_functions(&body(FUNCTION_LINES_MAX - 1));
    assert_eq!(found, [("long".to_owned(), FUNCTION_LINES_MAX + 1)]);
}
