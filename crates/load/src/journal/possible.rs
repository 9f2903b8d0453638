//! Numbers that no line has. An entry with one is none, whoever made the file: nothing is calculated with it.

use wire::domain::journal::{Batch, Change, Entry};

/// Seqs, counts and milliseconds stay below it by far, and a sum of two far from overflowing.
pub(super) const NUMBER_MAX: i64 = 1 << 52;

/// Whether a batch can be one of a line.
pub(super) fn batch(batch: &Batch) -> bool {
    [batch.batch, batch.epoch, batch.first, batch.last].iter().all(|number| count(*number))
}

/// Whether an entry can be one of a line.
pub(super) fn entry(entry: &Entry) -> bool {
    let Entry { at, deadline, claim, shifted, drawn, again, lapsed, .. } = entry;
    let one_by_one =
        [&entry.found, &entry.returned, &entry.away, &entry.claimed, &entry.left, &entry.removed];
    let changes = entry.booked.iter().chain(&entry.freed).filter_map(|Change { seq, .. }| *seq);
    let seqs = drawn.iter().flat_map(|(first, last)| [*first, *last]);
    let seqs = seqs.chain(again.iter().flat_map(|(seq, before, _)| [*seq, *before]));
    let seqs = seqs.chain(lapsed.iter().map(|(seq, _)| *seq)).chain(changes);
    let seqs = seqs.chain(entry.admitted.iter().map(|grant| grant.seq));
    let times = [at, deadline, claim, shifted].into_iter().all(|ms| time(*ms));
    let installed = entry.installed.as_ref().is_none_or(|begun| count(begun.seats) && count(begun.held));
    let settings = entry.settings.as_ref().is_none_or(|set| {
        count(set.max_active) && [set.grant_ttl_ms, set.claim_ms, set.away_ms].into_iter().all(time)
    });
    let all = one_by_one.into_iter().flatten().copied().chain(seqs).all(count);
    times && installed && settings && all
}

fn count(number: u64) -> bool {
    number <= NUMBER_MAX.cast_unsigned()
}

fn time(ms: i64) -> bool {
    ms.unsigned_abs() <= NUMBER_MAX.cast_unsigned()
}
