//! The binary's exit statuses and words, where no server is needed.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use std::{
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use base64::Engine;

const KEY: &str = "0123456789012345678901234567890123456789";

fn waitroom(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waitroom"));
    command.args(args).env_clear().envs(variables.iter().copied());
    command.output().unwrap()
}

/// Its status, and what it said on either stream.
fn run(args: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let output = waitroom(args, variables);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

#[test]
fn help_and_version_are_what_was_asked_for() {
    for args in [vec!["--help"], vec!["--version"], vec!["serve", "--help"], vec!["sale", "create", "--help"]]
    {
        let output = waitroom(&args, &[("WAITROOM_ADMIN_TOKEN", "hush")]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty(), "{args:?}");
        assert!(!String::from_utf8(output.stdout).unwrap().contains("hush"));
    }
}

#[test]
fn wrong_usage() {
    for args in [
        vec![],
        vec!["nonsense"],
        vec!["serve", "--nonsense"],
        vec!["serve", "extra"],
        vec!["sale"],
        vec!["sale", "create", "spring"],
        vec!["sale", "create", "spring", "--seats", "many"],
        vec!["sale", "create", "Spring!", "--seats", "3"],
        vec!["sale", "set", "spring"],
        vec!["sale", "set", "spring", "--rate", "nan"],
        vec!["sale", "set", "spring", "--rate", "inf"],
        vec!["sale", "create", "spring", "--seats", "3", "--rate", "NaN"],
        vec!["token", "--sale", "spring"],
        vec!["token", "--sale", "spring", "--sub", "v", "--ttl-s", "0", "--identity-key", KEY],
    ] {
        let (status, said) = run(&args, &[]);
        assert_eq!(status, 64, "{args:?}: {said}");
        assert!(!said.is_empty());
    }
}

#[test]
fn bad_settings_are_named() {
    for (args, variables, name) in [
        (vec!["serve"], vec![], "redis_url"),
        (vec!["serve", "--drain-s", "0"], vec![], "drain_s"),
        (vec!["serve"], vec![("WAITROOM_DRAIN_S", "99999")], "drain_s"),
        (vec!["serve"], vec![("WAITROOM_DRAIN", "1")], "drain"),
        (vec!["serve", "--redis-url", "http://h:1"], vec![], "redis_url"),
        (vec!["migrate"], vec![], "postgres_url"),
        (vec!["sale", "list"], vec![], "admin_token"),
        (vec!["token", "--sale", "s", "--sub", "v"], vec![], "identity_key"),
        (vec!["token", "--sale", "s", "--sub", "v", "--identity-key", "short"], vec![], "identity_key"),
    ] {
        let (status, said) = run(&args, &variables);
        assert_eq!(status, 78, "{args:?}: {said}");
        assert!(said.starts_with(&format!("waitroom: {name}: ")), "{args:?}: {said}");
    }
}

#[test]
fn files_that_are_not_there() {
    for args in [
        vec!["serve", "--config", "/nonexistent"],
        vec!["sale", "list", "--admin-token-file", "/nonexistent"],
        vec!["sale", "create", "spring", "--plan", "/nonexistent"],
    ] {
        let (status, said) = run(&args, &[]);
        assert_eq!(status, 74, "{args:?}: {said}");
        assert!(said.contains("/nonexistent"), "{said}");
    }
}

#[test]
fn secrets_that_others_may_change_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("admin-token");
    std::fs::write(&file, "a-token-of-some-length").unwrap();
    let ask = |mode: u32| {
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        run(&["doctor", "--admin-token-file", file.to_str().unwrap()], &[]).1
    };
    assert!(ask(0o666).contains("admin_token_file: anyone may write"), "{}", ask(0o666));
    assert!(ask(0o644).contains("every user of this machine may read"), "{}", ask(0o644));
    assert!(!ask(0o640).contains("admin_token_file"), "{}", ask(0o640));
}

#[test]
fn servers_that_are_not_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (status, said) = run(&["sale", "list", "--admin-listen", &free, "--admin-token", "t"], &[]);
    assert_eq!(status, 69, "{said}");
    assert!(said.contains(&free), "{said}");
    // A flag is said, so the file that a variable names is not asked for.
    let elsewhere = [("WAITROOM_ADMIN_TOKEN_FILE", "/nonexistent")];
    let (status, said) = run(&["sale", "list", "--admin-listen", &free, "--admin-token", "t"], &elsewhere);
    assert_eq!(status, 69, "{said}");
    let keys = format!("k:{}", base64::engine::general_purpose::STANDARD.encode(KEY));
    let (redis, postgres) = (format!("redis://:hush@{free}"), format!("postgres://u:hush@{free}/db"));
    let settings = [
        ("WAITROOM_REDIS_URL", redis.as_str()),
        ("WAITROOM_POSTGRES_URL", postgres.as_str()),
        ("WAITROOM_ADMIN_TOKEN", "hush-hush-hush-hush"),
        ("WAITROOM_SIGNING_KEYS", keys.as_str()),
    ];
    for command in ["serve", "migrate", "doctor"] {
        let (status, said) = run(&[command], &settings);
        assert_eq!(status, 69, "{command}: {said}");
        assert!(!said.contains("hush") && !said.contains(&keys), "{command}: {said}");
    }
}

#[test]
fn a_token_is_a_jwt() {
    let args = ["token", "--sale", "spring", "--sub", "ada", "--ttl-s", "60"];
    let (status, said) = run(&args, &[("WAITROOM_IDENTITY_KEY", KEY)]);
    assert_eq!(status, 0, "{said}");
    let claims = said.trim().split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!((claims["sub"].as_str(), claims["aud"].as_str()), (Some("ada"), Some("spring")));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let line =
        format!("{} token --sale s --sub v --identity-key {KEY} | true", env!("CARGO_BIN_EXE_waitroom"));
    let output = Command::new("bash").args(["-o", "pipefail", "-c", &line]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn check_says_what_is_wrong_with_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let header = |run: &str, part: u32| {
        format!(
            r#"{{"history":1,"run":"{run}","part":[{part},2],"scenario":"steady","sale":"demo","seats":9,"visitors":1,"started_at":"2026-11-22T10:00:00Z","started_us":0,"machine":"m","ranks_of_every":1,"settings":null}}"#
        )
    };
    let good = file("good", &format!("{}\n[7,0,1,\"leave\"]\n", header("a", 1)));
    let other = file("other", &format!("{}\n", header("b", 2)));
    let garbled = file("garbled", &format!("{}\n[7,0,1,\"dance\"]\n", header("a", 1)));
    let away = ["--redis-url", "redis+unix:///nonexistent/redis.sock"];
    for (args, wanted, words) in [
        (vec![], 64, "HISTORY"),
        (vec!["/nonexistent"], 74, "/nonexistent"),
        (vec![&*garbled], 74, "garbled, line 2"),
        (vec![&*good, &*other], 64, "different runs"),
        (vec![&*good, &*good], 64, "the same part twice"),
        (vec![&*good], 75, "9 every story comes to its end"),
        (vec![&*good, away[0], away[1]], 69, "Redis"),
        (vec![&*good, "--redis-url", "http://h"], 78, "redis_url"),
    ] {
        let (status, said) = run(&[vec!["check"], args.clone()].concat(), &[]);
        assert_eq!(status, wanted, "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
