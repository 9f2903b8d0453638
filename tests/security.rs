//! docs/security.md names what is there: each test by its file and function, each file, each part of the server.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use std::{
    fs,
    path::{Path, PathBuf},
};

const DOC: &str = "docs/security.md";
/// Where a file that is named without its folder is looked for.
const FOLDERS: [&str; 6] =
    ["tests/it", "tests/foreign/themes", "tests/browser", "src", "crates/wire/src", "grafana"];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The last cells of the rows of tables whose last column is headed `test`.
fn cells(text: &str) -> Vec<&str> {
    let (mut cells, mut inside) = (Vec::new(), false);
    for line in text.lines() {
        let Some(row) = line.strip_suffix('|') else {
            inside = false;
            continue;
        };
        let last = row.rsplit("| ").next().unwrap().trim();
        inside |= last == "test";
        if inside {
            cells.push(last);
        }
    }
    cells
}

/// `a{b,c}d` as `abd` and `acd`.
fn spelled_out(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
        Some((head, (of, tail))) => of.split(',').map(|one| format!("{head}{one}{tail}")).collect(),
        None => vec![name.to_owned()],
    }
}

/// Whether a file of them has this function; `begins_…` is one that begins so.
fn has_function(files: &[&PathBuf], name: &str) -> bool {
    let wanted = name.strip_suffix('…').map_or_else(|| format!("fn {name}("), |begin| format!("fn {begin}"));
    files.iter().any(|path| fs::read_to_string(path).unwrap().contains(&wanted))
}

/// Those of the files that are at the end of this path, whole folders and names.
fn at<'a>(all: &'a [PathBuf], end: &str) -> Vec<&'a PathBuf> {
    all.iter().filter(|path| path.ends_with(end)).collect()
}

/// The files of a module, and those below it: `edge::caller`.
fn of_module<'a>(all: &'a [PathBuf], module: &str) -> Vec<&'a PathBuf> {
    let path = module.replace("::", "/");
    let folder = format!("/{path}/");
    let is = |file: &&PathBuf| {
        file.ends_with(format!("{path}.rs")) || file.to_str().is_some_and(|file| file.contains(&folder))
    };
    all.iter().filter(is).collect()
}

/// What the text names and nobody has.
fn faults(text: &str, all: &[PathBuf]) -> Vec<String> {
    let mut missing: Vec<String> = quoted(text)
        .filter(|name| name.contains("::"))
        .filter(|name| {
            let (module, last) = name.rsplit_once("::").unwrap();
            of_module(all, name).is_empty() && !has_function(&of_module(all, module), last)
        })
        .map(str::to_owned)
        .collect();
    for cell in cells(text) {
        let mut before = Vec::new();
        for name in quoted(cell).filter(|name| !name.contains("::")) {
            let is_file = name.contains('.') || name.contains('/');
            let found = spelled_out(name).iter().map(|one| at(all, one)).collect::<Vec<_>>();
            if is_file {
                before = found.concat();
            }
            if is_file && found.iter().any(Vec::is_empty) || !is_file && !has_function(&before, name) {
                missing.push(name.to_owned());
            }
        }
    }
    missing
}

fn all() -> Vec<PathBuf> {
    FOLDERS.iter().flat_map(|folder| files(Path::new(folder))).collect()
}

#[test]
fn each_test_that_is_named_is_there() {
    let text = fs::read_to_string(DOC).unwrap();
    assert!(cells(&text).len() > 50 && quoted(&text).filter(|name| name.contains("::")).count() > 40);
    assert_eq!(faults(&text, &all()), Vec::<String>::new());
}

#[test]
fn each_fuzzed_parser_is_named() {
    let text = fs::read_to_string(DOC).unwrap();
    for target in fs::read_dir("crates/fuzz/seeds").unwrap() {
        let target = target.unwrap().file_name().into_string().unwrap();
        assert!(quoted(&text).any(|name| name == target), "{target}");
    }
}

/// The check sees what is not there.
#[test]
fn planted_names_are_seen() {
    let text = "`limits::nobody_wrote_this`, `tls::tls_ends_here`\n\n| attack | what | test |\n|---|---|---|\n\
        | a | b | `nowhere.rs`; `identity.rs`: `every_fault_has_its_name`, `no_such`; `roles::every_change_…` |\n\
        | a | b | `crates/wire/src/domain/{token,nothing}.rs`, `edge::caller`, `edge::nothing` |\n\n`other.rs`";
    let seen = faults(text, &all());
    let wanted = [
        "limits::nobody_wrote_this",
        "edge::nothing",
        "nowhere.rs",
        "no_such",
        "crates/wire/src/domain/{token,nothing}.rs",
    ];
    assert_eq!(seen, wanted);
}
