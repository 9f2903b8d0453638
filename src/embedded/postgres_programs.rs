//! Finds PostgreSQL's programs, which Debian keeps out of PATH.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::EmbeddedError;

/// The folder of the newest version.
pub(super) fn newest() -> Result<PathBuf, EmbeddedError> {
    let found = all().into_iter().max_by_key(|(major, _)| *major);
    found.map(|(_, bin)| bin).ok_or_else(|| missing("postgresql"))
}

/// The folder of the version that made the cluster: no other can run it.
pub(super) fn matching(cluster: &Path) -> Result<PathBuf, EmbeddedError> {
    let path = cluster.join("PG_VERSION");
    let version = std::fs::read_to_string(&path).map_err(EmbeddedError::file("read", &path))?;
    let version = version.trim();
    let found = all().into_iter().find(|(major, _)| major.to_string() == version);
    found.map(|(_, bin)| bin).ok_or_else(|| missing(&format!("postgresql-{version}")))
}

fn missing(package: &str) -> EmbeddedError {
    EmbeddedError::Missing {
        program: "PostgreSQL (initdb, postgres)".to_owned(),
        package: package.to_owned(),
    }
}

fn all() -> Vec<(u32, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = debian.map(|version| version.path().join("bin")).chain(std::env::split_paths(&path));
    let complete = folders.filter(|bin| bin.join("postgres").is_file() && bin.join("initdb").is_file());
    complete.filter_map(|bin| Some((major(&bin.join("postgres"))?, bin))).collect()
}

fn major(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres).arg("--version").output().ok()?;
    // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(2)?.split('.').next()?.parse().ok()
}
