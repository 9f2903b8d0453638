//! What has happened, and must be heard of until it is: PostgreSQL has committed a booking, and the line must know;
//! sockets have closed. Told again and again while the other side is away, and a server that leaves waits for it.

use crate::store::errors::StoreError;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{task::JoinHandle, time::sleep};
use wire::domain::ids::SaleId;

/// Pause between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Tries, five minutes' worth; what was not heard by then of a booking is put right by the comparison with PostgreSQL.
const TRIES: u32 = 300;

/// The outbox of one sale; cheap to clone.
#[derive(Clone)]
pub(super) struct Outbox(Arc<Inner>);

struct Inner {
    sale: SaleId,
    /// Counted: see [`Outbox::under_way`].
    open: Arc<()>,
}

impl Outbox {
    pub fn new(sale: SaleId) -> Self {
        Self(Arc::new(Inner { sale, open: Arc::new(()) }))
    }

    /// Held by whoever must not be cut off when the server leaves.
    pub fn busy(&self) -> Arc<()> {
        self.0.open.clone()
    }

    /// How many hold it.
    pub fn under_way(&self) -> usize {
        Arc::strong_count(&self.0.open) - 1
    }

    /// Tells of `what` until it is heard: nothing else would put it right.
    pub async fn tell<F>(&self, what: &str, tell: impl Fn() -> F)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        self.try_to_tell(what, tell, u32::MAX).await;
    }

    async fn try_to_tell<F>(&self, what: &str, tell: impl Fn() -> F, tries: u32)
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let _busy = self.busy();
        for attempt in 1..=tries {
            let Err(error) = tell().await else { return };
            match attempt {
                1 => tracing::warn!(sale = %self.0.sale, "told later: {what}: {error}"),
                _ => tracing::debug!(sale = %self.0.sale, attempt, "told later: {what}: {error}"),
            }
            sleep(PAUSE).await;
        }
        tracing::error!(sale = %self.0.sale, "never told: {what}");
    }

    /// The same of what has to do with bookings, whether or not anyone waits for it; not for ever.
    pub fn post<F>(&self, what: &'static str, tell: impl Fn() -> F + Send + Sync + 'static) -> JoinHandle<()>
    where
        F: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let (this, busy) = (self.clone(), self.busy());
        tokio::spawn(async move {
            let _busy = busy;
            this.try_to_tell(what, tell, TRIES).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::errors::Store;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn it_tells_until_it_is_heard_and_is_busy_meanwhile() {
        let outbox = Outbox::new(SaleId::parse("spring").unwrap());
        let _other_wing = outbox.clone();
        assert_eq!(outbox.under_way(), 0, "whoever only has it tells nothing");
        let tries = Arc::new(AtomicU32::new(0));
        let telling = outbox.post("a booking", {
            let tries = tries.clone();
            move || {
                let heard = tries.fetch_add(1, Ordering::Relaxed) == 2;
                async move { if heard { Ok(()) } else { Err(StoreError::Timeout(Store::Redis)) } }
            }
        });
        assert_ne!(outbox.under_way(), 0);
        telling.await.unwrap();
        assert_eq!(tries.load(Ordering::Relaxed), 3);
        assert_eq!(outbox.under_way(), 0);
    }
}
