//! How many connections each network has (one without any takes no memory), and which have drawn all the places that they may.

use super::caller::Network;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use wire::domain::ids::SaleId;

/// Full networks that are remembered; beyond, the line is asked again.
const FULL_MAX: usize = 10_000;

/// Counts by network.
#[derive(Clone, Default)]
pub struct Networks(Arc<Mutex<HashMap<Network, u32>>>);

/// One of a network's connections, for as long as it lives; nothing where they are not counted.
pub struct Seat(Option<(Networks, Network)>);

impl Networks {
    /// One more of `network`, unless it has `max`; 0: as many as it likes.
    pub fn take(&self, network: Network, max: u32) -> Option<Seat> {
        if max == 0 {
            return Some(Seat(None));
        }
        let mut counts = self.lock();
        let count = counts.entry(network).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Seat(Some((self.clone(), network))))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Network, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((networks, network)) = self.0.take() else { return };
        if let Entry::Occupied(mut count) = networks.lock().entry(network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Networks of which the line has said that they have drawn all that they may, and until when. It only saves asking: the line counts.
#[derive(Default)]
pub struct FullNetworks(Mutex<HashMap<(SaleId, u64), Instant>>);

impl FullNetworks {
    /// The line has said so.
    pub fn remember(&self, sale: &SaleId, network: u64, until: Instant) {
        let mut full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if full.len() >= FULL_MAX {
            full.clear();
        }
        full.insert((sale.clone(), network), until);
    }

    /// For how long yet it is full, if it is.
    pub fn until(&self, sale: &SaleId, network: u64, now: Instant) -> Option<Duration> {
        let full = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = full.get(&(sale.clone(), network))?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_so_many_and_leaves_nothing_behind() {
        let networks = Networks::default();
        let (one, other) = (Network::of([192, 0, 2, 1].into()), Network::of([192, 0, 2, 2].into()));
        let seats: Vec<_> = (0..2).filter_map(|_| networks.take(one, 2)).collect();
        assert_eq!(seats.len(), 2);
        assert!(networks.take(one, 2).is_none() && networks.take(other, 2).is_some());
        drop(seats);
        assert!(networks.take(one, 2).is_some());
        assert!((0..100).all(|_| networks.take(one, 0).is_some()));
        assert!(networks.lock().is_empty());
    }

    #[test]
    fn a_full_network_is_remembered_for_its_sale_and_its_time() {
        let (full, now) = (FullNetworks::default(), Instant::now());
        let (sale, other) = (SaleId::parse("a").unwrap(), SaleId::parse("b").unwrap());
        let minute = Duration::from_secs(60);
        full.remember(&sale, 7, now + minute);
        assert_eq!(full.until(&sale, 7, now), Some(minute));
        assert_eq!(full.until(&sale, 7, now + minute), None);
        assert!(full.until(&other, 7, now).is_none() && full.until(&sale, 8, now).is_none());
        full.remember(&sale, 9, now + minute);
        full.remember(&other, 7, now + minute);
        assert_eq!(
            [(&sale, 7), (&sale, 9), (&other, 7)].map(|(of, n)| full.until(of, n, now)),
            [Some(minute); 3]
        );
        for network in 0..3 * FULL_MAX as u64 {
            full.remember(&sale, network, now + minute);
        }
        assert!(full.0.lock().unwrap().len() <= FULL_MAX);
    }
}
