//! What a join costs Redis, by how many share a call, with parts of it switched off; and by the scripts of another build, by
//! turns.

use crate::server::{Scripts, Server, joins};
use std::{
    fs,
    path::{Path, PathBuf},
};

const ROUNDS: usize = 9;
const BATCHES: [usize; 4] = [1, 8, 64, 512];
/// Joins of a round, in so many calls at most: with `always` each waits for the disk.
const JOINS: usize = 4_096;
const CALLS_MAX: usize = 200;

/// What is left out, and by which replacement in which file.
const PARTS: [(&str, &str, &str, &str); 6] = [
    ("presence", "standing", "many('HSET', presence, written.presence)", ""),
    ("places", "standing", "many('HSET', places, written.places)", ""),
    ("the line", "standing", "many('ZADD', line, written.line)", ""),
    ("the rank", "standing", "redis.call('ZRANK', line, visitor) - seq", "0"),
    ("who drew what, in the entry", "join", "note('drawn', { visitor, seq, owned, before })", ""),
    ("the answers", "join", "return standings(answers, drawn)", "standings(answers, drawn) return 0"),
];

/// Our scripts without a part.
fn without(part: &(&str, &str, &str, &str), into: &Path) -> PathBuf {
    let (name, file, from, to) = part;
    let folder = into.join(name.replace(' ', "-"));
    fs::create_dir(&folder).unwrap();
    for script in fs::read_dir(Scripts::ours()).unwrap().flatten() {
        fs::copy(script.path(), folder.join(script.file_name())).unwrap();
    }
    let path = folder.join(file).with_extension("lua");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name}: {file}.lua has changed");
    fs::write(path, text.replace(from, to)).unwrap();
    folder
}

/// µs a join.
fn cost(server: &mut Server, folder: &Path, batch: usize) -> f64 {
    server.ask::<()>(&["FLUSHALL"]);
    let scripts = Scripts::load(server, folder);
    scripts.install(server);
    let calls: Vec<_> = (0..(JOINS / batch).min(CALLS_MAX)).map(|_| joins(batch).0).collect();
    let (ms, ()) = server.cost(|server| {
        for args in &calls {
            scripts.call(server, "join", args);
        }
    });
    ms * 1e3 / (calls.len() * batch) as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians for each folder, which take turns.
fn by_turns(server: &mut Server, folders: &[PathBuf], batch: usize) -> Vec<f64> {
    let mut costs = vec![Vec::new(); folders.len()];
    for _ in 0..ROUNDS {
        for (folder, costs) in folders.iter().zip(&mut costs) {
            costs.push(cost(server, folder, batch));
        }
    }
    costs.into_iter().map(median).collect()
}

pub fn compare(other: Option<PathBuf>) {
    println!(
        "| appendfsync | joins a call | µs of Redis' CPU a join | the other scripts | |\n|---|---|---|---|---|"
    );
    for fsync in ["always", "everysec"] {
        let mut server = Server::start(fsync);
        let folders: Vec<_> = [Some(Scripts::ours()), other.clone()].into_iter().flatten().collect();
        for batch in BATCHES {
            let costs = by_turns(&mut server, &folders, batch);
            let beside = costs.get(1).map(|other| format!("{other:.1} | {:.2} ×", costs[0] / other));
            println!("| {fsync} | {batch} | {:.1} | {} |", costs[0], beside.unwrap_or_else(|| " | ".into()));
        }
    }
    let (mut server, copies) = (Server::start("everysec"), tempfile::tempdir().unwrap());
    let mut folders = vec![Scripts::ours()];
    folders.extend(PARTS.iter().map(|part| without(part, copies.path())));
    let costs = by_turns(&mut server, &folders, 512);
    println!("\n| 512 joins a call | µs a join |\n|---|---|\n| all of it | {:.1} |", costs[0]);
    for ((part, ..), cost) in PARTS.iter().zip(&costs[1..]) {
        println!("| {part} | {:.1} |", costs[0] - cost);
    }
}
