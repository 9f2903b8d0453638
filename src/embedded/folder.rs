//! Folders: who may enter them, who holds them, and where a socket fits.

use std::fs::{DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::EmbeddedError;

/// The kernel's limit for the path of a Unix socket (108 bytes with the final zero).
const SOCKET_PATH: usize = 107;
/// How long to wait for a lock. In the same process a child between fork and exec holds a copy of every open
/// file for a moment, so a lock just given back may look taken.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// A user to run a server as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
}

/// Whether this process is root.
pub(super) fn am_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whose a path is; nothing if it is not there.
pub(super) fn owner(path: &Path) -> Result<Option<User>, EmbeddedError> {
    match std::fs::metadata(path) {
        Ok(facts) => Ok(Some(User { uid: facts.uid(), gid: facts.gid() })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(EmbeddedError::File { what: "look at", path: path.to_owned(), source }),
    }
}

/// Makes a folder with its parents, if it is not there, and returns its true path. As root others may pass through
/// (not look into) it, since PostgreSQL runs as another user; otherwise it is ours alone.
pub(super) fn prepare(folder: &Path) -> Result<PathBuf, EmbeddedError> {
    make(folder, if am_root() { 0o711 } else { 0o700 })
}

/// The same for a folder that no other user has any business in.
pub(super) fn prepare_closed(folder: &Path) -> Result<PathBuf, EmbeddedError> {
    make(folder, 0o700)
}

/// One that is there stays as it is.
fn make(folder: &Path, mode: u32) -> Result<PathBuf, EmbeddedError> {
    if !folder.is_dir() {
        let made = DirBuilder::new().recursive(true).mode(mode).create(folder);
        // Once more: the umask may have taken bits away.
        let made = made.and_then(|()| std::fs::set_permissions(folder, Permissions::from_mode(mode)));
        made.map_err(EmbeddedError::file("make", folder))?;
    }
    folder.canonicalize().map_err(EmbeddedError::file("open", folder))
}

/// Refuses a folder that others may write into, or own: they could have put keys or data there.
pub(super) fn check_ours(folder: &Path) -> Result<(), EmbeddedError> {
    let facts = std::fs::metadata(folder).map_err(EmbeddedError::file("look at", folder))?;
    let us = rustix::process::geteuid().as_raw();
    let problem = if facts.uid() != us {
        format!("belongs to another user ({}); choose a folder of your own", facts.uid())
    } else if facts.mode() & 0o022 != 0 {
        "may be written by others, who could plant keys there; run chmod go-w on it".to_owned()
    } else {
        return Ok(());
    };
    Err(EmbeddedError::Folder { folder: folder.to_owned(), problem })
}

/// Makes an empty folder that only `user` (or we) may enter.
pub(super) fn make_private(folder: &Path, user: Option<User>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    match user {
        Some(user) => chown(folder, Some(user.uid), Some(user.gid)),
        None => Ok(()),
    }
}

/// Holds `folder` for as long as the returned file lives; the kernel gives it back when the process ends.
pub(super) fn lock(folder: &Path) -> Result<File, EmbeddedError> {
    let path = folder.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(EmbeddedError::file("write", &path))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => {
                std::thread::sleep(super::process::GLANCE)
            }
            Err(TryLockError::WouldBlock) => return Err(EmbeddedError::Busy(folder.to_owned())),
            Err(TryLockError::Error(source)) => {
                return Err(EmbeddedError::File { what: "lock", path, source });
            }
        }
    }
}

/// The first of `names` in /etc/passwd.
pub(super) fn user_named(names: &[&str]) -> Option<User> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    names.iter().find_map(|name| passwd_entry(&passwd, name))
}

fn passwd_entry(passwd: &str, name: &str) -> Option<User> {
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some(User { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
}

/// Whether `user` may pass through every folder down to `folder`. Only owner, primary group and others are
/// looked at: a wrong no costs a detour, a wrong yes a failed start.
pub(super) fn can_enter(folder: &Path, user: User) -> bool {
    folder.ancestors().all(|folder| std::fs::metadata(folder).is_ok_and(|facts| may_pass(&facts, user)))
}

fn may_pass(facts: &std::fs::Metadata, user: User) -> bool {
    let bit = match (facts.uid() == user.uid, facts.gid() == user.gid) {
        (true, _) => 0o100,
        (false, true) => 0o010,
        (false, false) => 0o001,
    };
    facts.mode() & bit != 0
}

/// A random name of 16 letters.
pub(super) fn random_name() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..16].to_owned()
}

/// A private folder for the socket `name`, enterable by `user`: `preferred`, or where the path would be longer
/// than the kernel takes, a short one in /tmp whose name `notes` remembers, so that the address stays the same.
pub(super) fn for_socket(
    preferred: &Path,
    name: &str,
    notes: &Path,
    user: Option<User>,
) -> Result<PathBuf, EmbeddedError> {
    let fits = preferred.join(name).as_os_str().len() <= SOCKET_PATH;
    if fits {
        return claim(preferred, user)
            .map(|()| preferred.to_owned())
            .map_err(EmbeddedError::file("make", preferred));
    }
    let note = notes.join("socket-folder");
    if let Ok(known) = std::fs::read_to_string(&note)
        && claim(Path::new(&known), user).is_ok()
    {
        return Ok(known.into());
    }
    let short = PathBuf::from(format!("/tmp/waitroom-{}", random_name()));
    make_private(&short, user).map_err(EmbeddedError::file("make", &short))?;
    std::fs::write(&note, short.as_os_str().as_encoded_bytes())
        .map_err(EmbeddedError::file("write", &note))?;
    Ok(short)
}

/// Makes the folder, or accepts one that is really private: in /tmp anybody may have made it.
fn claim(folder: &Path, user: Option<User>) -> io::Result<()> {
    match make_private(folder, user) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let facts = std::fs::symlink_metadata(folder)?;
    let owner = user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
    let private = facts.is_dir() && facts.uid() == owner && facts.mode() & 0o077 == 0;
    if private { Ok(()) } else { Err(io::Error::other("exists, but is not a private folder of ours")) }
}

/// The path as part of a URL.
pub(super) fn in_url(path: &Path) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
    let bytes = path.as_os_str().as_encoded_bytes();
    bytes
        .iter()
        .map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_ours(folder.path()).is_ok());
        for mode in [0o777, 0o770, 0o702] {
            std::fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            let error = check_ours(folder.path()).unwrap_err().to_string();
            assert!(error.contains("chmod go-w"), "{error}");
        }
    }

    #[test]
    fn users_of_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:104:112::/:/bin/bash\nbroken:x\n";
        assert_eq!(passwd_entry(passwd, "postgres"), Some(User { uid: 104, gid: 112 }));
        assert_eq!(passwd_entry(passwd, "broken"), None);
        assert_eq!(passwd_entry(passwd, "nobody"), None);
    }

    #[test]
    fn a_stranger_needs_every_ancestor_open() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let facts = std::fs::metadata(&inner).unwrap();
        let owner = User { uid: facts.uid(), gid: facts.gid() };
        let stranger = User { uid: facts.uid() + 1, gid: facts.gid() + 1 };
        let open =
            |folder: &Path, mode| std::fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
        open(outer.path(), 0o711);
        open(&inner, 0o711);
        assert!(can_enter(&inner, stranger));
        open(outer.path(), 0o700);
        assert!(!can_enter(&inner, stranger));
        assert!(can_enter(&inner, owner));
    }

    #[test]
    fn a_long_path_gets_a_short_socket_folder_and_keeps_it() {
        let notes = tempfile::tempdir().unwrap();
        let long = notes.path().join("x".repeat(100));
        let first = for_socket(&long, "redis.sock", notes.path(), None).unwrap();
        assert!(first.starts_with("/tmp") && first.as_os_str().len() < 40);
        assert_eq!(for_socket(&long, "redis.sock", notes.path(), None).unwrap(), first);
        // Somebody else's folder, or an open one, is never used.
        std::fs::set_permissions(&first, Permissions::from_mode(0o755)).unwrap();
        let second = for_socket(&long, "redis.sock", notes.path(), None).unwrap();
        assert_ne!(first, second);
        std::fs::remove_dir(first).unwrap();
        std::fs::remove_dir(second).unwrap();
    }

    #[test]
    fn a_lock_is_held_once() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        assert!(matches!(lock(folder.path()), Err(EmbeddedError::Busy(_))));
        drop(held);
        assert!(lock(folder.path()).is_ok());
    }

    #[test]
    fn paths_in_urls() {
        assert_eq!(in_url(Path::new("/a b/c&d?.x")), "/a%20b/c%26d%3F.x");
    }
}
