//! Stores, two colours, nginx, a sale.

use crate::{
    clusters,
    crowd::Crowd,
    ground::Ground,
    machine::{ADMIN_TOKEN, Machine, Wiring, build},
    nginx::Nginx,
    nodes::{Nature, Node, PATIENCE, free_port, until},
    told::Told,
    tool::Tool,
};
use serde_json::Value;
use std::{
    collections::HashMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use waitroom::{embedded::Postgres, store::postgres::connect};
use wire::domain::{ids::Seq, place::Stage as Standing};

/// How large it is and how long things take.
#[derive(Clone, Copy)]
pub struct Size {
    pub visitors: u32,
    pub over_s: u32,
    pub rate: u32,
    pub drain_s: u32,
    pub watch_s: u32,
}

pub const SMALL: Size = Size { visitors: 150, over_s: 3, rate: 1, drain_s: 3, watch_s: 1 };

pub struct Stage {
    pub tool: Tool,
    pub nginx: Nginx,
    pub colours: Vec<Machine>,
    pub postgres: Postgres,
    pub redis: Node,
    pub ground: Ground,
    pub folder: tempfile::TempDir,
    size: Size,
    sales: usize,
}

/// The program that the crowd and the proof are of.
pub fn waitroom(words: &[&str]) -> Command {
    let mut command = Command::new(build());
    command.args(words).env("WAITROOM_ADMIN_TOKEN", ADMIN_TOKEN).stdin(Stdio::null());
    command
}

impl Stage {
    /// Blue serves; green is installed and does not run.
    pub fn set(size: Size) -> Self {
        let folder = clusters::folder();
        clusters::put(&folder.path().join("postgres"));
        let postgres = Postgres::start_at(&folder.path().join("postgres")).unwrap();
        let redis = Node::start(Nature::default());
        let ground = Ground::new();
        let (port, admin_port) = (free_port(), free_port());
        let redis_url = format!("redis://{}:{}", ground.middle(), redis.port);
        let wiring =
            Wiring { redis_url, postgres_url: postgres.url(), drain_s: size.drain_s, port, admin_port };
        let colours = vec![0, 1].into_iter().map(|i| Machine::install(folder.path(), &ground, i, &wiring));
        let colours: Vec<_> = colours.collect();
        let address = format!("{}:{}", ground.middle(), free_port());
        let nginx = Nginx::start(folder.path(), address, format!("127.0.0.1:{}", free_port()), &colours);
        let tool = Tool::install(folder.path(), &nginx, &colours, size.watch_s, size.drain_s + 20);
        assert!(colours[0].service("start"));
        let stage = Self { tool, nginx, colours, postgres, redis, ground, folder, size, sales: 0 };
        until("blue is ready", || stage.tool.say(&["status"]).status == Some(0));
        stage
    }

    /// A new sale, and it opens.
    pub fn open_sale(&mut self) {
        self.sales += 1;
        let Size { visitors, rate, .. } = self.size;
        self.operate(&[
            "create",
            &self.sale(),
            "--anonymous",
            "--open",
            "--max-active=400",
            "--max-seats=2",
            &format!("--seats={}", visitors * 3),
            &format!("--rate={rate}"),
        ]);
    }

    /// Its name.
    pub fn sale(&self) -> String {
        format!("colours-{}", self.sales)
    }

    fn operate(&self, words: &[&str]) {
        let serving = usize::from(self.tool.serves() == "green");
        let mut sale = waitroom(&[&["sale"], words].concat());
        sale.arg(format!("--admin-listen={}", self.colours[serving].admin)).stdout(Stdio::null());
        assert!(sale.status().unwrap().success(), "{words:?}");
    }

    /// The operator lets so many in a second from now on.
    pub fn rate_is(&self, rate: u32) {
        self.operate(&["set", &self.sale(), &format!("--rate={rate}")]);
    }

    /// A host loses its power in this moment.
    pub fn vanishes(&self, i: usize) {
        self.ground.vanish(i, true);
        self.colours[i].service("kill");
        fs::write(self.colours[i].folder.join("vanished"), "").unwrap();
    }

    /// It has power again, and nothing runs on it.
    pub fn is_back(&self, i: usize) {
        self.ground.vanish(i, false);
        self.colours[i].repair();
    }

    /// People come through nginx; what each is told is written down.
    pub fn crowd(&self, people: &str) -> Crowd {
        let Size { visitors, over_s, .. } = self.size;
        let name = |what: &str| self.folder.path().join(format!("{}-{what}", self.sales));
        let (scenario, history, json) = (name("people.toml"), name("history.jsonl"), name("load.json"));
        let text = format!(
            "about = \"A sale while the room moves.\"\nvisitors = {visitors}\ntimeout = \"600s\"\n\
             [[arrivals]]\nshare = 1\nover = \"{over_s}s\"\n[people]\nseats = \"1..2\"\nwish = \"mixed\"\n\
             think = \"0s..1s\"\n{people}"
        );
        fs::write(&scenario, text).unwrap();
        let mut load = waitroom(&["load", "--quiet", "--sale", &self.sale(), "--admin-token", ADMIN_TOKEN]);
        load.arg("--scenario").arg(&scenario).arg(format!("--url=http://{}", self.nginx.address));
        load.arg(format!("--seed={}", self.sales));
        load.arg("--history").arg(&history).arg("--json").arg(&json);
        Crowd { child: load.stdout(Stdio::null()).spawn().unwrap(), history, json }
    }

    /// Waits until so many are in the room.
    pub fn until_waiting(&self, sockets: u64) {
        until("they have come", || {
            let status = self.tool.status();
            let of = |name: &str| status["colours"][name]["sockets"].as_u64().unwrap_or(0);
            of("blue") + of("green") >= sockets
        });
    }

    /// What was broken: by the generator's findings, `waitroom check` of history and journal, and our own look at each place and
    /// booking.
    pub async fn broken(&self, history: &Path, report: &Value) -> Vec<String> {
        let mut broken: Vec<String> =
            report["violations"].as_array().into_iter().flatten().map(Value::to_string).collect();
        for refusal in ["unavailable", "removed", "too_many"] {
            if report["errors"][refusal].as_u64().unwrap_or(0) > 0 {
                broken.push(format!("the crowd was told {refusal}: {}", report["errors"]));
            }
        }
        let told = Told::of(&[history.to_owned()]);
        let client = connect::postgres_single(&self.postgres.url()).await.unwrap();
        let query = "SELECT id FROM bookings WHERE sale_id = $1 AND status <> 'void'";
        let bookings =
            client.query(query, &[&self.sale()]).await.unwrap().iter().map(|row| row.get(0)).collect();
        broken.extend(told.lost(&self.places(), &bookings));
        // What has just happened is journaled within seconds; before that the proof would miss it.
        let journal = "SELECT coalesce(max(n), 0) FROM journal WHERE sale_id = $1";
        let (began, key) = (Instant::now(), format!("waitroom:{{{}}}:sale", self.sale()));
        while client.query_one(journal, &[&self.sale()]).await.unwrap().get::<_, i64>(0)
            < self.redis.say::<i64>(&["HGET", &key, "n"])
        {
            assert!(began.elapsed() < PATIENCE, "the journal does not catch up");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let stores =
            [format!("--redis-url={}", self.redis.url()), format!("--postgres-url={}", self.postgres.url())];
        broken.extend(violated(waitroom(&["check"]).arg(history).args(&stores)));
        broken.extend(violated(waitroom(&["check", "--sale", &self.sale()]).arg(&stores[1])));
        broken
    }

    /// How each place stands in Redis.
    fn places(&self) -> HashMap<String, (Standing, Seq)> {
        let records: HashMap<String, String> =
            self.redis.say(&["HGETALL", &format!("waitroom:{{{}}}:places", self.sale())]);
        let read = |record: &str| {
            let mut fields = record.split(':');
            (Standing::parse(fields.next().unwrap()).unwrap(), fields.next().unwrap().parse().unwrap())
        };
        records.into_iter().map(|(visitor, record)| (visitor, read(&record))).collect()
    }
}

fn violated(check: &mut Command) -> Vec<String> {
    let output = check.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.code() {
        // Too little to say of some invariant is no violation.
        Some(0 | 75) => Vec::new(),
        code => vec![format!("{code:?}: {said}{}", String::from_utf8_lossy(&output.stderr))],
    }
}
