//! deploy/blue-green/waitroom-colours, as an operator runs it.

use crate::{
    machine::{ADMIN_TOKEN, COLOURS, Machine},
    nginx::Nginx,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
};

pub struct Tool {
    config: PathBuf,
}

/// How it ended and what it said.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub text: String,
}

/// One that runs.
pub struct Run {
    child: Child,
    lines: BufReader<ChildStdout>,
    text: String,
}

impl Tool {
    pub fn install(folder: &Path, nginx: &Nginx, machines: &[Machine], watch_s: u32, drain_s: u32) -> Self {
        fs::write(folder.join("admin-token"), ADMIN_TOKEN).unwrap();
        let at = folder.display();
        let mut config = format!(
            "state_dir = \"{at}/state\"\nadmin_token_file = \"{at}/admin-token\"\n\
             [nginx]\nactive = \"{}\"\ntest = \"{}\"\nreload = \"{}\"\ncolour = \"http://{}/colour\"\n\
             visitors = \"http://{}/v1/sales\"\n[hosts]\nrun = \"{at}/on-host {{host}} {{command}}\"\n",
            nginx.active().display(),
            nginx.word("-t -q"),
            nginx.word("-s reload"),
            nginx.colour,
            nginx.address
        );
        for word in ["version", "doctor", "migrations", "start", "stop", "kill", "alive", "clock"] {
            config += &format!("{word} = \"{word}\"\n");
        }
        config += &format!(
            "[limits]\nwatch_s = {watch_s}\ndrain_s = {drain_s}\nstart_s = 30\nslow_s = 0.3\nslow_share = 0.9\n"
        );
        for (machine, colour) in machines.iter().zip(COLOURS) {
            let Machine { public, admin, .. } = machine;
            config +=
                &format!("[{colour}]\nhost = \"{colour}\"\npublic = \"{public}\"\nadmin = \"{admin}\"\n");
        }
        let path = folder.join("colours.toml");
        fs::write(&path, config).unwrap();
        Self { config: path }
    }

    fn command(&self, words: &[&str]) -> Command {
        let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/blue-green/waitroom-colours");
        let mut command = Command::new("/usr/bin/env");
        command.arg("python3").arg(tool).arg("--config").arg(&self.config).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        command
    }

    pub fn say(&self, words: &[&str]) -> Said {
        self.begin(words).ends()
    }

    pub fn begin(&self, words: &[&str]) -> Run {
        let mut child = self.command(words).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Run { child, lines, text: String::new() }
    }

    pub fn status(&self) -> Value {
        serde_json::from_str(&self.say(&["status", "--json"]).text).unwrap()
    }

    /// The colour that nginx sends newcomers to.
    pub fn serves(&self) -> String {
        self.status()["serves"].as_str().unwrap_or_default().to_owned()
    }

    /// It moves the room.
    pub fn moves(&self, word: &str, to: &str) -> Said {
        let said = self.say(&[word]);
        assert_eq!(said.status, Some(0), "{}", said.text);
        assert_eq!(self.serves(), to, "{}", said.text);
        said
    }

    /// It leaves the room with `colour`, for that reason.
    pub fn leaves(&self, colour: &str, why: &str) -> Said {
        let said = self.say(&["deploy"]);
        assert_eq!(said.status, Some(1), "{}", said.text);
        assert!(said.text.contains(why), "{why:?} is not in\n{}", said.text);
        let status = self.status();
        assert_eq!(
            (&status["serves"], &status["at_next_reload"]),
            (&colour.into(), &colour.into()),
            "{}",
            said.text
        );
        said
    }
}

impl Run {
    /// Its next line; none at its end.
    pub fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.lines.read_line(&mut line).unwrap();
        self.text += &line;
        (read > 0).then_some(line)
    }

    pub fn kill(mut self) -> String {
        let _ = kill_process(Pid::from_child(&self.child), Signal::KILL);
        self.child.wait().unwrap();
        self.text
    }

    pub fn ends(mut self) -> Said {
        while self.next().is_some() {}
        let status = self.child.wait().unwrap().code();
        if std::env::var_os("COLOURS_SHOW").is_some() {
            println!("{} {}-> {status:?}\n", jiff::Timestamp::now(), self.text);
        }
        Said { status, text: self.text }
    }
}
