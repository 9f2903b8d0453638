//! A `waitroom serve` of any release, and what is said to it over HTTP.

use crate::nodes::{free_port, until};
use serde_json::Value;
use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

pub const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
/// What signed the tokens of the fixture.
const KEYS: &str = "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

pub struct Server {
    public: String,
    admin: String,
    child: Child,
}

impl Server {
    pub fn start(program: &Path, redis_url: &str, postgres_url: &str) -> Self {
        let [public, admin] = [0, 1].map(|_| format!("127.0.0.1:{}", free_port()));
        let mut command = Command::new(program);
        command.args([
            "serve",
            "--drain-s=1",
            "--log=warn",
            "--admin-token",
            ADMIN_TOKEN,
            "--signing-keys",
            KEYS,
        ]);
        command.arg(format!("--listen={public}")).arg(format!("--admin-listen={admin}"));
        command.arg(format!("--redis-url={redis_url}")).arg(format!("--postgres-url={postgres_url}"));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        until("the server listens", || TcpStream::connect(&admin).is_ok());
        Self { public, admin, child }
    }

    pub fn admin(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        call(method, &format!("http://{}/v1/admin{path}", self.admin), ADMIN_TOKEN, body)
    }

    pub fn public(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        call(method, &format!("http://{}/v1{path}", self.public), token, body)
    }

    /// At once, as a machine's end would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn call(method: &str, url: &str, bearer: &str, body: Option<Value>) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let auth = format!("Bearer {bearer}");
    let mut answer = match (method, body) {
        ("GET", _) => agent.get(url).header("Authorization", auth).call(),
        ("DELETE", _) => agent.delete(url).header("Authorization", auth).call(),
        ("PATCH", Some(body)) => agent.patch(url).header("Authorization", auth).send_json(body),
        (_, Some(body)) => agent.post(url).header("Authorization", auth).send_json(body),
        (_, None) if bearer.is_empty() => agent.post(url).send_empty(),
        (_, None) => agent.post(url).header("Authorization", auth).send_empty(),
    }
    .unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
