//! A wall clock that can be moved, for one process.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// A process's clock, as it was started with it.
pub struct Clock(tempfile::NamedTempFile);

impl Clock {
    pub fn right() -> Self {
        let clock = Self(tempfile::NamedTempFile::new().unwrap());
        clock.set(0);
        clock
    }

    /// So many seconds off from now on.
    pub fn set(&self, seconds: i64) {
        // In place: the process has it in its memory.
        self.0.as_file().write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// What makes a process believe it.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![("LD_PRELOAD", library().into()), ("CLOCK_OFFSET", self.0.path().into())]
    }
}

/// Made once, by the compiler that links Rust's programs too.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, include_str!("clock.c")).unwrap();
        let made = folder.join(format!("clock-{}.so", std::process::id()));
        let mut cc = Command::new("cc");
        let done = cc.args(["-shared", "-fPIC", "-O2", "-o"]).arg(&made).arg(&source).status().unwrap();
        assert!(done.success(), "cc makes no library of {}", source.display());
        fs::rename(&made, &library).unwrap();
        library
    })
}
