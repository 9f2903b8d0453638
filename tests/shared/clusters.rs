//! New PostgreSQL clusters for tests. To make one costs a second of a core, to copy one nearly nothing: so each process of tests makes
//! one, and all that it starts are copies.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{self, Command},
    sync::{LazyLock, Once},
};
use tempfile::TempDir;
use waitroom::embedded::Postgres;

/// Begins the name of each folder; the process's id follows.
const PREFIX: &str = "waitroom-test-";

/// A folder that PostgreSQL's own user can enter, also when we are root.
pub fn folder() -> TempDir {
    static SWEPT: Once = Once::new();
    SWEPT.call_once(sweep);
    let folder = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", process::id())).tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
    folder
}

/// Statics are never dropped: what they held is removed by the next process of tests.
fn sweep() {
    for left in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let (name, path) = (left.file_name(), left.path());
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            let _ = fs::remove_dir_all(path);
        }
    }
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
