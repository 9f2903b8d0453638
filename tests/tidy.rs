//! The house rules, kept by a test: imports point one way, files and functions stay small.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

/// What each part may import of the others; see ARCHITECTURE.md. Leaves may be imported by all and import nothing.
const LEAVES: [&str; 4] = ["settings", "limits", "metrics", "shutdown"];
const MAY_IMPORT: [(&str, &[&str]); 9] = [
    ("domain", &[]),
    ("protocol", &["domain"]),
    ("store", &["domain"]),
    ("room", &["store", "domain", "protocol"]),
    ("edge", &["room", "store", "domain", "protocol"]),
    ("app", &["edge", "room", "store", "domain", "protocol"]),
    ("load", &["domain", "protocol"]),
    ("embedded", &[]),
    ("commands", &["app", "edge", "room", "store", "domain", "protocol", "load", "embedded"]),
];
/// Crates that a part must not know.
const FOREIGN: [(&str, &[&str]); 3] = [
    ("domain", &["tokio", "axum", "redis", "tokio_postgres"]),
    ("edge", &["redis", "tokio_postgres", "deadpool_redis", "deadpool_postgres"]),
    ("room", &["axum"]),
];

fn import_faults(part: &str, text: &str) -> Vec<String> {
    let code = without_tests(text);
    let imports = imports(&code);
    let may = MAY_IMPORT.iter().find(|(name, _)| *name == part).map_or(&[][..], |(_, may)| may);
    let is_leaf = LEAVES.contains(&part);
    let mut faults: Vec<String> = imports
        .iter()
        .filter(|import| *import != part && !may.contains(&import.as_str()))
        .filter(|import| {
            is_leaf || part == "domain" || part == "protocol" || !LEAVES.contains(&import.as_str())
        })
        .map(|import| format!("{part} imports {import}"))
        .collect();
    let foreign = FOREIGN.iter().find(|(name, _)| *name == part).map_or(&[][..], |(_, crates)| crates);
    faults.extend(
        foreign.iter().filter(|krate| names_crate(&code, krate)).map(|krate| format!("{part} knows {krate}")),
    );
    faults
}

/// Whether a path of the code begins with the crate's name.
fn names_crate(code: &str, krate: &str) -> bool {
    let path = format!("{krate}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':')
    })
}

/// The modules named after `crate::`, alone or in braces.
fn imports(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
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
    for path in files(Path::new("src")) {
        let part = path.strip_prefix("src").unwrap().components().next().unwrap();
        let part = part.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if part != "main" && part != "lib" {
            let text = fs::read_to_string(&path).unwrap();
            faults
                .extend(import_faults(&part, &text).into_iter().map(|f| format!("{}: {f}", path.display())));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn files_and_functions_are_small() {
    let mut faults = Vec::new();
    for path in ["src", "static", "tests"].iter().flat_map(|folder| files(Path::new(folder))) {
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

/// The metrics that `text` names and `metrics.rs` does not have.
fn unknown_metrics(text: &str, source: &str) -> Vec<String> {
    let known: BTreeSet<&str> = source.split('"').filter(|word| word.starts_with("waitroom_")).collect();
    metrics_named(text).into_iter().filter(|name| !known.contains(name.as_str())).collect()
}

#[test]
fn dashboards_and_alerts_name_metrics_that_exist() {
    let source = fs::read_to_string("src/metrics.rs").unwrap();
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

#[test]
fn planted_imports_are_seen() {
    assert_eq!(import_faults("domain", "use crate::store::line;"), ["domain imports store"]);
    assert_eq!(import_faults("domain", "use crate::metrics;"), ["domain imports metrics"]);
    assert_eq!(
        import_faults("store", "use crate::{domain::ids, protocol::{client, server}, metrics};"),
        ["store imports protocol"]
    );
    assert_eq!(import_faults("room", "fn f() { crate::edge::go(); }"), ["room imports edge"]);
    assert_eq!(import_faults("load", "use crate::{settings, room};"), ["load imports room"]);
    assert_eq!(import_faults("edge", "let x = redis::cmd(\"GET\");"), ["edge knows redis"]);
    assert_eq!(import_faults("edge", "use crate::store::redis::Redis;"), Vec::<String>::new());
    assert_eq!(
        import_faults("edge", "use crate::room::{hub::{News}, Room}; // crate::app"),
        Vec::<String>::new()
    );
}

#[test]
fn planted_long_functions_are_seen() {
    let body = |lines: usize| format!("    pub async fn long() {{\n{}    }}\n", "        x;\n".repeat(lines));
    assert_eq!(long_functions(&body(FUNCTION_LINES_MAX - 2)), []);
    let found = long_functions(&body(FUNCTION_LINES_MAX - 1));
    assert_eq!(found, [("long".to_owned(), FUNCTION_LINES_MAX + 1)]);
}
