//! A backup in mid-sale, brought back on empty stores: whoever was told a place or a booking before it began has it.

use crate::{
    nodes::{CLIENT, Nature, Node},
    world::{IDENTITY_KEY, Server, Visitor, World},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};
use waitroom::{embedded::Redis, store::postgres::connect::postgres_pool};
use wire::domain::identity;

/// What the sale's day has on its hosts: the stores, and the folder of settings and keys.
struct Site {
    world: World,
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { world: World::new(), folder: tempfile::tempdir().unwrap() }
    }

    /// With a key that is there already.
    fn with_keys() -> Self {
        let site = Self::new();
        fs::create_dir(site.etc()).unwrap();
        fs::write(site.etc().join("signing-keys"), "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
            .unwrap();
        site
    }

    fn etc(&self) -> PathBuf {
        self.folder.path().join("etc")
    }

    async fn serve(&self) -> Server {
        let keys = fs::read_to_string(self.etc().join("signing-keys")).unwrap();
        Server::start_with(&self.world, &[("signing_keys", keys.trim())]).await
    }

    /// Runs a script of `deploy/backup`; its status and what it said.
    async fn script(&self, name: &str, words: &[&Path], variables: &[(&str, &str)]) -> (Option<i32>, String) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/backup").join(name);
        let mut command = Command::new(path);
        command.args(words).env("WAITROOM_ETC", self.etc());
        command.env("WAITROOM_REDIS_URL", self.world.redis.url());
        command.env("WAITROOM_POSTGRES_URL", self.world.postgres.url()).envs(variables.iter().copied());
        let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    }

    async fn backup(&self, variables: &[(&str, &str)]) -> (Option<i32>, String) {
        self.script("backup.sh", &[self.folder.path().join("backups").as_path()], variables).await
    }

    /// Of those that there are, the last.
    fn last_backup(&self) -> PathBuf {
        let mut all: Vec<_> = fs::read_dir(self.folder.path().join("backups"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        all.sort();
        all.pop().unwrap()
    }
}

/// What a visitor was told, and when.
struct Told {
    place: Value,
    joined: Instant,
    booking: Option<(String, Instant)>,
}

type Crowd = Arc<Mutex<BTreeMap<usize, Told>>>;

/// Who a visitor is, as his shop says it.
fn identity(sale: &str, number: usize) -> String {
    let until = jiff::Timestamp::now().as_second() + 3600;
    identity::sign(IDENTITY_KEY.as_bytes(), &format!("visitor-{number}"), sale, until)
}

/// Comes, and books when his turn comes, unless he is one who takes his time.
async fn visit(server: Arc<Server>, sale: String, number: usize, crowd: Crowd) {
    let mut visitor = server.connect(&sale).await;
    visitor.say(json!({ "type": "join", "identity": identity(&sale, number) })).await;
    let joined = visitor.hear("joined").await;
    let told = Told { place: joined["place"].clone(), joined: Instant::now(), booking: None };
    crowd.lock().unwrap().insert(number, told);
    let token = visitor.hear("granted").await["token"].clone();
    if number % 8 != 3 {
        let redeem = json!({ "type": "redeem", "request": "r", "token": token, "best": { "count": 1 } });
        visitor.say(redeem).await;
        let booking =
            visitor.hear_past(&["granted"], "booking").await["booking"].as_str().unwrap().to_owned();
        crowd.lock().unwrap().get_mut(&number).unwrap().booking = Some((booking, Instant::now()));
    }
    // Here until the host is lost.
    std::future::pending::<()>().await;
}

/// As he stands now; and his booking, if he has one.
async fn comes_back(server: &Server, sale: &str, join: Value) -> (Value, Option<String>) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        let mut visitor = server.connect(sale).await;
        visitor.say(join.clone()).await;
        let joined = visitor.next().await;
        if joined["type"] == "joined" {
            let has_booked = joined["state"] == "booked";
            let booking = if has_booked { Some(visitor.hear("booking").await) } else { None };
            return (joined, booking.map(|booking| booking["booking"].as_str().unwrap().to_owned()));
        }
        sleep(Duration::from_millis(200)).await;
    }
    panic!("nobody comes back");
}

/// The number of a place, which its token says.
fn seq_of(place: &Value) -> u64 {
    let claims = place.as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["seq"].as_u64().unwrap()
}

/// Comes back one after another, while nobody is admitted.
async fn everyone_has_what_he_was_told(
    server: &Server,
    sale: &str,
    crowd: &BTreeMap<usize, Told>,
    began: Instant,
) {
    let mut last_rank = None;
    let (mut kept, mut booked) = (0, 0);
    let mut in_line: Vec<_> = crowd.iter().collect();
    in_line.sort_by_key(|(_, told)| seq_of(&told.place));
    for (number, told) in in_line {
        // Of who was told his place before, the stores know all; who came later has nothing but his token.
        let join = if told.joined < began {
            json!({ "type": "join", "identity": identity(sale, *number) })
        } else {
            json!({ "type": "join", "place": told.place })
        };
        let (joined, booking) = comes_back(server, sale, join).await;
        match (&told.booking, &booking) {
            (Some((id, _)), Some(found)) => assert_eq!(id, found, "visitor {number}"),
            (Some((_, at)), None) => assert!(*at > began, "visitor {number} has lost his booking: {joined}"),
            (None, Some(_)) | (None, None) => {}
        }
        booked += usize::from(booking.is_some());
        kept += usize::from(told.joined < began);
        if joined["state"] == "waiting" {
            let rank = joined["rank"].as_u64();
            assert!(
                rank > last_rank || last_rank.is_none(),
                "visitor {number}: {joined} after {last_rank:?}"
            );
            last_rank = rank;
        }
        assert!(joined["epoch"].as_u64() > Some(100), "{joined}");
    }
    assert!(kept >= 30 && booked >= 8, "too little happened: {kept} places, {booked} bookings");
    let waiting = server.show(sale).await["waiting"].as_u64();
    assert_eq!(waiting, last_rank.map(|rank| rank + 1), "nobody is in the line who did not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_mid_sale_is_brought_back_on_empty_stores() {
    let lost = Site::new();
    fs::create_dir(lost.etc()).unwrap();
    fs::write(lost.etc().join("signing-keys"), "kept:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY=\n")
        .unwrap();
    let server = Arc::new(lost.serve().await);
    let plan = crate::world::plan(20, 10);
    let sale = server.sale(json!({ "plan": plan, "rate": 8, "max_active": 40, "max_seats": 1 })).await;
    server.open(&sale).await;
    let (crowd, mut visits) = (Crowd::default(), JoinSet::new());
    let mut come = async |numbers: std::ops::Range<usize>| {
        for number in numbers {
            visits.spawn(visit(server.clone(), sale.clone(), number, crowd.clone()));
            sleep(Duration::from_millis(30)).await;
        }
    };
    come(0..40).await;
    // Enough has happened that could be lost; the last turns of these come while the backup is made.
    let booked = || crowd.lock().unwrap().values().filter(|told| told.booking.is_some()).count();
    let enough = async {
        while crowd.lock().unwrap().len() < 40 || booked() < 10 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(120), enough).await.expect("people come and book");
    let began = Instant::now();
    // The sale goes on meanwhile, and afterwards.
    let ((status, said), ()) = tokio::join!(lost.backup(&[]), come(40..55));
    assert_eq!(status, Some(0), "{said}");
    come(55..65).await;
    let backup = lost.last_backup();
    // The host is gone: stores, instances, settings.
    visits.shutdown().await;
    drop(server);
    fs::remove_dir_all(lost.etc()).unwrap();
    let crowd = Arc::try_unwrap(crowd).ok().unwrap().into_inner().unwrap();

    let found = Site::new();
    let (status, said) = found.script("restore.sh", &[&backup], &[]).await;
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = found.script("restore.sh", &[&backup], &[]).await;
    assert!(status == Some(78) && said.contains("not empty"), "twice: {said}");
    let server = found.serve().await;
    server.patch(&sale, json!({ "phase": "paused" })).await;
    everyone_has_what_he_was_told(&server, &sale, &crowd, began).await;
    // And the sale goes on to its end.
    server.open(&sale).await;
    let (newcomer, joined) = server.join(&sale).await;
    assert_eq!(joined["state"], "waiting");
    drop(newcomer);
    server.stop().await;
    let (status, said) = check(&sale, &found.world).await;
    assert_eq!(status, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_says_when_the_journal_is_behind() {
    let site = Site::with_keys();
    let server = site.serve().await;
    let sale = server.sale(json!({})).await;
    let (_kim, _) = server.join(&sale).await;
    let (status, said) = site.backup(&[]).await;
    assert_eq!(status, Some(0), "{said}");
    // Whoever writes the journal is stuck.
    let postgres = postgres_pool(&site.world.postgres.url(), 1).unwrap().get().await.unwrap();
    postgres.batch_execute("UPDATE journal_heads SET holder = 'nobody', until = 'infinity'").await.unwrap();
    let (_lee, _) = server.join(&sale).await;
    sleep(Duration::from_millis(1100)).await;
    let (status, said) = site.backup(&[("JOURNAL_WAIT_S", "2"), ("KEEP", "1")]).await;
    assert!(status == Some(75) && said.contains(&format!("the journal of {sale}")), "{status:?} {said}");
    let manifest = fs::read_to_string(site.last_backup().join("MANIFEST")).unwrap();
    assert!(manifest.contains("journal  behind"), "{manifest}");
    assert_eq!(fs::read_dir(site.folder.path().join("backups")).unwrap().count(), 1, "the older one went");
    // A backup that was damaged is not brought back.
    fs::write(site.last_backup().join("settings.tar"), "x").unwrap();
    let (status, said) = site.script("restore.sh", &[&site.last_backup()], &[]).await;
    assert!(status == Some(74) && said.contains("damaged"), "{status:?} {said}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_asks_a_redis_that_speaks_tls() {
    let (site, node) = (Site::with_keys(), Node::start(Nature::by_tls()));
    let url = format!("rediss://{}", node.address());
    let server = Server::start_with(&site.world, &[&[("redis_url", &*url)], &CLIENT[..]].concat()).await;
    let sale = server.sale(json!({})).await;
    let (_kim, _) = server.join(&sale).await;
    let names = CLIENT.map(|(name, file)| (format!("WAITROOM_{}", name.to_uppercase()), file));
    let files: Vec<_> = names.iter().map(|(name, file)| (name.as_str(), *file)).collect();
    let (status, said) = site.backup(&[&[("WAITROOM_REDIS_URL", &*url)], &files[..]].concat()).await;
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = site.backup(&[("WAITROOM_REDIS_URL", &*url)]).await;
    assert_eq!(status, Some(75), "nobody vouches for it: {said}");
    server.stop().await;
}

/// Takes his turn, and books; the booking.
async fn books(visitor: &mut Visitor) -> String {
    let token = visitor.hear_past(&["joined"], "granted").await["token"].clone();
    visitor.say(json!({ "type": "redeem", "request": "r", "token": token, "best": { "count": 1 } })).await;
    visitor.hear_past(&["granted"], "booking").await["booking"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_of_which_no_journal_told_go_on_record_when_the_line_is_restored() {
    let world = World::new();
    let server = Server::start_in(&world).await;
    let sale = server.sale(json!({})).await;
    let come = async |number| {
        let mut visitor = server.connect(&sale).await;
        visitor.say(json!({ "type": "join", "identity": identity(&sale, number) })).await;
        visitor
    };
    let mut kim = come(1).await;
    kim.hear("joined").await;
    let postgres = postgres_pool(&world.postgres.url(), 1).unwrap().get().await.unwrap();
    let has_place = "SELECT FROM journal_places WHERE sale_id = $1";
    while postgres.query(has_place, &[&sale]).await.unwrap().is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
    let holder = "UPDATE journal_heads SET holder = 'nobody', until =";
    postgres.batch_execute(&format!("{holder} 'infinity'")).await.unwrap();
    // Of one the place is on record, of the other nothing.
    server.open(&sale).await;
    let mut told = vec![(1, books(&mut kim).await)];
    let mut lee = come(2).await;
    told.push((2, books(&mut lee).await));
    let place = comes_back(&server, &sale, json!({ "type": "join", "identity": identity(&sale, 3) })).await;
    assert_eq!(place.0["type"], "joined");
    // Redis and whoever heard of it are lost together. (An empty one takes its place: tasks of the server that was stopped live
    // on for a moment in this process, and would bear witness.)
    server.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let empty = Redis::start_at(&folder.path().join("redis")).unwrap();
    postgres.batch_execute(&format!("{holder} '-infinity'")).await.unwrap();
    let server = Server::start_with(&world, &[("redis_url", &empty.url())]).await;
    for (number, booking) in told {
        let join = json!({ "type": "join", "identity": identity(&sale, number) });
        let (joined, found) = comes_back(&server, &sale, join).await;
        assert_eq!(found, Some(booking), "{joined}");
    }
    let on_record = "SELECT FROM journal WHERE sale_id = $1 AND entry LIKE '%\"booked\":[{%'";
    while postgres.query(on_record, &[&sale]).await.unwrap().is_empty() {
        sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
    let (status, said) = check(&sale, &world).await;
    // Nobody's turn is on record, so not all can be judged; nothing is broken.
    assert_eq!(status, Some(75), "{said}");
    assert!(said.lines().any(|line| line.starts_with("bookings ") && line.ends_with(" 2")), "{said}");
}

/// What the journal proves.
async fn check(sale: &str, world: &World) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.args(["check", "--sale", sale, "--postgres-url", &world.postgres.url()]).env_clear();
    let output = spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}
