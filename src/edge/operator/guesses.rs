//! Wrong tokens: each costs its address more time than the one before, and is logged. What keeps a token from being guessed
//! is its length; this keeps guessing from being cheap and unseen. A right token is never slowed, so it is compared first.

use crate::{edge::error::HttpError, metrics};
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// The first wrong token of an address waits for so long …
const WAIT_MIN: Duration = Duration::from_millis(100);
/// … each more twice as long, up to this.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Answers of one address that wait at once: each holds a connection.
const WAITING_MAX: usize = 4;
/// Answers that wait at once in all: an operator needs a connection too.
const ALL_WAITING_MAX: usize = 40;
/// An address that has been quiet for so long begins anew.
const FORGET: Duration = Duration::from_secs(600);
/// Addresses that are remembered; all others are one.
const ADDRESSES_MAX: usize = 4_096;

/// Who has brought wrong tokens.
#[derive(Default)]
pub struct Guesses(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    addresses: HashMap<IpAddr, Address>,
    waiting: usize,
}

struct Address {
    wrong: u64,
    last: Instant,
    waiting: usize,
}

/// Whoever waits gives its slot back when it is done, or goes.
struct Waiting<'a>(&'a Guesses, IpAddr);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.waiting -= 1;
        if let Some(address) = inner.addresses.get_mut(&self.1) {
            address.waiting -= 1;
        }
    }
}

impl Guesses {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wrong token came from there: waits, or refuses at once where enough wait already.
    pub async fn slow_down(&self, from: IpAddr) -> Result<(), HttpError> {
        let (key, wrong, slot) = self.note(block(from), Instant::now());
        metrics::admin_denials();
        // The first of an address, and then ever more rarely.
        if wrong.is_power_of_two() {
            tracing::warn!(%from, wrong, "a wrong admin token");
        }
        let Some(_slot) = slot.then(|| Waiting(self, key)) else {
            let message = "too many wrong tokens from this address; wait, and look the token up";
            return Err(HttpError::too_many(message, Duration::from_secs(2)));
        };
        sleep(wait(wrong)).await;
        Ok(())
    }

    /// Counts, and takes a slot to wait in if there is one.
    fn note(&self, from: IpAddr, now: Instant) -> (IpAddr, u64, bool) {
        let mut inner = self.inner();
        if inner.addresses.len() >= ADDRESSES_MAX {
            inner.addresses.retain(|_, address| address.waiting > 0 || now - address.last < FORGET);
        }
        let is_known = inner.addresses.contains_key(&from) || inner.addresses.len() < ADDRESSES_MAX;
        let key = if is_known { from } else { Ipv6Addr::UNSPECIFIED.into() };
        let has_room = inner.waiting < ALL_WAITING_MAX;
        let address = inner.addresses.entry(key).or_insert(Address { wrong: 0, last: now, waiting: 0 });
        if address.waiting == 0 && now - address.last >= FORGET {
            address.wrong = 0;
        }
        address.wrong += 1;
        address.last = now;
        let slot = has_room && address.waiting < WAITING_MAX;
        let wrong = address.wrong;
        if slot {
            address.waiting += 1;
            inner.waiting += 1;
        }
        (key, wrong, slot)
    }
}

/// How long the so manieth wrong token of an address waits.
fn wait(wrong: u64) -> Duration {
    let doublings = u32::try_from(wrong.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    WAIT_MAX.min(WAIT_MIN * 2u32.pow(doublings))
}

/// An IPv6 address counts by its /64: whoever has one has all of it.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn each_wrong_token_waits_longer_up_to_a_bound() {
        assert_eq!((wait(1), wait(2), wait(4)), (WAIT_MIN, 2 * WAIT_MIN, 8 * WAIT_MIN));
        assert_eq!((wait(9), wait(u64::MAX)), (WAIT_MAX, WAIT_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_is_slowed_and_no_other() {
        let guesses = Guesses::default();
        let took = async |from| {
            let began = tokio::time::Instant::now();
            guesses.slow_down(from).await.unwrap();
            began.elapsed()
        };
        for n in 1..=8 {
            // Timers round up.
            let (took, least) = (took(address(1)).await, wait(n));
            assert!(took >= least && took < least + Duration::from_millis(10), "{n}: {took:?}");
        }
        assert!(took(address(2)).await < 2 * WAIT_MIN);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_answers_wait() {
        let guesses = Guesses::default();
        let of = |last: u8| guesses.slow_down(address(last));
        let refused = |all: Vec<Result<(), HttpError>>| all.iter().filter(|one| one.is_err()).count();
        let one = futures_util::future::join_all((0..10).map(|_| of(1))).await;
        assert_eq!(refused(one), 10 - WAITING_MAX);
        let many = futures_util::future::join_all((0..100).map(of)).await;
        assert_eq!(refused(many), 100 - ALL_WAITING_MAX);
        assert_eq!(guesses.inner().waiting, 0, "all slots came back");
    }

    #[test]
    fn memory_is_bounded_and_a_network_is_one_address() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for n in 0..3 * ADDRESSES_MAX as u32 {
            guesses.note(block(IpAddr::from(n.to_be_bytes())), now);
        }
        assert!(guesses.inner().addresses.len() <= ADDRESSES_MAX + 1);
        assert_eq!(guesses.note(address(200), now).0, Ipv6Addr::UNSPECIFIED);
        guesses.inner().addresses.values_mut().for_each(|address| address.waiting = 0);
        assert_eq!(guesses.note(address(200), now + FORGET).0, address(200), "old ones were forgotten");
        let v6 = |text: &str| block(text.parse().unwrap());
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::2:3"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
        assert_eq!(v6("::ffff:10.0.0.1"), address(1));
    }
}
