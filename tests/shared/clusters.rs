//! New PostgreSQL clusters for tests. To make one costs a second of a core, to copy one nearly nothing: so each process of tests makes
//! one, and all that it starts are copies.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::LazyLock,
    thread,
};
use tempfile::TempDir;
use waitroom::{embedded::Postgres, store::postgres::migrations};

/// A folder that PostgreSQL's own user can enter, also when we are root.
pub fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Puts a cluster with our schema where [`Postgres::start_at`] looks for one.
pub fn put(postgres: &Path) {
    static MADE: LazyLock<TempDir> = LazyLock::new(|| {
        let made = folder();
        let running = Postgres::start_at(made.path()).unwrap();
        let url = running.url();
        // Tests call from where nothing may block.
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(migrations::run(&url)).unwrap();
        })
        .join()
        .unwrap();
        made
    });
    fs::create_dir_all(postgres).unwrap();
    fs::set_permissions(postgres, Permissions::from_mode(0o711)).unwrap();
    let copied = Command::new("cp").arg("-a").arg(MADE.path().join("cluster")).arg(postgres).status();
    assert!(copied.unwrap().success());
}
