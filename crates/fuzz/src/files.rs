//! Files that people hand in: plans, scenarios and traces, histories, journals and receipts.

use super::text;
use load::{
    Scenario, arrivals,
    checker::{FinalState, Log, check},
    history, journal,
    summary::summarise,
};
use std::{fs, path::Path, time::Duration};
use wire::domain::{coordinates, journal::Receipt, plan::Plan};

/// A plan that is taken hangs together.
pub fn plan(bytes: &[u8]) {
    let _ = coordinates::check(bytes);
    let Ok(plan) = Plan::parse(bytes) else { return };
    for (i, seat) in plan.seats.iter().enumerate() {
        assert_eq!(plan.index_of(&seat.id), Some(i as u32));
        let stretch = &plan.stretches[plan.stretch_of(i as u32)];
        assert!((stretch.first..stretch.end).contains(&(i as u32)));
        assert!(usize::from(seat.category) < plan.categories.len());
    }
    let ends = plan.stretches.last().map_or(0, |stretch| stretch.end as usize);
    assert_eq!(ends, plan.seats.len());
    assert!(plan.zones.iter().all(|zone| !zone.is_empty()) && plan.rows.iter().all(|row| !row.is_empty()));
}

/// A scenario that is taken can be played.
pub fn scenario(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    // A trace would be any file of this machine.
    if text.contains("file") {
        return;
    }
    if let Ok(mut scenario) = Scenario::parse("x", text, Path::new("/nowhere")) {
        play(&scenario.arrivals);
        let _ = arrivals::end(&scenario.arrivals) + scenario.timeout;
        scenario.stretch(2.0);
    }
}

/// A recorded crowd comes within the time that it was given.
pub fn trace(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(waves) = arrivals::trace(text, Duration::from_secs(60)) {
        play(&waves);
        assert!(arrivals::end(&waves) <= Duration::from_secs(60));
    }
}

fn play(waves: &[arrivals::Wave]) {
    let end = arrivals::end(waves);
    let drawn = arrivals::draw(20, waves, 7);
    assert!(drawn.len() == 20 && drawn.is_sorted() && drawn.iter().all(|at| *at <= end), "{drawn:?} {end:?}");
}

/// A history is read or refused, judged and summed up.
pub fn history(bytes: &[u8]) {
    with_file(bytes, |path| {
        let mut log = Log::default();
        if let Ok(part) = history::read(path, |line, entry| log.take(line, entry)) {
            log.part_done(part);
            check(&mut log, &FinalState::default());
        }
        let _ = summarise(&[path.into()]);
    });
}

/// A journal is read or refused, and judged.
pub fn journal(bytes: &[u8]) {
    with_file(bytes, |path| {
        let Ok(mut reader) = journal::Reader::open(path) else { return };
        let mut proof = journal::Proof::new(reader.header(), Vec::new());
        while let Ok(Some(item)) = reader.next_item() {
            proof.take(item);
        }
        proof.finish();
    });
}

/// A receipt holds together or not; and held against a journal of nothing it proves nothing.
pub fn receipt(bytes: &[u8]) {
    let Ok(receipt) = serde_json::from_slice::<Receipt>(bytes) else { return };
    let _ = receipt.commitment();
    if receipt.verify().is_ok() {
        assert!(receipt.leaf < receipt.batch.leaves);
    }
    let held = journal::hold(&receipt, &receipt.sale, || Ok::<_, String>(None));
    assert!(held.is_err());
}

/// A file with these bytes, for as long as it is asked for; each process has one.
pub fn with_file(bytes: &[u8], ask: impl FnOnce(&Path)) {
    let thread = std::thread::current().id();
    let path = std::env::temp_dir().join(format!("waitroom-fuzz-{}-{thread:?}", std::process::id()));
    fs::write(&path, bytes).unwrap();
    ask(&path);
    let _ = fs::remove_file(&path);
}
