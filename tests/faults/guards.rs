//! What keeps a place from being lost, switched off: the scene that goes right with it goes wrong without, and the proof
//! says so. The guards of the seats are switched off in tests/chaos and tests/rehearsal.rs.

use crate::{
    guests::Guests,
    nodes::until,
    stage::{SALE, Stage, Topology, sql},
};
use rustix::process::Signal;
use std::fs;

/// Whether the guard is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guard {
    On,
    Off,
}
use Guard::{Off, On};

/// A sale that is not open yet, and whom it told a place.
struct Scene {
    stage: Stage,
    guests: Guests,
}

impl Scene {
    async fn set(topology: Topology) -> Self {
        let stage = Stage::set(topology).await;
        stage.make_sale(&["--seats=200", "--rate=1", "--max-active=1", "--max-seats=2"]);
        Self { stage, guests: Guests::default() }
    }

    async fn come(&mut self, count: usize) -> usize {
        let url = self.stage.instances[0].url();
        self.guests.come(&url, count).await
    }

    /// Nothing goes on record any more; or all does again.
    async fn hold_the_journal(&self, held: bool) {
        let until = if held { "infinity" } else { "-infinity" };
        let lease = format!("UPDATE journal_heads SET holder = 'nobody', until = '{until}'");
        sql(&self.stage.postgres.url(), &lease).await;
    }

    fn kill_instances(&mut self) {
        self.stage.instances.iter_mut().for_each(|instance| instance.kill());
    }

    async fn start_instances(&mut self) {
        self.stage.instances.iter_mut().for_each(|instance| instance.see_to_it());
        self.stage.back_to_normal().await;
    }

    async fn lost(&self) -> Vec<String> {
        self.guests.lost(&self.stage).await
    }

    /// All places are there if the guard is; if not, the proof says what is wrong.
    async fn ends(self, guard: Guard, wrong: &str) {
        let lost = self.lost().await;
        match guard {
            On => assert_eq!(lost, [""; 0]),
            Off => assert!(lost.iter().any(|fault| fault.contains(wrong)), "{lost:#?}"),
        }
    }
}

/// The primary dies with what only it had, and with it all who heard of that.
async fn confirmation(guard: Guard) {
    let topology = if guard == On { Topology::Confirmed(1) } else { Topology::Replica };
    let mut scene = Scene::set(topology).await;
    assert_eq!(scene.come(3).await, 3);
    scene.stage.journaled().await;
    scene.hold_the_journal(true).await;
    scene.stage.redis.nodes[1].cut_off();
    let told = scene.come(3).await;
    assert_eq!(told, if guard == On { 0 } else { 3 });
    scene.kill_instances();
    scene.stage.redis.nodes[0].kill();
    until("the replica is promoted", || scene.stage.redis.nodes[1].info("role") == "master");
    scene.hold_the_journal(false).await;
    scene.stage.redis.nodes[1].mend();
    scene.stage.redis.nodes[0].restart();
    scene.stage.redis.nodes[0].follow(&scene.stage.redis.nodes[1]);
    scene.start_instances().await;
    scene.ends(guard, "Redis does not have it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make chaos"]
async fn replicas_that_confirm() {
    confirmation(On).await;
    confirmation(Off).await;
}

/// The power fails: what was not synced is gone, and with it all who heard of it.
async fn syncing(guard: Guard) {
    let mut scene = Scene::set(Topology::Alone).await;
    scene.come(3).await;
    scene.stage.journaled().await;
    scene.hold_the_journal(true).await;
    let redis = scene.stage.redis();
    if guard == Off {
        redis.say::<()>(&["CONFIG", "SET", "appendfsync", "no"]);
    }
    let file = fs::read_dir(redis.data()).unwrap().flatten().map(|file| file.path());
    let file = file.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).max().unwrap();
    let synced = fs::metadata(&file).unwrap().len();
    assert_eq!(scene.come(3).await, 3);
    scene.kill_instances();
    scene.stage.redis().kill();
    if guard == Off {
        // What the kernel had not written by itself.
        fs::File::options().write(true).open(&file).unwrap().set_len(synced).unwrap();
    }
    scene.stage.redis().restart();
    scene.hold_the_journal(false).await;
    scene.start_instances().await;
    scene.ends(guard, "Redis does not have it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make chaos"]
async fn what_is_told_is_synced() {
    syncing(On).await;
    syncing(Off).await;
}

/// Redis comes back as it was before, and says that it is the process that it was.
async fn takeover(guard: Guard) {
    let mut scene = Scene::set(Topology::Alone).await;
    scene.come(3).await;
    let kept = scene.stage.redis().snapshot();
    scene.come(3).await;
    scene.stage.journaled().await;
    let links = |scene: &Scene, cut: bool| {
        for instance in &scene.stage.instances {
            let link = instance.wiring.redis.as_ref().unwrap();
            if cut { link.sever() } else { link.heal() }
        }
    };
    links(&scene, true);
    scene.stage.redis().kill();
    scene.stage.redis().go_back_to(&kept);
    scene.stage.redis().restart();
    if guard == Off {
        let redis = scene.stage.redis();
        let (key, run_id) = (format!("waitroom:{{{SALE}}}:sale"), redis.info("run_id"));
        let _: i64 = redis.say(&["HSET", &key, "run_id", &run_id, "taken_n", "1000000000000"]);
    }
    links(&scene, false);
    scene.stage.back_to_normal().await;
    assert_eq!(scene.come(3).await, 3);
    scene.ends(guard, "Redis does not have it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make chaos"]
async fn a_process_of_redis_is_looked_at_before_it_is_believed() {
    takeover(On).await;
    takeover(Off).await;
}

/// Numbers of a new life are drawn where those of the old one were.
async fn epoch(guard: Guard) {
    let mut scene = Scene::set(Topology::Alone).await;
    scene.come(4).await;
    scene.stage.journaled().await;
    scene.stage.redis().say::<()>(&["FLUSHALL"]);
    scene.stage.back_to_normal().await;
    if guard == Off {
        let key = format!("waitroom:{{{SALE}}}:sale");
        let _: i64 = scene.stage.redis().say(&["HSET", &key, "seq", "0"]);
    }
    assert_eq!(scene.come(4).await, 4);
    scene.ends(guard, "was given twice").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make chaos"]
async fn a_life_has_numbers_of_its_own() {
    epoch(On).await;
    epoch(Off).await;
}

/// Somebody has left, and asks with his old token.
async fn ended(guard: Guard) {
    let mut scene = Scene::set(Topology::Alone).await;
    scene.come(3).await;
    let url = scene.stage.instances[0].url();
    scene.guests.leave(&url, 0).await;
    if guard == Off {
        let (key, visitor) = (format!("waitroom:{{{SALE}}}:places"), scene.guests.visitor(0));
        assert_eq!(scene.stage.redis().say::<i64>(&["HDEL", &key, &visitor]), 1);
    }
    scene.guests.come_back(&url, 0).await;
    scene.ends(guard, "had ended and is back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make chaos"]
async fn places_that_have_ended_are_remembered() {
    ended(On).await;
    ended(Off).await;
}

/// The stream is trimmed before the journal has it, and then all who heard of it are gone.
async fn trimming(guard: Guard) {
    let mut scene = Scene::set(Topology::Alone).await;
    scene.come(3).await;
    scene.stage.journaled().await;
    scene.hold_the_journal(true).await;
    assert_eq!(scene.come(3).await, 3);
    if guard == Off {
        let key = format!("waitroom:{{{SALE}}}:events");
        let _: i64 = scene.stage.redis().say(&["XTRIM", &key, "MAXLEN", "0"]);
    }
    scene.kill_instances();
    scene.hold_the_journal(false).await;
    scene.start_instances().await;
    if guard == On {
        scene.stage.journaled().await;
    }
    scene.stage.redis().say::<()>(&["FLUSHALL"]);
    scene.stage.back_to_normal().await;
    scene.ends(guard, "Redis does not have it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make chaos"]
async fn the_stream_is_trimmed_behind_the_journal_only() {
    trimming(On).await;
    trimming(Off).await;
}

/// The journal is what a lost line comes back from, and its chain what nobody changes unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "make chaos"]
async fn the_chain_of_the_journal() {
    let mut scene = Scene::set(Topology::Alone).await;
    scene.come(3).await;
    scene.stage.journaled().await;
    // No instance writes meanwhile.
    scene.stage.instances.iter().for_each(|instance| instance.signal(Signal::STOP));
    assert_eq!(crate::proof::journal(&scene.stage), [""; 0]);
    let tamper = "UPDATE journal SET entry = replace(entry, '\"drawn\":[[1,1]]', '\"drawn\":[[1,2]]')";
    sql(&scene.stage.postgres.url(), &format!("SET session_replication_role = replica; {tamper}")).await;
    let found = crate::proof::journal(&scene.stage);
    assert!(found.iter().any(|fault| fault.contains("VIOLATED")), "{found:?}");
}
