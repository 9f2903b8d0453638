//! The grants that this instance knows to be good for a booking still. Whoever holds one of them and clicks on a seat that
//! is gone is refused at once; for anyone else Redis and PostgreSQL must be asked first, since his grant may have booked.

use dashmap::DashSet;
use wire::domain::ids::{GrantKey, Seq};

/// A grant comes in when it was fenced here and PostgreSQL had no booking of it. It goes out before it is committed
/// here, and with the entry of the stream that ends it or books it elsewhere: another instance would need the fence for
/// that. So what is in here is as true as the seat map as far as that follows the stream; what the map learns in another
/// way, this forgets.
#[derive(Default)]
pub struct Unspent(DashSet<GrantKey>);

impl Unspent {
    /// Whether the grant is known to be unspent.
    pub fn contains(&self, grant: GrantKey) -> bool {
        self.0.contains(&grant)
    }

    /// The grant lives and has not booked.
    pub fn insert(&self, grant: GrantKey) {
        self.0.insert(grant);
    }

    /// The grant is about to be committed.
    pub fn remove(&self, grant: GrantKey) {
        self.0.remove(&grant);
    }

    /// The place's grants have ended.
    pub fn end(&self, seq: Seq) {
        // A place has two turns at most.
        (0..=1).for_each(|turn| self.remove(GrantKey { seq, turn }));
    }

    /// Nothing is known any more: the stream had a gap, or seats are taken and it has not said by whom.
    pub fn forget(&self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_ends_with_both_its_turns_and_with_no_other_place() {
        let unspent = Unspent::default();
        let [first, second, other] = [(1, 0), (1, 1), (2, 0)].map(|(seq, turn)| GrantKey { seq, turn });
        for grant in [first, second, other] {
            unspent.insert(grant);
        }
        unspent.remove(first);
        assert!(!unspent.contains(first) && unspent.contains(second));
        unspent.insert(first);
        unspent.end(1);
        assert!(!unspent.contains(first) && !unspent.contains(second) && unspent.contains(other));
        unspent.forget();
        assert!(!unspent.contains(other));
    }
}
