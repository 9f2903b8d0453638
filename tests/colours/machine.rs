//! A colour's host: settings, a program, and a service manager of a few lines in place of systemd.

use crate::ground::Ground;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
};

pub const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
pub const KEYS: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
pub const COLOURS: [&str; 2] = ["blue", "green"];

/// As systemd would: `stop` returns when the server has ended.
const SERVICE: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
pid=$(cat pid 2>/dev/null)
alive() { [ -n "$pid" ] && grep -q '^State:.[^Z]' "/proc/$pid/status" 2>/dev/null; }
case "$1" in
    start) alive || { setsid ./waitroom serve --config waitroom.toml >>log 2>&1 </dev/null & echo $! >pid; } ;;
    stop) if alive; then kill -TERM "$pid"; while alive; do sleep 0.05; done; fi ;;
    kill) if alive; then /bin/kill -KILL -- "-$pid"; fi ;;
    alive) alive ;;
    version) ./waitroom --version ;;
    doctor) ./waitroom doctor --config waitroom.toml ;;
    migrations) ./waitroom migrate --check --config waitroom.toml ;;
    clock) cat clock 2>/dev/null || date +%s.%N ;;
esac
"#;

/// What an operator's ssh does: runs it there, or finds no host.
const ON_HOST: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
if [ -e "$1/vanished" ]; then sleep 3; echo "ssh: connect to host $1: Connection timed out"; exit 255; fi
exec $(cat "$1/prefix") "./$1/service" "$2"
"#;

/// The program that is deployed: this build, or the one that is to be measured.
pub fn build() -> PathBuf {
    std::env::var_os("COLOURS_BIN")
        .filter(|bin| !bin.is_empty())
        .unwrap_or(env!("CARGO_BIN_EXE_waitroom").into())
        .into()
}

/// What a colour is installed with.
pub struct Wiring {
    pub redis_url: String,
    pub postgres_url: String,
    pub drain_s: u32,
    pub port: u16,
    pub admin_port: u16,
}

pub struct Machine {
    pub folder: PathBuf,
    pub public: String,
    pub admin: String,
    settings: String,
}

impl Machine {
    pub fn install(folder: &Path, ground: &Ground, i: usize, wiring: &Wiring) -> Self {
        let here = folder.join(COLOURS[i]);
        fs::create_dir_all(&here).unwrap();
        program(&here.join("service"), SERVICE);
        program(&folder.join("on-host"), ON_HOST);
        fs::write(here.join("prefix"), ground.prefix(i)).unwrap();
        let Wiring { redis_url, postgres_url, drain_s, port, admin_port } = wiring;
        let address = ground.address(i);
        let (public, admin) = (format!("{address}:{port}"), format!("{address}:{admin_port}"));
        let log = std::env::var("COLOURS_LOG").unwrap_or("warn".into());
        let settings = format!(
            "listen = \"{public}\"\nadmin_listen = \"{admin}\"\nredis_url = \"{redis_url}\"\n\
             postgres_url = \"{postgres_url}\"\npostgres_pool = 4\nadmin_token = \"{ADMIN_TOKEN}\"\n\
             signing_keys = \"{KEYS}\"\ntrusted_proxies = \"{}/16\"\ndrain_s = {drain_s}\naddress_places = 0\nlog = \"{log}\"\n",
            ground.middle()
        );
        let machine = Self { folder: here, public, admin, settings };
        machine.repair();
        machine
    }

    /// All is as it should be: this build, the right settings.
    pub fn repair(&self) {
        self.program_is(&build());
        self.set("", "");
        self.clock_says(None);
        let _ = fs::remove_file(self.folder.join("vanished"));
    }

    /// What `date` says there; or the truth again.
    pub fn clock_says(&self, time: Option<&str>) {
        let clock = self.folder.join("clock");
        let _ = match time {
            Some(time) => fs::write(clock, time),
            None => fs::remove_file(clock),
        };
    }

    /// That program is installed, for the next start.
    pub fn program_is(&self, program: &Path) {
        let link = self.folder.join("waitroom");
        let _ = fs::remove_file(&link);
        symlink(program, link).unwrap();
    }

    /// The program runs, and `script` beside it, which knows it as `$pid`.
    pub fn program_suffers(&self, script: &str) {
        self.program_is_script(&format!(
            "[ \"$1\" = serve ] || exec $REAL \"$@\"\n$REAL \"$@\" & pid=$!\n\
             trap 'kill -CONT $pid; kill -TERM $pid; wait $pid; exit' TERM\n{script}\nwait $pid\n"
        ));
    }

    /// A program that is a script is installed; `$REAL` in it is this build.
    pub fn program_is_script(&self, script: &str) {
        let real = build().display().to_string();
        let path = self.folder.join("waitroom.sh");
        program(&path, &format!("#!/bin/sh\nREAL={real}\n{script}"));
        self.program_is(&path);
    }

    /// Its settings have `right` replaced.
    pub fn set(&self, right: &str, wrong: &str) {
        let settings =
            if right.is_empty() { self.settings.clone() } else { self.settings.replace(right, wrong) };
        fs::write(self.folder.join("waitroom.toml"), settings).unwrap();
    }

    pub fn service(&self, word: &str) -> bool {
        let on_host = self.folder.parent().unwrap().join("on-host");
        let mut command = Command::new(on_host);
        command.arg(self.folder.file_name().unwrap()).arg(word).status().unwrap().success()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join("vanished"));
        self.service("kill");
    }
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
