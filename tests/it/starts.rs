//! What `serve` must not start on, `doctor` finds, and both say the same.

use crate::world::{ADMIN_TOKEN, Server, World};
use std::process::Command;
use waitroom::{
    embedded::Redis,
    store::{postgres::connect::postgres_pool, redis::redis_client},
};

/// Both end with 78 and these words, which begin with the setting's name.
async fn both_refuse(world: &World, others: &[(&str, &str)], words: &str) {
    refuse(&["serve", "doctor"], world, others, words).await;
}

async fn refuse(commands: &[&'static str], world: &World, others: &[(&str, &str)], words: &str) {
    for command in commands {
        let (redis, postgres) = (world.redis.url(), world.postgres.url());
        let mut settings = vec![
            ("redis_url", redis.as_str()),
            ("postgres_url", &postgres),
            ("listen", "127.0.0.1:0"),
            ("admin_listen", "127.0.0.1:0"),
            ("admin_token", ADMIN_TOKEN),
            ("signing_keys", "k1:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="),
        ];
        settings.extend_from_slice(others);
        let settings =
            settings.iter().map(|(key, value)| (format!("WAITROOM_{}", key.to_uppercase()), *value));
        let mut program = Command::new(env!("CARGO_BIN_EXE_waitroom"));
        program.arg(command).env_clear().envs(settings);
        let output = tokio::task::spawn_blocking(move || program.output().unwrap()).await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(78), "{command}, {words}: {said}");
        assert!(said.contains(words), "{command}, {words}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_cannot_be_booked_in_is_refused_alike() {
    let world = World::new();
    let url = world.postgres.url();
    for (option, words) in [
        ("default_transaction_read_only%3Don", "postgres_url: sessions may only read"),
        ("search_path%3Dnowhere", "postgres_url: the search_path"),
    ] {
        let url = format!("{url}&options=-c%20{option}");
        both_refuse(&world, &[("postgres_url", &url)], words).await;
    }
    // `serve` starts on one that forgets, and says so.
    let forgets = format!("{url}&options=-c%20synchronous_commit%3Doff");
    let words = "postgres_url: PostgreSQL has synchronous_commit off";
    refuse(&["doctor"], &world, &[("postgres_url", &forgets)], words).await;
    both_refuse(&world, &[("postgres_pool", "98")], "postgres_pool: wants 98").await;
    let client = postgres_pool(&url, 1).unwrap().get().await.unwrap();
    let reader = url.replace("user=waitroom", "user=reader");
    client.batch_execute("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data").await.unwrap();
    both_refuse(&world, &[("postgres_url", &reader)], "this user may create none").await;
    waitroom::store::postgres::migrations::run(&url).await.unwrap();
    both_refuse(&world, &[("postgres_url", &reader)], "postgres_url: the tables cannot be used").await;
    client.batch_execute("REVOKE pg_read_all_data FROM reader").await.unwrap();
    both_refuse(&world, &[("postgres_url", &reader)], "postgres_url: the tables cannot be used").await;
    client.batch_execute("ALTER TABLE bookings RENAME TO elsewhere").await.unwrap();
    both_refuse(&world, &[], "postgres_url: the tables cannot be used").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_cannot_be_joined_in_is_refused_alike() {
    let world = World::new();
    let folder = tempfile::tempdir().unwrap();
    for (name, value, code) in [("--min-replicas-to-write", "1", "NOREPLICAS"), ("--maxmemory", "1", "OOM")] {
        let redis = Redis::start_with(&folder.path().join(code), &[name, value]).unwrap();
        let words = format!("redis_url: this Redis refuses a script that writes ({code}");
        both_refuse(&world, &[("redis_url", &redis.url()), ("allow_data_loss", "true")], &words).await;
    }
    let mut connection = redis_client(&world.redis.url()).unwrap().get_connection().unwrap();
    for rule in ["-@scripting", "-@write"] {
        redis::cmd("ACL").arg(&["SETUSER", "default", "+@all", rule]).exec(&mut connection).unwrap();
        both_refuse(&world, &[], "redis_url: this Redis refuses a script that writes (").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_cannot_be_listened_on_are_refused_alike() {
    let world = World::new();
    // An address of nobody (RFC 5737).
    both_refuse(&world, &[("listen", "192.0.2.1:0")], "cannot listen on 192.0.2.1:0").await;
    both_refuse(&world, &[("admin_listen", "192.0.2.1:0")], "cannot listen on 192.0.2.1:0").await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for public in ["127.0.0.1", "0.0.0.0"] {
        let (public, admin) = (format!("{public}:{port}"), format!("127.0.0.1:{port}"));
        both_refuse(&world, &[("listen", &public), ("admin_listen", &admin)], "is the address of listen")
            .await;
    }
}

/// Else an operator mends one of them in the night, and is told of the other then.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_setting_is_told_although_the_stores_are_away() {
    let world = World::new();
    let away = [("redis_url", "redis://127.0.0.1:1"), ("postgres_url", "postgres://u@127.0.0.1:1/d")];
    for (setting, value, words) in [
        ("admin_token", "short", "admin_token"),
        ("signing_keys", "k1:AAAA", "signing_keys"),
        ("tls_cert_file", "/nowhere.pem", "tls_"),
        ("redis_url", "redis://", "redis_url"),
        ("postgres_url", "postgres://", "postgres_url"),
        ("redis_addresses", "a=", "redis_addresses"),
        ("listen", "192.0.2.1:0", "cannot listen on 192.0.2.1:0"),
    ] {
        let others: Vec<_> = away.into_iter().chain([(setting, value)]).collect();
        both_refuse(&world, &others, words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_is_the_same_wherever_it_is_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_waitroom")).arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let version = said.trim().strip_prefix("waitroom ").unwrap().to_owned();
    let server = Server::start().await;
    let metrics = server.metrics().await;
    assert!(metrics.contains(&format!("waitroom_build_info{{version=\"{version}\"}} 1")), "{metrics}");
    for page in ["/", "/sales/spring"] {
        let (_, html) = server.public("GET", page, &[]).await;
        let tag = format!("<meta name=\"generator\" content=\"waitroom {version}\">");
        assert!(html.as_str().unwrap().contains(&tag), "{page}: {html}");
    }
    server.stop().await;
}
