//! Every parser with its seeds, and with what they become when they are damaged. Each seed that begins with `found-` broke
//! something once.
#![allow(clippy::unwrap_used, reason = "a test's helper may fail its test")]

use fuzz::{TARGETS, Target};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use std::{
    collections::BTreeSet,
    fs,
    panic::catch_unwind,
    path::Path,
    time::{Duration, Instant},
};

/// How long each parser is tried.
const EACH: Duration = Duration::from_secs(1);
/// What parsers stumble over.
const WORDS: [&[u8]; 22] = [
    b"18446744073709551615",
    b"18446744073709551616",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"-1",
    b"0",
    b"1e308",
    b"-1e308",
    b"1e-400",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b"\"\"",
    b"\\u0000",
    b"\xff\xfe",
    b"\n",
    b"\r\n",
    "\u{202e}\u{1f600}".as_bytes(),
    b"\0",
    b"4294967296",
    b"[[[[[[[[[[[[[[[[",
];

/// One damage.
#[derive(Clone, Debug)]
enum Damage {
    Flip(Index, u8),
    Cut(Index, Index),
    Word(Index, Index, bool),
    Double(Index, Index),
    Other(Index, Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<(Index, u8)>().prop_map(|(at, bits)| Damage::Flip(at, bits)),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Cut(from, to)),
        any::<(Index, Index, bool)>().prop_map(|(at, word, over)| Damage::Word(at, word, over)),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Double(from, to)),
        any::<(Index, Index, Index)>().prop_map(|(at, seed, from)| Damage::Other(at, seed, from)),
    ]
}

impl Damage {
    fn to(&self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let place = |at: &Index| at.index(bytes.len() + 1);
        let range = |a: &Index, b: &Index| place(a).min(place(b))..place(a).max(place(b));
        match self {
            Self::Flip(at, bits) => {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] ^= bits;
                }
            }
            Self::Cut(from, to) => drop(bytes.drain(range(from, to))),
            Self::Word(at, word, over) => {
                let (at, word) = (place(at), word.get(&WORDS));
                // In place of a number, or in between.
                let number = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                bytes.splice(at..at + if *over { number } else { 0 }, word.iter().copied());
            }
            Self::Double(from, to) => {
                let (range, part) = (range(from, to), bytes[range(from, to)].to_vec());
                bytes.splice(range.end..range.end, part);
            }
            Self::Other(at, seed, from) => {
                let other = seed.get(seeds);
                let at = place(at);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
            }
        }
    }
}

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target.name);
    let mut paths: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn holds(target: &Target) {
    let seeds = seeds(target);
    for seed in &seeds {
        (target.holds)(seed);
    }
    let began = Instant::now();
    let damaged = (any::<Index>(), vec(damage(), 1..6));
    let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
    while began.elapsed() < EACH {
        let one = |(seed, damages): (Index, Vec<Damage>)| {
            let mut bytes = seed.get(&seeds).clone();
            damages.iter().for_each(|damage| damage.to(&mut bytes, &seeds));
            let outcome = catch_unwind(|| (target.holds)(&bytes));
            prop_assert!(outcome.is_ok(), "{}: {:?}", target.name, String::from_utf8_lossy(&bytes));
            Ok(())
        };
        runner.run(&damaged, one).unwrap();
    }
}

#[test]
fn every_parser_holds() {
    std::thread::scope(|scope| {
        let all = TARGETS.map(|target| (target.name, scope.spawn(move || holds(&target))));
        let broken: Vec<_> =
            all.into_iter().filter_map(|(name, run)| run.join().err().map(|_| name)).collect();
        assert!(broken.is_empty(), "{broken:?}");
    });
}

#[test]
fn every_parser_has_seeds_and_no_seed_is_forgotten() {
    let named: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let there: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(named, there);
}

/// A parser that goes wrong is found: one that trusts a length.
#[test]
fn a_parser_that_goes_wrong_is_seen() {
    let careless = |bytes: &[u8]| {
        let Some(text) = std::str::from_utf8(bytes).ok() else { return };
        if let Ok(number) = text.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u64>() {
            let _ = number + 1;
        }
    };
    let target = Target { name: "proof", holds: careless };
    assert!(catch_unwind(|| holds(&target)).is_err());
}
