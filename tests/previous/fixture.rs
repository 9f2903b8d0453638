//! Redis and PostgreSQL as JSON lines, there and back.

use crate::nodes::Node;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};
use waitroom::store::postgres::{connect, migrations};

/// The schema that the recording release knew.
pub const SCHEMA: i32 = 8;

pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/previous/data").join(name)
}

fn write(name: &str, lines: &[Value]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(file(name), text).unwrap();
}

fn read(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(file(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What visitors hold, and how each stood when they were last told.
pub fn write_visitors(visitors: &[Value]) {
    write("visitors.jsonl", visitors);
}

pub fn visitors() -> Vec<Value> {
    read("visitors.jsonl")
}

/// All keys, each as the commands that make it.
pub fn record_redis(redis: &Node) {
    let mut keys: Vec<String> = redis.say(&["KEYS", "*"]);
    keys.sort();
    let lines: Vec<Value> = keys.iter().flat_map(|key| commands(redis, key)).collect();
    write("redis.jsonl", &lines);
}

fn commands(redis: &Node, key: &str) -> Vec<Value> {
    let kind: String = redis.say(&["TYPE", key]);
    match kind.as_str() {
        "string" => vec![json!(["SET", key, redis.say::<String>(&["GET", key])])],
        "hash" => {
            let fields: Vec<String> = redis.say(&["HGETALL", key]);
            fields.chunks(2).map(|pair| json!(["HSET", key, pair[0], pair[1]])).collect()
        }
        "zset" => {
            let members: Vec<String> = redis.say(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
            members.chunks(2).map(|pair| json!(["ZADD", key, pair[1], pair[0]])).collect()
        }
        "set" => {
            redis.say::<Vec<String>>(&["SMEMBERS", key]).iter().map(|m| json!(["SADD", key, m])).collect()
        }
        "stream" => {
            let entries: Vec<(String, Vec<String>)> = redis.say(&["XRANGE", key, "-", "+"]);
            let entry = |(id, fields): &(String, Vec<String>)| {
                let head = ["XADD", key, id].map(str::to_owned);
                json!(head.iter().chain(fields).collect::<Vec<_>>())
            };
            assert!(!entries.is_empty(), "{key} must have something that nobody has journaled");
            entries.iter().map(entry).collect()
        }
        other => panic!("{key} is a {other}: say how it is made"),
    }
}

pub fn replay_redis(redis: &Node) {
    for line in read("redis.jsonl") {
        let words: Vec<String> = serde_json::from_value(line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        redis.say::<redis::Value>(&words);
    }
}

/// All rows of all tables but the migrations' own.
pub async fn record_postgres(url: &str) {
    let client = connect::postgres_single(url).await.unwrap();
    let tables =
        "SELECT relname::text FROM pg_stat_user_tables WHERE relname <> 'refinery_schema_history' ORDER BY 1";
    let mut lines = Vec::new();
    for table in client.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let rows = format!("SELECT row_to_json(t)::text FROM {table} AS t ORDER BY 1");
        for row in client.query(&rows, &[]).await.unwrap() {
            lines.push(json!({ "table": table, "row": serde_json::from_str::<Value>(row.get(0)).unwrap() }));
        }
    }
    write("postgres.jsonl", &lines);
}

/// The schema as it then was, and its rows.
pub async fn replay_postgres(url: &str) {
    migrations::run_up_to(url, SCHEMA).await.unwrap();
    let client = connect::postgres_single(url).await.unwrap();
    // One transaction: what belongs together is looked at at its end. Keys to other tables are not looked at at all.
    client.batch_execute("BEGIN; SET LOCAL session_replication_role = replica").await.unwrap();
    for line in read("postgres.jsonl") {
        let (table, row) = (line["table"].as_str().unwrap(), &line["row"]);
        let columns: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        let columns = columns.join(", ");
        let insert = format!(
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_record(NULL::{table}, $1::text::json)"
        );
        client.execute(&insert, &[&row.to_string()]).await.unwrap();
    }
    client.batch_execute("COMMIT").await.unwrap();
}
