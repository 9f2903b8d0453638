//! The nginx of deploy/nginx, as it is shipped but for addresses, names and what only a whole machine has.

use crate::{machine::Machine, nodes::until};
use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

pub struct Nginx {
    /// Where visitors come.
    pub address: String,
    /// Where it says its colour.
    pub colour: String,
    folder: PathBuf,
    child: Child,
}

impl Nginx {
    pub fn start(folder: &Path, address: String, colour: String, colours: &[Machine]) -> Self {
        let folder = folder.join("nginx");
        fs::create_dir_all(folder.join("upstreams")).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx");
        let text = |name: &str| fs::read_to_string(shipped.join(name)).unwrap();
        let here = |name: &str| folder.join(name).display().to_string();
        let main = text("nginx.conf")
            .replace("user www-data;", "")
            .replace("/run/nginx.pid", &here("pid"))
            .replace("worker_processes auto;", "worker_processes 4;")
            .replace("worker_rlimit_nofile 140000;", "")
            .replace("worker_connections 65536;", "worker_connections 19000;")
            .replace("/var/log/nginx/", &format!("{}/", folder.display()));
        fs::write(folder.join("nginx.conf"), main).unwrap();
        fs::write(folder.join("colour.conf"), text("colour.conf").replace("127.0.0.1:8079", &colour))
            .unwrap();
        fs::write(folder.join("active.conf"), text("active.conf")).unwrap();
        for (machine, shipped) in colours.iter().zip(["10.0.0.11:8080", "10.0.0.12:8080"]) {
            let name = format!("upstreams/{}.conf", machine.folder.file_name().unwrap().display());
            let text = text(&name);
            assert!(text.contains(shipped), "{text}");
            fs::write(folder.join(&name), text.replace(shipped, &machine.public)).unwrap();
        }
        fs::write(folder.join("site.conf"), site(&text("site.conf"), &address, &folder)).unwrap();
        let child = nginx(&folder).args(["-g", "daemon off;"]).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Self { address, colour, folder, child };
        until("nginx listens", || TcpStream::connect(&nginx.address).is_ok());
        nginx
    }

    /// Its words for waitroom-colours.
    pub fn word(&self, what: &str) -> String {
        let folder = self.folder.display();
        format!("nginx -p {folder} -c {folder}/nginx.conf {what}")
    }

    pub fn active(&self) -> PathBuf {
        self.folder.join("active.conf")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // At once: old workers would keep their sockets.
        let _ = nginx(&self.folder).args(["-s", "stop"]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
    }
}

fn nginx(folder: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
    command
}

/// The site without TLS, which the crowd does not speak.
fn site(shipped: &str, address: &str, folder: &Path) -> String {
    let (https, _) = shipped.split_once("\nserver {\n    listen 80").unwrap();
    let lines = https.lines().filter(|line| !line.contains("[::]:443") && !line.contains("ssl_certificate"));
    let site: Vec<_> =
        lines.map(|line| line.replace("listen 443 ssl", &format!("listen {address}"))).collect();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temp = kinds.map(|kind| format!("{kind}_temp_path {}/{kind};\n", folder.display())).concat();
    temp + &site.join("\n")
}
