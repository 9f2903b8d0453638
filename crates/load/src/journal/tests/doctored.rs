//! Journals that somebody changed afterwards.

use super::*;
use std::fs;

fn file(recorded: &Recorded) -> String {
    let mut bytes = Vec::new();
    let mut writer = Writer::new(&mut bytes, &header()).unwrap();
    let batches = recorded.batches();
    recorded.sold.iter().for_each(|sold| writer.sold(sold.clone()).unwrap());
    batches.iter().for_each(|(batch, written)| writer.batch(batch.clone(), written).unwrap());
    writer.finish(batches.last().map(|(batch, _)| batch.head(&sale()))).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn read(text: &str, noted: Vec<Noted>) -> Result<Report, JournalError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal.jsonl");
    fs::write(&path, text).unwrap();
    assert!(is_journal(&path));
    let mut reader = Reader::open(&path)?;
    let mut proof = Proof::new(reader.header(), noted);
    while let Some(item) = reader.next_item()? {
        proof.take(item);
    }
    Ok(proof.finish())
}

/// Is refused for its chain.
fn assert_refused(lines: &[String], how: &str) {
    let report = read(&(lines.join("\n") + "\n"), Vec::new()).unwrap();
    assert!(violated(&report).contains(&Rule::Chain), "{how}: {report}");
}

fn lines(recorded: &Recorded) -> (Vec<String>, Vec<usize>) {
    let lines: Vec<String> = file(recorded).lines().map(str::to_owned).collect();
    let entries = (0..lines.len()).filter(|at| lines[*at].starts_with("{\"n\":")).collect();
    (lines, entries)
}

#[test]
fn a_file_is_read_as_it_was_written_and_names_nobody() {
    let recorded = Recorded::healthy();
    let text = file(&recorded);
    assert!(!text.contains("visitor"), "{text}");
    let report = read(&text, Vec::new()).unwrap();
    assert_eq!((report.status, &report.numbers), (Status::Proved, &recorded.report().numbers));
}

#[test]
fn an_entry_that_was_moved_dropped_added_or_changed() {
    let (whole, entries) = lines(&Recorded::healthy());
    for pair in entries.windows(2) {
        let mut moved = whole.clone();
        moved.swap(pair[0], pair[1]);
        assert_refused(&moved, "moved");
    }
    for at in &entries {
        let mut dropped = whole.clone();
        dropped.remove(*at);
        assert_refused(&dropped, "dropped");
        let mut added = whole.clone();
        added.insert(*at, whole[*at].clone());
        assert_refused(&added, "added");
        let mut changed = whole.clone();
        changed[*at] =
            changed[*at].replacen("\"at\\\":1", "\"at\\\":2", 1).replacen("\\\"at\\\":1", "\\\"at\\\":2", 1);
        assert_ne!(changed, whole);
        assert_refused(&changed, "changed");
    }
    let with_places = entries.iter().find(|at| whole[**at].contains("places")).unwrap();
    let mut exchanged = whole.clone();
    exchanged[*with_places] =
        exchanged[*with_places].replacen("\"places\":\"", "\"places\":\"AAAA", 1).replacen("==", "", 1);
    let answer = read(&(exchanged.join("\n") + "\n"), Vec::new());
    assert!(answer.is_err() || violated(&answer.unwrap()).contains(&Rule::Chain), "a commitment");
}

#[test]
fn batches_that_were_moved_or_dropped() {
    let batches = |doctor: fn(&mut Vec<Item>)| {
        let mut items = Recorded::healthy().items();
        doctor(&mut items);
        violated(&report(items, Vec::new()))
    };
    assert!(batches(|items| items.swap(6, 7)).contains(&Rule::Chain));
    assert!(batches(|items| drop(items.remove(6))).contains(&Rule::Chain));
    let last = |items: &mut Vec<Item>| drop(items.remove(items.len() - 2));
    assert!(batches(last).contains(&Rule::Chain), "the head is still the old one");
}

/// Whoever writes the whole journal anew makes one that is sound in itself: what refuses it is a head that was noted before,
/// or a receipt.
#[test]
fn a_journal_written_anew_is_refused_by_a_noted_head_alone() {
    let recorded = Recorded::healthy();
    let mut forged = recorded.clone();
    forged.change(r#""left":[8]"#, r#""left":[9]"#);
    let noted = |recorded: &Recorded, batch: usize| {
        let hash = recorded.batches()[batch].0.hash(&sale());
        vec![Noted { hash, batch: None }]
    };
    assert_eq!(forged.violated(), []);
    let last = recorded.batches().len() - 1;
    assert_eq!(violated(&report(forged.items(), noted(&recorded, last))), [Rule::Chain]);
    assert_eq!(
        violated(&report(forged.items(), noted(&recorded, 0))),
        [],
        "before the change they are the same"
    );
    for batch in 0..=last {
        let report = report(recorded.items(), noted(&recorded, batch));
        assert_eq!((report.status, report.noted), (Status::Proved, 1));
    }
}

#[test]
fn a_file_that_is_cut_or_garbled_says_what_to_do() {
    let text = file(&Recorded::healthy());
    for cut in [text.len() - 1, text.len() - 20, text.find("{\"head\"").unwrap(), text.len() / 2] {
        let error = read(&text[..cut], Vec::new()).unwrap_err();
        assert!(matches!(error, JournalError::Cut(..)), "{cut}: {error}");
        assert!(error.to_string().contains("waitroom journal export"), "{error}");
    }
    for (from, to, says) in [
        ("{\"batch\":", "{\"bitch\":", "unknown variant"),
        ("{\"journal\":1", "{\"journal\":2", "format 2"),
        ("\"places\":\"", "\"places\":\"§", "line"),
    ] {
        let error = read(&text.replacen(from, to, 1), Vec::new()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    let error = read(&(text.clone() + "{}\n"), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("follows the head"), "{error}");
}
