use std::ffi::OsString;
use std::io::Write;

use clap::{Arg, Args, Command, FromArgMatches, value_parser};

use super::*;

const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

fn command() -> Command {
    let config = Arg::new("config").long("config").global(true).value_parser(value_parser!(PathBuf));
    let serve = DataArgs::augment_args(ServeArgs::augment_args(Command::new("serve")));
    Command::new("waitroom").arg(config).subcommand(serve)
}

fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<ServeArgs, SettingsError> {
    let args = ["waitroom", "serve"].iter().chain(args).map(OsString::from);
    let env = env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let matches = layers::parse(command(), args, env)?;
    Ok(ServeArgs::from_arg_matches(matches.subcommand().unwrap().1).unwrap())
}

fn fault(args: &[&str], env: &[(&str, &str)]) -> String {
    let error = match parse(args, env) {
        Ok(parsed) => parsed.resolve().expect_err("accepted"),
        Err(error) => error,
    };
    assert!(matches!(error, SettingsError::Refused { .. }), "{error:?}");
    error.to_string()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn complete() -> Vec<(&'static str, &'static str)> {
    vec![
        ("WAITROOM_REDIS_URL", "redis://h:1"),
        ("WAITROOM_POSTGRES_URL", "postgres://u:hush@h/db"),
        ("WAITROOM_ADMIN_TOKEN", "hush-hush-my-darling"),
        ("WAITROOM_SIGNING_KEYS", "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="),
    ]
}

#[test]
fn defaults() {
    let settings = parse(&[], &complete()).unwrap().resolve().unwrap();
    assert_eq!(settings.http.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(settings.admin.admin_listen.to_string(), "127.0.0.1:9090");
    assert_eq!((settings.http.drain_s, settings.postgres.postgres_pool), (20, 8));
    assert_eq!((settings.redis.redis_replicas, settings.redis.allow_data_loss), (0, false));
    assert!(!settings.http.reuse_port, "two that share a port by mistake would share its visitors");
    assert_eq!((settings.log.log.as_str(), settings.log.log_format), ("info", LogFormat::Text));
    assert!(settings.http.allowed_origins.is_empty() && settings.http.trusted_proxies.is_empty());
    assert!(settings.keys.identity_key.is_none());
}

#[test]
fn flag_before_variable_before_file_before_default() {
    let config = file("drain_s = 3\npostgres_pool = 30\nlog = 'debug'\n");
    let config = config.path().to_str().unwrap();
    let env = [("WAITROOM_DRAIN_S", "2"), ("WAITROOM_POSTGRES_POOL", "20"), ("WAITROOM_CONFIG", config)];
    let args = parse(&["--drain-s", "1"], &env).unwrap();
    assert_eq!((args.http.drain_s, args.postgres.postgres_pool), (1, 20));
    assert_eq!(args.log.log, "debug");
    assert_eq!(args.log.log_format, LogFormat::Text);
}

#[test]
fn the_config_flag_beats_its_variable() {
    let (mine, other) = (file("drain_s = 3"), file("drain_s = 4"));
    let env = [("WAITROOM_CONFIG", other.path().to_str().unwrap())];
    let args = parse(&["--config", mine.path().to_str().unwrap()], &env).unwrap();
    assert_eq!(args.http.drain_s, 3);
}

#[test]
fn lists_and_truths_from_everywhere() {
    let two = ["https://a.example", "http://b:81"];
    let as_list = file("allowed_origins = ['https://A.example:443', 'http://b:81']\nallow_data_loss = true");
    let as_text = file("allowed_origins = 'https://a.example,http://b:81'");
    for config in [&as_list, &as_text] {
        let args = parse(&["--config", config.path().to_str().unwrap()], &[]).unwrap();
        assert_eq!(args.http.allowed_origins, two);
    }
    let args = parse(&["--config", as_list.path().to_str().unwrap()], &[]).unwrap();
    assert!(args.redis.allow_data_loss);
    let args = parse(&[], &[("WAITROOM_ALLOWED_ORIGINS", "https://a.example, http://b:81")]).unwrap();
    assert_eq!(args.http.allowed_origins, two);
    assert!(parse(&[], &[("WAITROOM_ALLOWED_ORIGINS", "")]).unwrap().http.allowed_origins.is_empty());
    let args = parse(&["--allowed-origins", "http://c", "--allow-data-loss"], &[]).unwrap();
    assert_eq!(args.http.allowed_origins, ["http://c"]);
    assert!(args.redis.allow_data_loss);
    assert!(
        !parse(&["--allow-data-loss=false"], &[("WAITROOM_ALLOW_DATA_LOSS", "1")])
            .unwrap()
            .redis
            .allow_data_loss
    );
    let args = parse(&["--trusted-proxies", "10.0.0.0/8,::1"], &[]).unwrap();
    assert!(args.http.trusted_proxies[0].contains("10.9.9.9".parse().unwrap()));
    assert!(args.http.trusted_proxies[0].contains("::ffff:10.9.9.9".parse().unwrap()));
    assert!(!args.http.trusted_proxies[0].contains("11.0.0.0".parse().unwrap()));
    assert!(args.http.trusted_proxies[1].contains("::1".parse().unwrap()));
}

#[test]
fn unknown_names_are_refused() {
    assert!(fault(&[], &[("WAITROOM_REDIS_URI", "x")]).contains("did you mean redis_url?"));
    assert!(
        fault(&[], &[("WAITROOM_NONSENSE", "x")]).starts_with("nonsense: the variable WAITROOM_NONSENSE")
    );
    let config = file("drain = 1");
    let error = fault(&["--config", config.path().to_str().unwrap()], &[]);
    assert!(error.starts_with("drain: ") && error.contains("drain_s"), "{error}");
    let config = file("[http]\nlisten = 'x'");
    assert!(fault(&["--config", config.path().to_str().unwrap()], &[]).starts_with("http: "));
}

#[test]
fn values_out_of_range_or_malformed_are_refused_by_name() {
    for (key, value) in [
        ("drain_s", "0"),
        ("drain_s", "3601"),
        ("drain_s", "soon"),
        ("postgres_pool", "1"),
        ("postgres_pool", "101"),
        ("redis_replicas", "-1"),
        ("listen", "8080"),
        ("admin_listen", "nowhere"),
        ("allowed_origins", "example.com"),
        ("allowed_origins", "https://example.com/path"),
        ("allowed_origins", "ftp://example.com"),
        ("allowed_origins", "https://example.com:99999"),
        ("trusted_proxies", "10.0.0.0/33"),
        ("trusted_proxies", "me"),
        ("allow_data_loss", "perhaps"),
        ("reuse_port", "maybe"),
        ("address_places", "-1"),
        ("address_sockets", "many"),
        ("proof_of_work", "23"),
        ("proof_of_work", "0"),
        ("proof_of_work", "hard"),
        ("log", "waitroom=loud"),
        ("log_format", "xml"),
    ] {
        let mut env = complete();
        let name = layers::variable(key);
        env.push((&name, value));
        let error = fault(&[], &env);
        assert!(error.starts_with(&format!("{key}: ")), "{key}={value}: {error}");
        let config = file(&format!("{key} = '{value}'"));
        let error = fault(&["--config", config.path().to_str().unwrap()], &complete());
        assert!(error.starts_with(&format!("{key}: ")), "{key}={value}: {error}");
        let error = fault(&[&format!("--{}={value}", key.replace('_', "-"))], &complete());
        assert!(error.starts_with(&format!("{key}: ")), "{key}={value}: {error}");
    }
    assert_eq!(fault(&["--drain-s=0"], &complete()), "drain_s: `0` is out of range; allowed is 1..=3600");
    assert_eq!(fault(&["--log-format=xml"], &complete()), "log_format: `xml` is none of text, json");
}

#[test]
fn what_serve_needs_is_named_when_missing() {
    for key in ["redis_url", "postgres_url", "admin_token", "signing_keys"] {
        let env: Vec<_> = complete().into_iter().filter(|(name, _)| *name != layers::variable(key)).collect();
        let error = fault(&[], &env);
        assert!(error.starts_with(&format!("{key}: is missing; ")), "{error}");
        assert!(error.contains(&layers::variable(key)), "{error}");
    }
}

#[test]
fn where_the_stores_are() {
    assert!(fault(&["--redis-url", "h:1"], &complete()).starts_with("redis_url: give "));
    assert!(fault(&["--postgres-url", "host=h"], &complete()).starts_with("postgres_url: give "));
    let args = ["--redis-addresses", "10.0.0.1:1=h:2, 10.0.0.2=h"];
    let settings = parse(&args, &complete()).unwrap().resolve().unwrap();
    let pairs = [("10.0.0.1:1", "h:2"), ("10.0.0.2", "h")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(settings.redis.redis_addresses, pairs);
    assert!(fault(&["--redis-addresses", "h:1"], &complete()).starts_with("redis_addresses: "));
    let url = SecretUrl::from("redis-sentinel://u:hush@h:1,g:2/m?sentinel_password=hush".to_owned());
    assert_eq!(url.to_string(), "redis-sentinel://u:***@h:1,g:2/m?sentinel_password=***");
}

#[test]
fn what_strangers_may_do_and_what_they_are_shown() {
    let settings = parse(&[], &complete()).unwrap().resolve().unwrap();
    assert!(settings.tls.is_none());
    let strangers = settings.strangers;
    assert_eq!((strangers.address_places, strangers.address_sockets), (2_000, 0));
    assert_eq!(strangers.proof_of_work, ProofOfWork::Off);
    for (text, work) in [("auto", ProofOfWork::Auto), ("18", ProofOfWork::Bits(18))] {
        let args = parse(&["--proof-of-work", text], &complete()).unwrap();
        assert_eq!(args.strangers.proof_of_work, work);
    }
    let pairs = [("tls_cert_file", "tls_key_file"), ("redis_cert_file", "redis_key_file")];
    for (given, other) in pairs.into_iter().flat_map(|(cert, key)| [(cert, key), (key, cert)]) {
        let error = fault(&[&format!("--{}=x", given.replace('_', "-"))], &complete());
        assert!(error.starts_with(&format!("{other}: is missing")), "{error}");
    }
}

#[test]
fn signing_keys() {
    let long = format!("a:{KEY},b_-1:{}", "MTEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE");
    let keys = values::signing_keys(&long).unwrap();
    assert_eq!(keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["a", "b_-1"]);
    assert_eq!(keys[0].secret, b"01234567890123456789012345678901");
    assert!(values::signing_keys("u:-_-_abcdefghijklmnopqrstuvwx-_-_").is_ok());
    for bad in [
        "".to_owned(),
        "k1".to_owned(),
        format!(":{KEY}"),
        format!("k.1:{KEY}"),
        format!("{}:{KEY}", "k".repeat(17)),
        format!("k:{KEY},k:{KEY}"),
        "k:c2hvcnQ=".to_owned(),
        format!("k:{}=", "A".repeat(43)),
        format!("k:{KEY},other:{KEY}"),
        "k:***".to_owned(),
        format!("k:{KEY},"),
    ] {
        let error = values::signing_keys(&bad).unwrap_err();
        assert!(!error.contains(KEY) && !error.contains("c2hvcnQ"), "{error}");
        if !bad.is_empty() {
            assert!(fault(&["--signing-keys", &bad], &complete()).starts_with("signing_keys: "));
        }
    }
}

#[test]
fn identity_keys() {
    let raw = "0123456789012345678901234567890!";
    assert_eq!(IdentityKey::parse(raw).unwrap().bytes(), raw.as_bytes());
    assert_eq!(IdentityKey::parse(&format!("base64:{KEY}")).unwrap().bytes().len(), 32);
    let zeros = format!("base64:{}=", "A".repeat(43));
    for bad in [
        "short",
        "base64:c2hvcnQ=",
        "base64:!",
        "0123456789abcde",
        "00000000000000000000000000000000",
        &zeros,
    ] {
        assert!(fault(&["--identity-key", bad], &complete()).starts_with("identity_key: "), "{bad}");
    }
    let ours = parse(&["--identity-key", &format!("base64:{KEY}")], &complete()).unwrap().resolve().unwrap();
    assert!(ours.keys.shop_has_ours());
}

#[test]
fn tokens_that_can_be_guessed_are_refused() {
    for weak in ["Q", "0123456", "aaaaaaaaaaaaaaaaaaaaaaaa", "abcabcabcabcabcabcabc"] {
        let error = fault(&["--admin-token", weak], &complete());
        assert!(error.starts_with("admin_token: has ") && !error.contains(weak), "{error}");
        let error = fault(&["--admin-tokens", &format!("till:shop:{weak}")], &complete());
        assert!(error.starts_with("admin_tokens: token 1: till's token has "), "{error}");
    }
}

#[test]
fn named_tokens() {
    let (one, two) = ("a-token-for-the-till", "a-token-for-the-web");
    let of = |text: &str| {
        let settings = parse(&["--admin-tokens", text], &complete()).unwrap().resolve().unwrap();
        settings.admin_tokens
    };
    let tokens = of(&format!("till:shop@spring@autumn:{one}, web-2:viewer:{two}"));
    assert_eq!(
        (tokens[0].name.as_str(), tokens[0].role, tokens[0].token.expose()),
        ("till", Role::Shop, one)
    );
    assert_eq!(tokens[0].sales.iter().map(|sale| sale.as_str()).collect::<Vec<_>>(), ["spring", "autumn"]);
    assert_eq!((tokens[1].name.as_str(), tokens[1].role, tokens[1].sales.len()), ("web-2", Role::Viewer, 0));
    assert_eq!(of(&format!("a:operator:{one}\nb:gate:{two}\n")).len(), 2, "one a line, as in a file");
    assert_eq!(of(&format!("a:operator:with:colons:{one}"))[0].token.expose(), format!("with:colons:{one}"));
    for (bad, why) in [
        ("till".to_owned(), "token 1: is not name:role:token"),
        (format!("till:{one}"), "token 1: is not name:role:token"),
        (format!("Till:shop:{one}"), "token 1: its name must be"),
        (format!("admin:shop:{one}"), "token 1: its name must be"),
        (format!("till:cook:{one}"), "token 1: till's role is none of"),
        (format!("till:shop@Spring:{one}"), "token 1: till: \"Spring\" is no sale's id"),
        (format!("till:shop@:{one}"), "token 1: till: \"\" is no sale's id"),
        (format!("a:shop:{one},a:shop:{two}"), "the name a is there twice"),
        (format!("a:shop:{one},b:shop:{one}"), "b has a token that is there already"),
        ("a:shop:hush-hush-my-darling".to_owned(), "a has a token that is there already"),
        (format!("till:shop:{one} x"), "token 1: till's token must have visible"),
    ] {
        let error = fault(&["--admin-tokens", &bad], &complete());
        assert!(error.starts_with(&format!("admin_tokens: {why}")), "{bad}: {error}");
        assert!(!error.contains(one) && !error.contains("darling"), "{error}");
    }
}

#[test]
fn secrets_from_files() {
    let token = file("from-a-file-of-mine\n");
    let path = token.path().to_str().unwrap();
    let mut env = complete();
    env.retain(|(name, _)| *name != "WAITROOM_ADMIN_TOKEN");
    let settings = parse(&["--admin-token-file", path], &env).unwrap().resolve().unwrap();
    assert_eq!(settings.admin.admin_token.expose(), "from-a-file-of-mine");
    let twice = fault(&["--admin-token-file", path, "--admin-token", "hush"], &env);
    assert_eq!(twice, "admin_token: is given twice; drop admin_token or admin_token_file");
    let both = [complete(), vec![("WAITROOM_ADMIN_TOKEN_FILE", path)]].concat();
    assert_eq!(fault(&[], &both), twice);
    // Of two layers the higher one says it, whichever way.
    let told = |args: &[&str], env: &[(&str, &str)]| {
        parse(args, env).unwrap().resolve().unwrap().admin.admin_token.expose().to_owned()
    };
    assert_eq!(told(&["--admin-token-file", path], &complete()), "from-a-file-of-mine");
    assert_eq!(told(&["--admin-token", "from-a-flag-of-mine"], &both), "from-a-flag-of-mine");
    let names = file(&format!("admin_token_file = '{path}'"));
    let config = ["--config", names.path().to_str().unwrap()];
    assert_eq!(told(&config, &env), "from-a-file-of-mine");
    assert_eq!(told(&config, &complete()), "hush-hush-my-darling");
    let says = file("admin_token = 'config'");
    let config = ["--config", says.path().to_str().unwrap()];
    assert_eq!(
        told(&config, &[env.clone(), vec![("WAITROOM_ADMIN_TOKEN_FILE", path)]].concat()),
        "from-a-file-of-mine"
    );
    let error = parse(&["--admin-token-file", "/nonexistent"], &env).unwrap().resolve().unwrap_err();
    assert!(matches!(&error, SettingsError::File { key, .. } if key == "admin_token_file"), "{error}");
    assert!(fault(&["--admin-token", ""], &env).starts_with("admin_token: is empty"));
    assert!(fault(&["--admin-token", "a b"], &env).starts_with("admin_token: use visible"));
}

#[test]
fn files_that_cannot_be_read_or_understood() {
    let error = parse(&["--config", "/nonexistent.toml"], &[]).unwrap_err();
    assert!(matches!(error, SettingsError::File { .. }), "{error}");
    let config = file("drain_s = 1\nadmin_token = 'hush\n");
    let error = fault(&["--config", config.path().to_str().unwrap()], &[]);
    assert!(error.starts_with("config: ") && error.contains("line 2"), "{error}");
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn secrets_are_never_printed() {
    let settings = parse(&["--identity-key", "hush-hush-hush-of-the-old-shop"], &complete()).unwrap();
    let shown = format!("{settings:?} {:?}", settings.resolve().unwrap());
    assert!(!shown.contains("hush") && !shown.contains("MDEy") && !shown.contains("48, 49"), "{shown}");
    assert!(shown.contains("postgres://u:***@h/db"), "{shown}");
    let url = SecretUrl::from("postgres:///db?host=/run&password=hush&user=me".to_owned());
    assert_eq!(url.to_string(), "postgres:///db?host=/run&password=***&user=me");
    assert_eq!(SecretUrl::from("redis://:hu@sh@h:1/0".to_owned()).to_string(), "redis://:***@h:1/0");
    assert_eq!(SecretUrl::from("hush".to_owned()).to_string(), "***");
}

#[test]
fn help_shows_variables_but_no_values_of_theirs() {
    let config = file("admin_token = 'hush'");
    let error = parse(&["--config", config.path().to_str().unwrap(), "--help"], &complete()).unwrap_err();
    let help = error.to_string();
    assert!(matches!(error, SettingsError::Usage(_)));
    assert!(help.contains("WAITROOM_REDIS_URL") && !help.contains("hush"), "{help}");
}

#[test]
fn a_wrong_command_line_is_usage() {
    for args in [["--nonsense", "1"], ["extra", "words"]] {
        assert!(matches!(parse(&args, &[]), Err(SettingsError::Usage(_))));
    }
}

#[test]
fn addresses_and_origins() {
    assert_eq!(values::address("localhost:80").unwrap().to_string(), "127.0.0.1:80");
    assert_eq!(values::address("[::1]:80").unwrap().to_string(), "[::1]:80");
    assert_eq!(values::origin("https://[::1]:443").unwrap(), "https://[::1]");
    assert_eq!(values::origin("HTTP://Shop.example:8080").unwrap(), "http://shop.example:8080");
    assert!(values::origin("https://").is_err() && values::origin("https://[x]").is_err());
}
