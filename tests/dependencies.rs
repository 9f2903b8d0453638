//! docs/dependencies.md names each direct dependency with its reason and no other, and `unsafe` is where it says.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const DOC: &str = "docs/dependencies.md";
/// The one file that may say `unsafe`.
const UNSAFE: &str = "src/embedded/process.rs";

/// The dependencies of a Cargo manifest, of whichever kind; of the workspace's list none, which is only how they are had.
fn of_manifest(text: &str) -> BTreeSet<String> {
    let table: toml::Table = text.parse().unwrap();
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = table.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = targets.filter_map(|(_, target)| target.as_table()).chain([&table]);
    let of = |table: &toml::Table| {
        let kinds = kinds.iter().filter_map(|kind| table.get(*kind)?.as_table());
        kinds.flat_map(|kind| kind.keys().cloned()).collect::<Vec<_>>()
    };
    tables.flat_map(of).collect()
}

/// The same of a Node package.
fn of_package(text: &str) -> BTreeSet<String> {
    let package: serde_json::Value = serde_json::from_str(text).unwrap();
    let kinds = ["dependencies", "devDependencies"].into_iter();
    kinds.filter_map(|kind| package[kind].as_object()).flat_map(|kind| kind.keys().cloned()).collect()
}

/// What a document's tables name in their first column; a name without a reason counts as not there.
fn explained(text: &str) -> Vec<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let rows = rows.filter(|(name, reason)| *name != "crate" && reason.len() > 3);
    rows.map(|(name, _)| name.to_owned()).collect()
}

/// What is in one of the two and not in the other, and what is explained twice.
fn faults(named: &BTreeSet<String>, explained: &[String]) -> Vec<String> {
    let once: BTreeSet<String> = explained.iter().cloned().collect();
    let missing = named.difference(&once).map(|name| format!("{name}: no reason"));
    let more = once.difference(named).map(|name| format!("{name}: no dependency"));
    let twice = explained.iter().filter(|name| explained.iter().filter(|other| other == name).count() > 1);
    missing.chain(more).chain(twice.map(|name| format!("{name}: twice"))).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn each_dependency_has_its_reason() {
    let mut named = of_manifest(&read("Cargo.toml"));
    for krate in fs::read_dir("crates").unwrap() {
        named.extend(of_manifest(&read(krate.unwrap().path().join("Cargo.toml"))));
    }
    for package in ["tests/browser/package.json", "tests/foreign/package.json"] {
        named.extend(of_package(&read(package)));
    }
    assert!(named.len() > 50);
    assert_eq!(faults(&named, &explained(&read(DOC))), Vec::<String>::new());
}

#[test]
fn planted_dependencies_are_seen() {
    let manifest = "[dependencies]\nserde.workspace = true\nleft-pad = \"1\"\n[target.'cfg(unix)'.dev-dependencies]\nx = \"1\"\n";
    let doc = "| crate | what for |\n|---|---|\n| serde | text |\n| gone | it was needed |\n| x |  |\n";
    let found = faults(&of_manifest(manifest), &explained(doc));
    assert_eq!(found, ["left-pad: no reason", "x: no reason", "gone: no dependency"]);
    let twice = faults(&of_package(r#"{"dependencies":{"ws":"1"}}"#), &["ws".into(), "ws".into()]);
    assert_eq!(twice, ["ws: twice", "ws: twice"]);
}

/// The lines of a source that write `unsafe`, or allow it.
fn unsafe_lines(text: &str) -> usize {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or(line));
    let says = |line: &str| {
        ["unsafe {", "unsafe fn", "unsafe impl", "(unsafe_code"].iter().any(|word| line.contains(word))
    };
    code.filter(|line| says(line)).count()
}

#[test]
fn unsafe_is_where_the_document_says() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"deny\"") && read(DOC).contains(UNSAFE));
    for krate in ["wire", "load"] {
        assert!(read(format!("crates/{krate}/src/lib.rs")).contains("#![forbid(unsafe_code)]"), "{krate}");
    }
    for krate in fs::read_dir("crates").unwrap() {
        let manifest = krate.unwrap().path().join("Cargo.toml");
        assert!(read(&manifest).contains("[lints]\nworkspace = true"), "{}", manifest.display());
    }
    let all = ["src", "crates", "benches"].iter().flat_map(|folder| sources(Path::new(folder)));
    let found = all.filter(|path| unsafe_lines(&without_forbid(&read(path))) > 0);
    assert_eq!(found.collect::<Vec<_>>(), [PathBuf::from(UNSAFE)]);
    assert_eq!(unsafe_lines("#![allow(unsafe_code)]\nunsafe fn f() {}\n// unsafe {\nunsafe { g() }"), 3);
}

fn without_forbid(text: &str) -> String {
    text.replace("#![forbid(unsafe_code)]", "")
}
