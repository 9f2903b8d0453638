//! Who came first was served first.

use super::Findings;
use crate::facts::{Micros, PlaceFacts, VisitorFacts};

/// How much later than a later place's grant an earlier one's may reach its visitor, in microseconds. The
/// contract gives a grant 250 ms (p99) to its socket, and the two messages may come over different
/// instances; a second apart is no longer the wire. The generator's own measured lag is added.
pub const GRANT_ORDER_TOLERANCE_US: Micros = 1_000_000;

/// One place and whose it is.
type Entry<'a> = (usize, &'a PlaceFacts);

fn places_of(visitors: &[VisitorFacts]) -> Vec<Entry<'_>> {
    visitors.iter().enumerate().flat_map(|(n, v)| v.places.iter().map(move |p| (n, p))).collect()
}

/// If A's `joined` came before B's `join` was sent, then A's seq is smaller; and no seq is given twice.
/// Both moments are on one clock, so there is no tolerance. One sweep over the joins in the order in which
/// they were sent, keeping the highest seq acknowledged before.
pub fn places(visitors: &[VisitorFacts], findings: &mut Findings) {
    let mut by_sent = places_of(visitors);
    let mut by_joined = by_sent.clone();
    by_sent.sort_unstable_by_key(|(_, place)| place.join_sent);
    by_joined.sort_unstable_by_key(|(_, place)| place.joined);
    let mut acknowledged = by_joined.iter().copied().peekable();
    let mut highest: Option<Entry> = None;
    for (n, place) in by_sent {
        while let Some(earlier) = acknowledged.next_if(|(_, earlier)| earlier.joined < place.join_sent) {
            if highest.is_none_or(|(_, high)| high.seq < earlier.1.seq) {
                highest = Some(earlier);
            }
        }
        if let Some((m, high)) = highest.filter(|(_, high)| high.seq > place.seq) {
            findings.add("place_order", || {
                let before_us = place.join_sent - high.joined;
                format!(
                    "visitor {n} joined {before_us} µs after visitor {m} had place {}, and was given the earlier place {}",
                    high.seq, place.seq
                )
            });
        }
    }
    same_twice(&mut by_joined, findings);
}

fn same_twice(places: &mut [Entry], findings: &mut Findings) {
    places.sort_unstable_by_key(|(_, place)| place.seq);
    for pair in places.windows(2) {
        let ((a, first), (b, second)) = (pair[0], pair[1]);
        if first.seq == second.seq {
            findings
                .add("place_twice", || format!("visitors {a} and {b} were both given place {}", first.seq));
        }
    }
}

/// Nobody was granted before an earlier place whose visitor was connected and waiting all the while. Looked
/// at are the first grants of places only (who missed his turn is served ahead of the line) that reached a
/// visitor who waited for them; of a visitor who came back, only the wait on his last connection.
///
/// The places are taken in the order of their seq. Each leaves behind the span during which it waited,
/// shortened at both ends by the tolerance; a grant that falls into a span left by an earlier place came too
/// soon. Spans are counted in a Fenwick tree over the times of all grants: O(n log n).
pub fn grants(visitors: &[VisitorFacts], lag_us: Micros, findings: &mut Findings) {
    let tolerance = GRANT_ORDER_TOLERANCE_US.saturating_add(lag_us);
    let mut places = places_of(visitors);
    places.sort_unstable_by_key(|(_, place)| place.seq);
    let mut times: Vec<Micros> = places.iter().filter_map(|(_, place)| place.granted).collect();
    times.sort_unstable();
    let mut waiting = Spans::new(times.len());
    for (i, (n, place)) in places.iter().enumerate() {
        if let Some(granted) = place.granted {
            let slot = times.partition_point(|time| *time < granted);
            if waiting.over(slot) > 0 {
                findings.add("grant_order", || too_soon(&places[..i], *n, place, granted, tolerance));
            }
        }
        if let Some((from, until)) = span(place, tolerance) {
            let from = times.partition_point(|time| *time <= from);
            let until = times.partition_point(|time| *time < until);
            waiting.add(from, until);
        }
    }
}

/// When the place surely waited with its visitor connected; none if not for long enough to tell.
fn span(place: &PlaceFacts, tolerance: Micros) -> Option<(Micros, Micros)> {
    let from = place.waiting_from.saturating_add(tolerance);
    let until = place.granted.unwrap_or(place.heard).saturating_sub(tolerance);
    (from < until).then_some((from, until))
}

fn too_soon(earlier: &[Entry], n: usize, place: &PlaceFacts, granted: Micros, tolerance: Micros) -> String {
    let waited =
        |p: &PlaceFacts| span(p, tolerance).is_some_and(|(from, until)| from < granted && granted < until);
    let (m, passed_over) = earlier.iter().find(|(_, p)| waited(p)).map_or((n, place), |(m, p)| (*m, *p));
    let then = match passed_over.granted {
        Some(time) => format!("was granted {} ms later", (time - granted) / 1000),
        None => format!("still waited {} ms later", (passed_over.heard - granted) / 1000),
    };
    format!(
        "visitor {n} at place {} was granted while visitor {m} at place {} waited, connected, and {then}",
        place.seq, passed_over.seq
    )
}

/// How many of the spans added so far lie over a slot: a Fenwick tree of differences.
struct Spans(Vec<i64>);

impl Spans {
    fn new(slots: usize) -> Self {
        Self(vec![0; slots + 2])
    }

    /// Adds a span over the slots from `from` to before `until`.
    fn add(&mut self, from: usize, until: usize) {
        if from < until {
            self.change(from, 1);
            self.change(until, -1);
        }
    }

    fn change(&mut self, slot: usize, by: i64) {
        let mut i = slot + 1;
        while i < self.0.len() {
            self.0[i] += by;
            i += i & i.wrapping_neg();
        }
    }

    fn over(&self, slot: usize) -> i64 {
        let (mut i, mut sum) = (slot + 1, 0);
        while i > 0 {
            sum += self.0[i];
            i -= i & i.wrapping_neg();
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn place(seq: u64, join_sent: Micros, joined: Micros) -> PlaceFacts {
        let (waiting_from, heard) = (joined, joined);
        PlaceFacts {
            seq,
            join_sent,
            joined,
            waiting_from,
            heard,
            granted: None,
            granted_unseen: false,
            ended: false,
        }
    }

    fn granted(seq: u64, joined: Micros, granted: Micros) -> PlaceFacts {
        PlaceFacts { granted: Some(granted), heard: granted, ..place(seq, joined, joined) }
    }

    fn visitors(places: impl IntoIterator<Item = PlaceFacts>) -> Vec<VisitorFacts> {
        places.into_iter().map(|p| VisitorFacts { places: vec![p], ..Default::default() }).collect()
    }

    fn checked(places: impl IntoIterator<Item = PlaceFacts>) -> Findings {
        let mut findings = Findings::default();
        let visitors = visitors(places);
        super::places(&visitors, &mut findings);
        grants(&visitors, 0, &mut findings);
        findings
    }

    #[test]
    fn joins_that_overlap_may_come_in_any_order() {
        assert!(checked([place(2, 0, 10), place(1, 10, 20), place(3, 11, 12)]).is_empty());
    }

    #[test]
    fn a_place_out_of_order_is_found() {
        let findings = checked([place(5, 0, 10), place(6, 20, 30), place(4, 11, 40)]);
        assert_eq!(findings.kinds(), ["place_order"]);
        let text = &findings.0["place_order"].examples[0];
        assert!(text.contains("visitor 2") && text.contains("visitor 0"), "{text}");
    }

    #[test]
    fn a_place_given_twice_is_found() {
        assert_eq!(checked([place(5, 0, 10), place(5, 0, 10)]).kinds(), ["place_twice"]);
    }

    const S: Micros = 1_000_000;

    #[test]
    fn grants_a_little_out_of_order_are_the_wire() {
        assert!(checked([granted(1, 0, 11 * S), granted(2, 0, 10 * S)]).is_empty());
    }

    #[test]
    fn a_grant_out_of_order_is_found() {
        let findings = checked([granted(1, 0, 12 * S), granted(2, 0, 10 * S)]);
        assert_eq!(findings.kinds(), ["grant_order"]);
        assert!(findings.0["grant_order"].examples[0].contains("granted 2000 ms later"));
    }

    #[test]
    fn someone_never_granted_while_later_ones_were_is_found() {
        let forgotten = PlaceFacts { heard: 30 * S, ..place(1, 0, 1) };
        assert_eq!(checked([forgotten, granted(2, 0, 10 * S)]).kinds(), ["grant_order"]);
        let gone = PlaceFacts { heard: 9 * S, ..place(1, 0, 1) };
        assert!(checked([gone, granted(2, 0, 10 * S)]).is_empty());
        let back_too_late = PlaceFacts { waiting_from: 9 * S + 1, heard: 30 * S, ..place(1, 0, 1) };
        assert!(checked([back_too_late, granted(2, 0, 10 * S)]).is_empty());
    }

    #[test]
    fn the_generator_s_own_lag_is_allowed_for() {
        let mut findings = Findings::default();
        grants(&visitors([granted(1, 0, 12 * S), granted(2, 0, 10 * S)]), 2 * S, &mut findings);
        assert!(findings.is_empty());
    }

    /// The tree against the obvious double loop.
    #[test]
    fn the_sweep_finds_what_a_double_loop_finds() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let places: Vec<_> = (0..30)
                .map(|seq| {
                    let joined = u64::from(random.count((0, 5))) * S;
                    let until = joined + u64::from(random.count((0, 12))) * S / 2;
                    if random.chance(0.7) {
                        granted(seq, joined, until)
                    } else {
                        PlaceFacts { heard: until, ..place(seq, joined, joined) }
                    }
                })
                .collect();
            let too_soon = |b: &&PlaceFacts| {
                let passed =
                    |a: &PlaceFacts, g| span(a, S).is_some_and(|(from, until)| from < g && g < until);
                b.granted.is_some_and(|g| places.iter().any(|a| a.seq < b.seq && passed(a, g)))
            };
            let mut findings = Findings::default();
            grants(&visitors(places.clone()), 0, &mut findings);
            let found = findings.0.get("grant_order").map_or(0, |f| f.count);
            assert_eq!(found, places.iter().filter(too_soon).count() as u64, "seed {seed}");
        }
    }
}
