//! New PostgreSQL clusters for tests. To make one costs a second of a core, to copy one nearly nothing: so each process of tests makes
//! one, and all that it starts are copies.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::LazyLock,
};
use tempfile::TempDir;
use waitroom::embedded::Postgres;

/// A folder that PostgreSQL's own user can enter, also when we are root.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Puts an empty cluster where [`Postgres::start_at`] looks for one.
pub fn put(postgres: &Path) {
    static MADE: LazyLock<TempDir> = LazyLock::new(|| {
        let made = folder();
        drop(Postgres::start_at(made.path()).unwrap());
        made
    });
    fs::create_dir_all(postgres).unwrap();
    fs::set_permissions(postgres, Permissions::from_mode(0o711)).unwrap();
    let copied = Command::new("cp").arg("-a").arg(MADE.path().join("cluster")).arg(postgres).status();
    assert!(copied.unwrap().success());
}
