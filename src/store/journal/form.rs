//! From an entry of the stream to one of the journal: names become numbers, and who drew a place a commitment.

use crate::store::line::stream::{BookingChange, Changes, Named};
use wire::domain::{
    ids::{Seq, VisitorId},
    journal::{self, Hash, Salt, commitment},
};

/// Who drew a place, and the salt of his commitment.
pub(super) struct Drawn {
    pub seq: Seq,
    pub visitor: VisitorId,
    pub salt: Salt,
    pub commitment: Hash,
}

/// The journal's entry, and who drew the places in it. `salts` are what nobody can guess.
pub(super) fn of(
    changes: &Changes,
    named: &Named,
    salts: &mut impl Iterator<Item = Salt>,
) -> (journal::Entry, Vec<Drawn>) {
    let drawn = named.drawn.iter().map(|(visitor, seq, ..)| (visitor, *seq));
    let found = named.found.iter().map(|(visitor, seq)| (visitor, *seq));
    let places = drawn.chain(found).zip(salts).map(|((visitor, seq), salt)| Drawn {
        seq,
        visitor: visitor.clone(),
        salt,
        commitment: commitment(&salt, seq, visitor.as_str()),
    });
    (entry(changes, named), places.collect())
}

fn entry(changes: &Changes, named: &Named) -> journal::Entry {
    let seqs = |list: &[(VisitorId, Seq)]| list.iter().map(|(_, seq)| *seq).collect();
    let again = named.drawn.iter().filter(|(_, _, owned, before)| (*owned, *before) != (0, 0));
    journal::Entry {
        at: changes.at,
        installed: changes.installed.clone(),
        drawn: ranges(named.drawn.iter().map(|(_, seq, ..)| *seq)),
        again: again.map(|(_, seq, owned, before)| (*seq, *before, *owned)).collect(),
        found: seqs(&named.found),
        returned: seqs(&changes.returned),
        away: seqs(&changes.away),
        admitted: changes
            .admitted
            .iter()
            .map(|a| journal::Admitted { seq: a.1, turn: a.2, returned: a.4 == 1 })
            .collect(),
        deadline: changes.deadline,
        claim: changes.claim,
        claimed: seqs(&changes.claimed),
        lapsed: changes.lapsed.iter().map(|(_, seq, reason)| (*seq, *reason)).collect(),
        left: seqs(&changes.left),
        removed: changes.removed.iter().map(|(_, seq)| *seq).filter(|seq| *seq > 0).collect(),
        booked: changes.booked.iter().map(change).collect(),
        freed: changes.freed.iter().map(change).collect(),
        phase: changes.phase,
        settings: changes.in_force.clone(),
        shifted: changes.shifted.unwrap_or(0),
    }
}

fn change(change: &BookingChange) -> journal::Change {
    journal::Change {
        seq: change.seq,
        booking: change.booking,
        status: change.status,
        seats: change.seats.clone(),
    }
}

/// Numbers that rise by one, as pairs of the first and the last.
fn ranges(seqs: impl Iterator<Item = Seq>) -> Vec<(Seq, Seq)> {
    let mut ranges: Vec<(Seq, Seq)> = Vec::new();
    for seq in seqs {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == seq => *last = seq,
            _ => ranges.push((seq, seq)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::domain::journal::SALT_BYTES;

    #[test]
    fn nobody_is_named_and_each_place_has_its_commitment() {
        let json = r#"{"at":7,"joined":[1,3],"drawn":[["kim",1,0,0],["lee",2,2,9],["park",4,0,0]],"found":[["choi",8]],
            "admitted":[["kim",1,0,0,1]],"deadline":5,"claim":4,"away":[["lee",2]],
            "booked":[{"visitor":"kim","seq":1,"status":"held","seats":[3]}],"by":"us"}"#;
        let (changes, named) = (serde_json::from_str(json).unwrap(), serde_json::from_str(json).unwrap());
        let (entry, places) = of(&changes, &named, &mut (0..).map(|i| [i; SALT_BYTES]));
        let text = serde_json::to_string(&entry).unwrap();
        for name in ["kim", "lee", "park", "choi", "us"] {
            assert!(!text.contains(&format!("\"{name}\"")), "{text}");
        }
        assert_eq!((entry.drawn.clone(), entry.again.clone()), (vec![(1, 2), (4, 4)], vec![(2, 9, 2)]));
        assert!(entry.places().eq(places.iter().map(|place| place.seq)));
        assert_eq!(
            places.iter().map(|p| p.visitor.as_str()).collect::<Vec<_>>(),
            ["kim", "lee", "park", "choi"]
        );
        assert_ne!(places[0].salt, places[1].salt);
        assert_eq!(serde_json::from_str::<journal::Entry>(&text).unwrap(), entry);
    }
}
