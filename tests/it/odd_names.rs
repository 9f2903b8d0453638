//! What visitors are called means nothing to the line's scripts: whatever happens to people of plain names happens to people of
//! the oddest in the same way. Names reach Lua, Redis' keys and fields, the stream's JSON and the journal.

use crate::line::{Bench, RULES, visitor};
use wire::domain::{
    ids::GrantKey,
    line::{Join, JoinMode, Poll, Stranger},
};

const PEOPLE: usize = 40;
const STEPS: usize = 300;

/// Names that parsers of numbers, lists, JSON, patterns, keys and code stumble over.
fn odd() -> Vec<String> {
    let mut names: Vec<String> = [
        "0",
        "-1",
        "1e309",
        "nan",
        "-inf",
        "0x10",
        "9007199254740993",
        "18446744073709551616",
        "nil",
        "null",
        "true",
        "false",
        " ",
        "a b",
        "a,b",
        "a:b",
        "a:1:x",
        ":",
        "::",
        "-",
        "{",
        "}",
        "{x}",
        "[]",
        "{}",
        "\"",
        "'",
        "\\",
        "\\u0000",
        "\\n",
        "%s%d%%",
        "%",
        "*",
        "$1",
        "KEYS[1]",
        "'); return redis.call('FLUSHALL') --",
        "]] .. [[",
        "anon:",
        "forgotten",
        "\u{202e}\u{1f600}\u{fffd}",
    ]
    .map(str::to_owned)
    .into();
    names[39] = "\u{10ffff}".repeat(64);
    names
}

fn plain() -> Vec<String> {
    (0..PEOPLE).map(|i| format!("v{i}")).collect()
}

/// The same numbers for everyone.
fn dice(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 32) % below
    }
}

/// What happens in a line to people of these names.
async fn lived(names: &[String], seed: u64) -> Vec<String> {
    let bench = Bench::new(RULES).await;
    let (line, mut dice) = (&bench.line, dice(seed));
    let mut told = Vec::new();
    let seqs = [0, 1, 7, 1 << 53, u64::MAX];
    for step in 0..STEPS {
        let who = visitor(&names[dice(PEOPLE as u64) as usize]);
        let (kind, seq, turn) = (dice(14), seqs[dice(5) as usize], dice(256) as u8);
        told.push(match kind {
            0..6 => {
                let mode =
                    [JoinMode::Join, JoinMode::Again { owned: 3 }, JoinMode::Recheck][dice(3) as usize];
                let stranger = (kind == 5).then_some(Stranger { network: seq, places_max: 3 });
                let connection = (kind % 2 == 0).then_some(seq);
                let join =
                    Join { visitor: who, connection, poll_ms: 60_000, mode, token_seq: None, stranger };
                let joined = line.join(&[join.clone(), join]).await.unwrap();
                format!(
                    "{:?} {:?}",
                    joined.total,
                    joined
                        .standings
                        .iter()
                        .map(|s| s.place().map(|p| (p.seq, p.stage, p.rank)))
                        .collect::<Vec<_>>()
                )
            }
            6 => {
                let polled = line.poll(&[Poll { visitor: who, poll_ms: 1 }]).await.unwrap();
                format!("{:?}", polled.standings[0].place().map(|p| (p.seq, p.stage, p.rank)))
            }
            7 => format!("{:?}", line.leave(std::slice::from_ref(&who)).await.unwrap()),
            8 => format!("{:?}", line.claim(std::slice::from_ref(&who)).await.unwrap()),
            9 => format!("{:?}", line.gone(&[(who, seq)]).await.unwrap()),
            10 => {
                let fenced = line.fence(60_000, &[(who, GrantKey { seq, turn }, seq)]).await.unwrap();
                format!("{}", fenced.len())
            }
            11 if step % 9 == 0 => {
                let removed = line.remove(&who, (turn > 200).then_some(&[seq][..])).await.unwrap();
                format!("{removed:?}")
            }
            12 if step % 5 == 0 => format!("{}", bench.tick().await.admitted),
            _ => String::new(),
        });
    }
    told.push(format!("{:?}", line.seqs(None).await.unwrap()));
    told.push(format!("{:?}", bench.admitted().await.iter().map(|(_, seq)| *seq).collect::<Vec<_>>()));
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_means_nothing_to_the_line() {
    for seed in [1, 2] {
        let (plain, odd) = (plain(), odd());
        let (plain, odd) = tokio::join!(lived(&plain, seed), lived(&odd, seed));
        for (step, (plain, odd)) in plain.iter().zip(&odd).enumerate() {
            assert_eq!(plain, odd, "seed {seed}, step {step}");
        }
        assert!(
            plain.iter().any(|told| told.contains("Granted")) && plain.iter().any(|told| told == "[true]"),
            "{plain:?}"
        );
    }
}
